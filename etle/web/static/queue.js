// Keys of the queue: S starts deciding, / goes to the search, U takes the last decision back, J and K go through the cases.
"use strict";
(() => {
  const move = (step) => () => {
    const links = [...document.querySelectorAll(".queue a.open")];
    if (!links.length) return false;
    const at = links.indexOf(document.activeElement);
    links[Math.min(Math.max(at + step, 0), links.length - 1)].focus();
    return true;
  };
  etleKeys.bind({
    s: etleKeys.click("start"),
    u: etleKeys.click("undo_button"),
    j: move(1),
    k: move(-1),
    "/": () => {
      const search = document.getElementById("plate");
      if (!search) return false;
      search.focus();
      search.select();
      return true;
    },
  });

  document.addEventListener("change", (event) => {
    if (event.target.id === "choose_all") {
      for (const box of document.querySelectorAll('#bulk input[name="items"]')) box.checked = event.target.checked;
    }
  });

  // Kept filters and the button follow what HTMX put in.
  document.addEventListener("htmx:pushedIntoHistory", () => {
    const query = location.search.slice(1);
    const context = document.getElementById("view_context");
    if (context) context.value = query;
    const start = document.getElementById("start");
    if (start) start.href = "/cases/next" + (query ? "?" + query : "");
  });
})();
