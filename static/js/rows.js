/* The rows of the event list: one tab stop, a current row, and steps from row to row. */

import { find, findAll, on } from "./dom.js";

const PHONE = "(max-width: 48rem)";

let entersDetail = false;

export function findRows() {
  return findAll("#rows .row");
}

export function eventId(row) {
  return Number(row.id.slice(2));
}

/** Return the number of the newest event in the list; 0 where the list is empty. */
export function newestId() {
  const rows = findRows();
  return rows.length ? eventId(rows[0]) : 0;
}

/** Return the number, as text, of the event that the detail shows. */
export function shownId() {
  return find("#detail [data-event]")?.dataset.event;
}

function currentRow() {
  return find(".row:has([aria-current])");
}

/** Return the row that keys act on: the focused one, else the current one, else the first. */
export function activeRow() {
  return document.activeElement.closest(".row") || currentRow() || findRows()[0];
}

function setTabStop(row) {
  for (const link of findAll(".row .go")) {
    link.tabIndex = link.parentElement === row ? 0 : -1;
  }
}

function setCurrent(row) {
  find(".row [aria-current]")?.removeAttribute("aria-current");
  row?.firstElementChild.setAttribute("aria-current", "true");
}

export function focusRow(row) {
  if (!row) return;
  setTabStop(row);
  row.firstElementChild.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

/** Open the row that many rows below (negative: above) the active one. */
export function step(n) {
  const rows = findRows();
  const place = rows.indexOf(activeRow()) + n;
  const row = rows[Math.max(0, Math.min(rows.length - 1, place))];
  if (!row || row === currentRow()) return;
  focusRow(row);
  row.firstElementChild.click();
}

function focusDetail() {
  entersDetail = false;
  find("#detail-h")?.focus();
}

/** Put the focus into the detail: at once where the row is shown already, else when it has come. */
export function enterDetail(row) {
  if (row && String(eventId(row)) === shownId()) {
    focusDetail();
    return true;
  }
  entersDetail = Boolean(row);
  return false;
}

/** After a swap: mark the shown event, keep one tab stop, enter the detail where that was asked for. */
export function restoreRows() {
  const rows = findRows();
  if (shownId()) setCurrent(find(`#e-${shownId()}`));
  if (rows.length && !find('.row [tabindex="0"]')) setTabStop(currentRow() || rows[0]);
}

export function enterDetailIfAsked() {
  if (entersDetail && shownId()) focusDetail();
}

on("click", (event) => {
  const row = event.target.closest(".row .go")?.parentElement;
  if (!row) return;
  setCurrent(row);
  setTabStop(row);
});

/* htmx cancels modified clicks; a phone shows list and detail apart, as two pages. */
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link) return;
  const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  const leavesList = link.matches(".row .go") && matchMedia(PHONE).matches;
  if (modified || leavesList) event.stopImmediatePropagation();
}, true);
