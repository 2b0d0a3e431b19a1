// Single keys of the desk. They can be switched off (WCAG 2.2, 2.1.4), and none of them decides: V and R move the focus,
// Enter decides, and a decision can be taken back for some seconds.
"use strict";
const etleKeys = (() => {
  const STORE = "etle-keys";
  let on = true;
  try {
    on = localStorage.getItem(STORE) !== "off";
  } catch {
    // storage may be switched off; then keys are on
  }
  const typing = (target) =>
    target instanceof Element && target.matches("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=button], [type=range])");
  return {
    get on() {
      return on;
    },
    set(value) {
      on = value;
      try {
        localStorage.setItem(STORE, value ? "on" : "off");
      } catch {
        // not kept then
      }
    },
    // What to do by key; a function that returns false leaves the key to the browser.
    bind(actions) {
      document.addEventListener("keydown", (event) => {
        if (!on || event.ctrlKey || event.altKey || event.metaKey || event.repeat && !actions.repeats?.includes(event.key)) return;
        if (typing(event.target)) return;
        if (document.querySelector("dialog[open]")) return;
        const act = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
        if (typeof act === "function" && act(event) !== false) event.preventDefault();
      });
    },
    click(id) {
      return () => {
        const target = document.getElementById(id);
        if (!target) return false;
        target.click();
        return true;
      };
    },
  };
})();

// The time left for taking a decision back; the bar goes when it is over.
document.addEventListener("DOMContentLoaded", () => {
  const bar = document.getElementById("undo");
  if (!bar) return;
  const shown = bar.querySelector(".seconds");
  const end = performance.now() + 1000 * Number(bar.dataset.seconds);
  const timer = setInterval(() => {
    const left = Math.ceil((end - performance.now()) / 1000);
    if (left > 0) shown.textContent = String(left);
    else {
      clearInterval(timer);
      bar.remove();
    }
  }, 250);
});
