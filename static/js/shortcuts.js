/* Keys. Single letters act while nobody types and no dialog is open. */

import { find, findAll, on, textField } from "./dom.js";
import { focusNewest } from "./live.js";
import { activeRow, enterDetail, findRows, focusRow, step } from "./rows.js";
import { extend, toggleActiveRow } from "./selection.js";

const SECOND_KEY_MS = 900;
const STEPS = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, J: 1, K: -1 };

let gPressedAt = 0;

/** Return what a key does anywhere, in a field and in a dialog too. */
function actionAnywhere(event) {
  const { key, target } = event;
  const ctrl = event.ctrlKey || event.metaKey;
  if (ctrl && key === "Enter" && target.form) {
    const send = find("[data-send]", target.form);
    if (send) return () => send.click();
  }
  if (ctrl && key === "f" && target.closest("#payload, .ptools") && find("#pq")) return () => find("#pq").select();
  if (key === "Enter" && event.shiftKey && target.id === "pq") return () => find("#pback")?.click();
  if (ctrl && key === "k") return () => find("#find").click();
  if (key === "ArrowDown" || key === "ArrowUp") {
    const options = findAll("#fa, .opt");
    const place = options.indexOf(target);
    if (place >= 0) return () => options.at((place + STEPS[key]) % options.length).focus();
  }
  return null;
}

/** Return what the key after G does. */
function actionAfterG(key) {
  if (key === "g") return focusNewest;
  const link = isPlain(key) && find(`[data-go="${key}"]`);
  return link ? () => link.click() : null;
}

function actionOfKey(event) {
  const { key, target } = event;
  const walks = findRows().length && !target.closest("#detail, .side");
  const by = STEPS[key];
  if (key === "x") return toggleActiveRow;
  if (key === "Home" && walks) return focusNewest;
  if (key === "/") return () => find("#q")?.select();
  if (key === "g") return () => gPressedAt = Date.now();
  if (by && (walks || isPlain(key))) return key === "J" || key === "K" ? () => extend(by) : () => step(by);
  const button = isPlain(key) && find(`[data-key="${key}"]:not(:disabled), [data-tab="${key}"]`);
  return button ? () => button.click() : null;
}

function isPlain(key) {
  return /^[\w?]$/.test(key);
}

function perform(event, action) {
  if (!action) return;
  event.preventDefault();
  action();
}

on("keydown", (event) => {
  const { key, target } = event;
  const anywhere = actionAnywhere(event);
  if (anywhere) return perform(event, anywhere);
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (find("dialog[open], :popover-open")) return;
  if (key === "Escape") {
    if (textField(target)) target.blur();
    focusRow(activeRow());
    return;
  }
  if (textField(target) || "noKeys" in document.body.dataset) return;
  if (key === "Enter") {
    if (enterDetail(target.closest(".row"))) event.preventDefault();
    return;
  }
  if (Date.now() - gPressedAt < SECOND_KEY_MS) {
    gPressedAt = 0;
    actionAfterG(key)?.();
    return;
  }
  perform(event, actionOfKey(event));
});
