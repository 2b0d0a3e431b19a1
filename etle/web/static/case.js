// Keys of a case. None decides by itself: V and R move the focus, Enter decides.
"use strict";
(() => {
  const focus = (id) => () => {
    const target = document.getElementById(id);
    if (!target) return false;
    target.focus();
    target.scrollIntoView({ block: "nearest" });
    return true;
  };
  const help = document.getElementById("help");
  const choose = (number) => (event) => {
    const reasons = document.querySelectorAll('#reject_form input[name="reason"]');
    if (!event.target.closest?.("#reject_form") || !reasons[number]) return false;
    reasons[number].checked = true;
    reasons[number].focus();
    reasons[number].dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  const actions = {
    v: focus("verify"),
    r: () => {
      const rejecting = document.getElementById("rejecting");
      if (!rejecting) return false;
      rejecting.open = true;
      return focus("reason")();
    },
    p: () => {
      const field = document.getElementById("plate_text") ?? document.getElementById("blind_text");
      if (!field) return false;
      field.focus();
      field.select();
      return true;
    },
    u: etleKeys.click("undo_button"),
    n: etleKeys.click("next"),
    q: etleKeys.click("back"),
    "?": () => help?.showModal(),
  };
  for (let number = 0; number < 10; number++) actions[String((number + 1) % 10)] = choose(number);
  etleKeys.bind(actions);

  document.getElementById("help_button")?.addEventListener("click", () => help.showModal());
  const switched = document.getElementById("keys_on");
  if (switched) {
    switched.checked = etleKeys.on;
    switched.addEventListener("change", () => etleKeys.set(switched.checked));
  }

  // The list of reasons opens with the mouse too: then the first one has the focus, so that digits choose.
  document.getElementById("rejecting")?.addEventListener("toggle", (event) => {
    if (event.target.open && !event.target.contains(document.activeElement?.closest("form"))) focus("reason")();
  });

  const note = document.getElementById("reject_note");
  document.getElementById("reject_form")?.addEventListener("change", (event) => {
    if (event.target.name === "reason") note.required = event.target.dataset.note === "required";
  });

  // One decision a page: a second press of Enter must not send it again. A page that the browser brings back may.
  for (const form of document.querySelectorAll(".decide form, form.blind, form.undo")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
})();
