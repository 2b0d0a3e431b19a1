// Keys of the case page: V goes to "verify", R to the reason for rejecting. A key never decides by itself: the
// officer confirms with Enter.
"use strict";
(() => {
  const targets = { v: document.getElementById("verify"), r: document.getElementById("reason") };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest("input, textarea, select, video")) return;
    const target = targets[event.key.toLowerCase()];
    if (!target) return;
    event.preventDefault();
    target.scrollIntoView({ block: "center" });
    target.focus();
  });

  const reason = document.getElementById("reason");
  const note = document.getElementById("reject_note");
  if (reason && note) {
    reason.addEventListener("change", () => {
      note.required = reason.selectedOptions[0]?.dataset.note === "required";
    });
  }

  // One decision a page: a second click must not send the form again.
  for (const form of document.querySelectorAll(".decide form")) {
    let sent = false;
    form.addEventListener("submit", (event) => {
      if (sent) event.preventDefault();
      sent = true;
    });
  }
})();
