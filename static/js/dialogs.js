/* Dialogs and menus. */

import { find, on } from "./dom.js";

const TO_EDGE = 8;
const TO_BUTTON = 4;

/** After a swap: open the dialog that it brought. */
export function openDialog() {
  const dialog = find("dialog[data-open]:not([open])");
  if (!dialog) return;
  dialog.showModal();
  find("[autofocus]", dialog)?.focus();
}

on("click", (event) => {
  const target = event.target;
  if (target.closest(".menu :is(a, button)")) target.closest(".menu").hidePopover();
  // By key: Tab goes on into the menu, and the search is drawn again without the filter that was pressed.
  if (!event.detail) (target.closest("#tools a") ? find("#q") : target.closest("[popovertarget]"))?.focus();
  if (target.closest("[data-help]")) find("#keys").showModal();
  const dialog = find("#dialog dialog");
  if (target.closest("[data-close]") && dialog) {
    event.preventDefault();
    dialog.close();
  }
});

on("close", (event) => {
  if (event.target.closest("#dialog")) find("#dialog").textContent = "";
}, true);

/* A menu opens below its button, inside the window. */
on("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches(".menu")) return;
  // htmx would copy a style that is left to the next menu, and the policy forbids it.
  menu.removeAttribute("style");
  if (event.newState !== "open") return;
  const button = find(`[popovertarget="${menu.id}"]`).getBoundingClientRect();
  const right = Math.min(button.right, innerWidth - TO_EDGE);
  menu.style.top = `${button.bottom + TO_BUTTON}px`;
  menu.style.left = `${Math.max(TO_EDGE, right - menu.offsetWidth)}px`;
}, true);

on("relay:theme", (event) => {
  document.documentElement.dataset.theme = event.detail.theme;
});
