/* Selected events, kept by number: their rows come and go. */

import { find, findAll, on } from "./dom.js";
import { activeRow, findRows, step } from "./rows.js";

const selected = new Set();
let query;
let lastTicked;

function findBox(row) {
  return find(".cb", row);
}

function findBoxes() {
  return findAll(".row .cb");
}

function takeBoxes() {
  for (const box of findBoxes()) {
    if (box.checked) selected.add(box.value);
    else selected.delete(box.value);
  }
}

/** Show in boxes and bar what is selected; a changed box says what is from now on. */
export function updateSelection(changed) {
  const form = find("#bulk");
  if (!form) return;
  if (changed?.name === "id") {
    form.all.checked = false;
    takeBoxes();
  }
  if (form.q.value !== query) {
    query = form.q.value;
    selected.clear();
  }
  const all = form.all.checked;
  const matching = find("#count").textContent.match(/^[\d,]*( or more)?/)[0];
  const count = all ? matching || "all" : selected.size;
  for (const box of findBoxes()) box.checked = all || selected.has(box.value);
  form.ids.value = [...selected];
  form.classList.toggle("on", count);
  for (const place of findAll("[data-n]")) place.textContent = count;
  find("#most").textContent = matching;
  find("#two").disabled = count !== 2;
}

export function toggleActiveRow() {
  findBox(activeRow())?.click();
}

/** Extend the selection by a step down (1) or up (-1), or take it back. */
export function extend(n) {
  const rows = findRows();
  const row = activeRow();
  const next = rows[rows.indexOf(row) + n];
  if (!next) return;
  findBox(row).checked = !findBox(next).checked;
  findBox(next).checked = true;
  updateSelection(findBox(row));
  step(n);
}

/* With Shift, all boxes from the last ticked one up to this one. */
on("click", (event) => {
  const box = event.target;
  if (!box.closest(".row .cb")) return;
  const boxes = findBoxes();
  const from = boxes.indexOf(lastTicked);
  const to = boxes.indexOf(box);
  lastTicked = box;
  if (!event.shiftKey || from < 0) return;
  for (const between of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) between.checked = box.checked;
});

on("change", (event) => {
  if (event.target.form?.matches("#bulk")) updateSelection(event.target);
});

on("reset", (event) => {
  const form = event.target;
  // The fields have their first values only after this event.
  setTimeout(() => {
    if (form.matches("#bulk")) {
      selected.clear();
      updateSelection();
    }
    form.dispatchEvent(new Event("input", { bubbles: true }));
  });
});
