// The operations centre's board: follows the stream of events, never more than four times a second on the screen.
"use strict";
(() => {
  const board = document.getElementById("board");
  const data = board.dataset;
  const names = JSON.parse(data.events);
  const states = JSON.parse(data.states);
  const silentMs = Number(data.silentS) * 1000;
  const MOST_LINES = board.classList.contains("wall") ? 14 : 30;
  const FLUSH_MS = 250;
  const list = document.getElementById("events");
  const link = document.getElementById("link");
  const seenNode = document.getElementById("seen");
  const figures = document.getElementById("figures");
  const time = new Intl.DateTimeFormat(data.language, { timeZone: data.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const date = new Intl.DateTimeFormat(data.language, { timeZone: data.zone, weekday: "long", day: "numeric", month: "long" });
  const rows = new Map();
  for (const row of board.querySelectorAll("tr[data-camera]")) rows.set(row.dataset.camera, row);
  const markers = new Map();
  for (const marker of board.querySelectorAll("g[data-camera]")) markers.set(marker.dataset.camera, marker);

  let seen = 0;
  let waiting = [];
  let lastFlush = 0;
  let timer = 0;
  let newFigures = null;
  const cameras = new Map();
  const signals = new Map();
  const reviews = new Map();

  function show(state) {
    link.className = `link-state ${state}`;
    const text = data[state];
    if (link.textContent !== text) link.textContent = text;
    board.dataset.link = state;
  }

  function take(happening) {
    seen += 1;
    const site = happening.site;
    if (happening.kind === "camera") cameras.set(site, happening);
    else if (happening.kind === "signal") signals.set(`${site}\n${happening._group}`, happening);
    else if (happening.kind === "review") reviews.set(site, happening);
    if ((happening.kind === "site" || happening.kind === "camera") && site && !rows.has(site)) {
      location.reload();
      return;
    }
    waiting.push(happening);
    if (waiting.length > MOST_LINES) waiting.shift();
    if (!timer) timer = setTimeout(flush, Math.max(0, FLUSH_MS - (performance.now() - lastFlush)));
  }

  function line(happening) {
    const item = document.createElement("li");
    const at = document.createElement("time");
    at.dateTime = happening.at;
    at.textContent = time.format(new Date(happening.at));
    const what = document.createElement("b");
    const event = happening._event || happening.kind;
    what.textContent = names[event] || names[event.split(".")[0]] || event;
    const rest = document.createElement("span");
    const row = rows.get(happening.site);
    const place = row ? row.querySelector("th").firstChild.textContent : happening.site;
    const words = [happening._case || happening._complaint, place];
    if (happening.kind === "signal") words.push(`${happening._group} ${states[`signal.${happening._state}`] || happening._state}`);
    if (happening.kind === "camera") words.push(states[happening._state] || happening._state);
    rest.textContent = words.filter(Boolean).join(" · ");
    item.className = `kind-of-${happening.kind}`;
    item.append(at, what, rest);
    return item;
  }

  function camera(site, state, reported, frame, detail) {
    const marker = markers.get(site);
    if (marker) marker.dataset.state = state;
    const row = rows.get(site);
    if (!row) return;
    row.dataset.state = state;
    if (reported !== undefined) row.dataset.reported = reported;
    if (frame !== undefined) row.dataset.frame = frame || "";
    if (detail !== undefined) row.querySelector(".detail").textContent = detail;
    row.querySelector(".camera-state .word").textContent = states[state] || state;
  }

  function flush() {
    timer = 0;
    lastFlush = performance.now();
    for (const [site, one] of cameras) camera(site, one._state, one.at, one._last_frame_at, one._detail);
    cameras.clear();
    for (const one of signals.values()) {
      const row = rows.get(one.site);
      if (!row) continue;
      const shown = row.querySelector(".signals");
      let item = [...shown.children].find((other) => other.dataset.group === one._group);
      if (!item) {
        item = document.createElement("li");
        item.dataset.group = one._group;
        const group = document.createElement("b");
        group.textContent = one._group;
        const word = document.createElement("span");
        word.className = "word";
        item.append(group, " ", word);
        shown.append(item);
      }
      item.dataset.signal = one._state;
      item.querySelector(".word").textContent = states[`signal.${one._state}`] || one._state;
    }
    signals.clear();
    for (const [site, one] of reviews) {
      for (const node of [rows.get(site), markers.get(site)]) if (node) node.dataset.review = one._state === "open" ? "yes" : "no";
    }
    reviews.clear();
    if (waiting.length) {
      document.getElementById("no-events").hidden = true;
      list.prepend(...waiting.reverse().map(line));
      waiting = [];
      while (list.children.length > MOST_LINES) list.lastElementChild.remove();
    }
    seenNode.textContent = seen.toLocaleString(data.language);
    seenNode.dataset.count = String(seen);
    if (newFigures !== null) {
      replaceFigures(newFigures);
      newFigures = null;
    }
  }

  function replaceFigures(html) {
    // our own server's template, whose every value is escaped; parts that did not change keep the reader's place
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const part of fresh.content.querySelectorAll("[data-part]")) {
      const old = figures.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old) figures.append(part);
      else if (old.outerHTML !== part.outerHTML && !old.contains(document.activeElement)) old.replaceWith(part);
    }
  }

  function ago(ms) {
    const units = [["day", 86400000], ["hour", 3600000], ["minute", 60000], ["second", 1000]];
    const [unit, size] = units.find(([, one]) => ms >= one) || units[3];
    return new Intl.RelativeTimeFormat(data.language, { numeric: "always", style: "short" }).format(-Math.round(ms / size), unit);
  }

  function tick() {
    const now = Date.now();
    const clock = document.getElementById("clock");
    clock.textContent = `${date.format(now)}, ${time.format(now)}`;
    for (const [site, row] of rows) {
      const reported = Date.parse(row.dataset.reported);
      if (row.dataset.state !== "offline" && reported && now - reported > silentMs) camera(site, "offline");
      const frame = Date.parse(row.dataset.frame);
      row.querySelector(".frame").textContent = frame ? ago(Math.max(0, now - frame)) : data.never;
    }
  }

  const source = new EventSource(`${data.stream}&after=${encodeURIComponent(data.cursor)}`);
  source.addEventListener("open", () => show("connected"));
  source.addEventListener("error", () => {
    show("lost");
    // the browser tries again by itself unless the server refused: then the login has probably ended
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 15000);
  });
  source.addEventListener("happenings", (event) => {
    for (const one of JSON.parse(event.data)) take(one);
  });
  source.addEventListener("figures", (event) => {
    newFigures = JSON.parse(event.data);
    if (!timer) timer = setTimeout(flush, FLUSH_MS);
  });
  source.addEventListener("reload", () => location.reload());
  addEventListener("pagehide", () => source.close());
  tick();
  setInterval(tick, 1000);
})();
