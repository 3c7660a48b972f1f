/* What HTML and htmx cannot do alone, begun here. */

import "./announcements.js";
import { openDialog } from "./dialogs.js";
import { on } from "./dom.js";
import { keepPaused, receiveRows } from "./live.js";
import { showHit } from "./payload.js";
import { enterDetailIfAsked, restoreRows } from "./rows.js";
import { updateSelection } from "./selection.js";
import "./shortcuts.js";

function updateList() {
  receiveRows();
  restoreRows();
  updateSelection();
  keepPaused();
}

on("htmx:after:swap", () => {
  updateList();
  openDialog();
  enterDetailIfAsked();
  showHit();
});

updateList();
