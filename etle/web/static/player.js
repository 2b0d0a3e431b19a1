// The clip: steps of one frame, slow motion, and what the machine saw drawn over it. Times are those of the clip's own
// timestamps (requestVideoFrameCallback), so a box belongs to the picture it is drawn on.
"use strict";
(() => {
  const player = document.getElementById("player");
  if (!player) return;
  const video = player.querySelector("video");
  const canvas = player.querySelector("canvas");
  const seek = document.getElementById("seek");
  const told = player.querySelector("output");
  const speed = document.getElementById("speed");
  const names = JSON.parse(player.dataset.names);
  const shown = { overlay: true, grid: false };
  const COLOURS = { stop_line: "#ff4d4d", second_line: "#ffa23f", zone: "#ffd23f", section: "#5ad1ff", lane: "#8be08b", grid: "#ffffff", head: "#ff6bff" };
  let scene = null;
  let frame_s = 0.04;
  let at_s = 0;

  const place = () => {
    // the picture inside the video's box
    const scale = Math.min(video.clientWidth / (video.videoWidth || 16), video.clientHeight / (video.videoHeight || 9));
    const wide = (video.videoWidth || 16) * scale;
    const tall = (video.videoHeight || 9) * scale;
    return { left: (video.clientWidth - wide) / 2, top: (video.clientHeight - tall) / 2, wide, tall };
  };

  const nearest = () => {
    let best = null;
    for (const one of scene.track) {
      const away = Math.abs(one.t - at_s);
      if (away <= frame_s * 0.6 && (!best || away < Math.abs(best.t - at_s))) best = one;
    }
    return best;
  };

  const label = (context, x, y, words, colour) => {
    const wide = context.measureText(words).width;
    context.fillStyle = "rgba(10,14,20,.78)";
    context.fillRect(x - 3, y - 14, wide + 6, 18);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(video.clientWidth * ratio);
    canvas.height = Math.round(video.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.clearRect(0, 0, video.clientWidth, video.clientHeight);
    if (!scene || !shown.overlay || !scene.width) return;
    const { left, top, wide, tall } = place();
    const x = (value) => left + (value / scene.width) * wide;
    const y = (value) => top + (value / scene.height) * tall;
    context.save();
    context.beginPath();
    context.rect(left, top, wide, tall);
    context.clip();
    context.font = "12px system-ui, sans-serif";
    const named = new Set();
    for (const line of scene.lines) {
      if (line.layer === "grid" && !shown.grid) continue;
      context.strokeStyle = COLOURS[line.layer] ?? "#fff";
      context.globalAlpha = line.layer === "grid" ? 0.3 : line.layer === "lane" ? 0.5 : 0.95;
      context.lineWidth = line.layer === "grid" || line.layer === "lane" ? 1 : 2;
      context.setLineDash(line.layer === "second_line" ? [8, 5] : line.layer === "zone" ? [3, 3] : []);
      context.beginPath();
      line.points.forEach(([px, py], index) => (index ? context.lineTo(x(px), y(py)) : context.moveTo(x(px), y(py))));
      context.stroke();
      context.globalAlpha = 1;
      const word = names[line.layer];
      const key = line.layer + line.name;
      if (word && !named.has(key)) {
        named.add(key);
        const middle = line.points.filter(([px, py]) => px > 0 && py > 0 && px < scene.width && py < scene.height);
        if (middle.length) {
          const [px, py] = middle[Math.floor(middle.length / 2)];
          label(context, x(px) + 6, y(py) - 6, line.name ? `${word} ${line.name}` : word, COLOURS[line.layer]);
        }
      }
    }
    context.setLineDash([]);
    const box = nearest();
    if (box) {
      const [x1, y1, x2, y2] = box.box;
      context.strokeStyle = "#00e5ff";
      context.lineWidth = 2;
      context.strokeRect(x(x1), y(y1), x(x2) - x(x1), y(y2) - y(y1));
      if (box.point) {
        const [px, py] = [x(box.point[0]), y(box.point[1])];
        context.strokeStyle = "#ff2fd0";
        context.lineWidth = 3;
        context.beginPath();
        context.moveTo(px - 9, py);
        context.lineTo(px + 9, py);
        context.moveTo(px, py - 9);
        context.lineTo(px, py + 9);
        context.stroke();
        label(context, px + 11, py + 16, names.point, "#ff9be8");
      }
    }
    context.restore();
  };

  const tell = () => {
    told.textContent = `${at_s.toFixed(2)} s`;
    if (video.duration) seek.value = String(Math.round((1000 * at_s) / video.duration));
  };

  const onFrame = (_now, data) => {
    const step = data.mediaTime - at_s;
    if (!video.paused && step > 0.004 && step < 0.2) frame_s = frame_s * 0.8 + step * 0.2;
    at_s = data.mediaTime;
    draw();
    tell();
    video.requestVideoFrameCallback(onFrame);
  };
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) video.requestVideoFrameCallback(onFrame);
  else
    video.addEventListener("timeupdate", () => {
      at_s = video.currentTime;
      draw();
      tell();
    });

  const jump = (to) => {
    video.pause();
    video.currentTime = Math.min(Math.max(to, 0), video.duration || to);
  };
  const press = (name) => {
    shown[name] = !shown[name];
    if (name === "grid" && shown.grid) shown.overlay = true;
    for (const one of ["overlay", "grid"]) {
      player.querySelector(`[data-do="${one}"]`).setAttribute("aria-pressed", String(shown[one]));
    }
    draw();
  };
  const faster = (step) => {
    speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + step, 0), speed.options.length - 1);
    video.playbackRate = Number(speed.value);
  };
  const play = () => {
    if (!video.paused) video.pause();
    else {
      if (video.ended) video.currentTime = 0;
      video.play().catch(() => {});
    }
  };
  // Frames may be further apart than thought: where the picture stays, reach twice as far. What failed was less than one
  // frame, so twice of it is less than two, and none is left out.
  const step = (direction) => {
    const from = at_s;
    const go = (reach) => {
      jump(from + direction * reach + 0.25 * frame_s);
      const look = () =>
        setTimeout(() => {
          if (at_s === from) {
            if (reach < 2 && video.currentTime < (video.duration || 0) && video.currentTime > 0) go(2 * reach);
          } else if (direction > 0) frame_s = Math.min(at_s - from, 1);
        }, 50);
      video.addEventListener("seeked", look, { once: true });
    };
    go(frame_s);
  };

  const actions = { play, back: () => step(-1), forward: () => step(1), overlay: () => press("overlay"), grid: () => press("grid") };
  player.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.at) jump(Number(button.dataset.at) + 0.25 * frame_s);
    else actions[button.dataset.do]?.();
  });
  speed.addEventListener("change", () => (video.playbackRate = Number(speed.value)));
  seek.addEventListener("input", () => jump((Number(seek.value) / 1000) * (video.duration || 0)));
  video.addEventListener("click", play);
  etleKeys.bind({
    repeats: [",", "."],
    " ": (event) => {
      if (event.target.closest?.("button, summary, a, input")) return false;
      play();
      return true;
    },
    ",": actions.back,
    ".": actions.forward,
    "[": () => faster(-1),
    "]": () => faster(1),
    o: actions.overlay,
    g: actions.grid,
  });

  new ResizeObserver(draw).observe(video);
  const measure = () => {
    if (scene.track.length < 3) return;
    const steps = scene.track.slice(1).map((one, index) => one.t - scene.track[index].t).filter((value) => value > 0);
    steps.sort((a, b) => a - b);
    frame_s = steps[Math.floor(steps.length / 2)] || frame_s;
  };
  const begin = () => {
    if (scene?.event_s != null) jump(scene.event_s + 0.25 * frame_s);
    draw();
  };
  if (player.dataset.scene) {
    fetch(player.dataset.scene)
      .then((answer) => (answer.ok ? answer.json() : null))
      .then((found) => {
        scene = found;
        if (!scene) return;
        measure();
        if (video.readyState >= 1) begin();
        else video.addEventListener("loadedmetadata", begin, { once: true });
        player.dataset.ready = "yes";
      })
      .catch(() => {});
  }
})();
