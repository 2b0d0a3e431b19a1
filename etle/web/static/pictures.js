// Pictures: a lens that follows the pointer, and a viewer that enlarges and moves.
"use strict";
(() => {
  const button = document.getElementById("lens_button");
  const pictures = document.querySelector(".pictures");
  const lens = document.createElement("div");
  lens.className = "lens";
  lens.hidden = true;
  document.body.append(lens);
  let on = false;
  const TIMES = 3;
  const SIZE = 240;

  const toggle = () => {
    on = !on;
    button.setAttribute("aria-pressed", String(on));
    if (!on) lens.hidden = true;
    return true;
  };
  button?.addEventListener("click", toggle);
  pictures?.addEventListener("pointermove", (event) => {
    const image = event.target.closest("button.zoom")?.querySelector("img");
    if (!on || !image) {
      lens.hidden = true;
      return;
    }
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const left = box.left + (box.width - image.naturalWidth * scale) / 2;
    const top = box.top + (box.height - image.naturalHeight * scale) / 2;
    const [x, y] = [(event.clientX - left) * TIMES, (event.clientY - top) * TIMES];
    lens.hidden = false;
    lens.style.left = `${event.clientX - SIZE / 2}px`;
    lens.style.top = `${event.clientY - SIZE / 2}px`;
    lens.style.backgroundImage = `url("${image.currentSrc}")`;
    lens.style.backgroundSize = `${image.naturalWidth * scale * TIMES}px ${image.naturalHeight * scale * TIMES}px`;
    lens.style.backgroundPosition = `${SIZE / 2 - x}px ${SIZE / 2 - y}px`;
  });
  pictures?.addEventListener("pointerleave", () => (lens.hidden = true));

  const viewer = document.getElementById("viewer");
  const view = viewer.querySelector(".view");
  const image = viewer.querySelector("img");
  let scale = 1;
  const fit = () => {
    scale = Math.min(1, view.clientWidth / (image.naturalWidth || 1), view.clientHeight / (image.naturalHeight || 1)) || 1;
    if (image.naturalWidth < view.clientWidth / 2) scale = Math.min(view.clientWidth / image.naturalWidth, 3);
    apply();
  };
  const apply = () => {
    image.style.width = `${Math.round(image.naturalWidth * scale)}px`;
  };
  const zoom = (factor, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
    const before = scale;
    scale = Math.min(Math.max(scale * factor, 0.1), 12);
    const [px, py] = [(view.scrollLeft + x) / before, (view.scrollTop + y) / before];
    apply();
    view.scrollLeft = px * scale - x;
    view.scrollTop = py * scale - y;
  };
  image.addEventListener("load", fit);
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("button.zoom");
    if (!chosen) return;
    lens.hidden = true;
    const small = chosen.querySelector("img");
    viewer.querySelector(".caption").textContent = small.alt;
    image.alt = small.alt;
    viewer.showModal();
    if (image.src.endsWith(chosen.dataset.full)) fit();
    else image.src = chosen.dataset.full;
    view.focus();
  });
  const actions = { in: () => zoom(1.4), out: () => zoom(1 / 1.4), fit, close: () => viewer.close() };
  viewer.addEventListener("click", (event) => actions[event.target.closest("[data-zoom]")?.dataset.zoom]?.());
  viewer.addEventListener("keydown", (event) => {
    const act = { "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.fit }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  view.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = view.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    },
    { passive: false },
  );
  let held = null;
  view.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX + view.scrollLeft, y: event.clientY + view.scrollTop };
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (!held) return;
    view.scrollLeft = held.x - event.clientX;
    view.scrollTop = held.y - event.clientY;
  });
  view.addEventListener("pointerup", () => (held = null));
  image.addEventListener("dragstart", (event) => event.preventDefault());
  if (button) etleKeys.bind({ l: toggle });
})();
