/* New rows come in while nothing would move under the reader; else a pill counts them. */

import { announceArrivals, formatNewEvents, showToast } from "./announcements.js";
import { find, findAll, on, onMessage } from "./dom.js";
import { eventId, findRows, focusRow, newestId, shownId } from "./rows.js";

const MOST_ROWS = 300;
const ROW = /<li class="row" id="e-(\d+)"/g;
const FAILED = ">verification failed<";

let paused = false;
let waiting = 0;
let isBehind = false; // rows were kept out that only asking for them brings in
let pulling = false;
let pullsAgain = false;
let focusesNewest = false;
let newestSeen = 0;

function findList() {
  return find("[data-list]");
}

/** Return where the newest events are listed, on a page that lists older ones. */
function newestUrl() {
  return findList()?.dataset.newest;
}

/** Whether rows may come in: nothing would move that is being read, selected or answered. */
function isOpen() {
  if (paused || newestUrl() || findList()?.scrollTop > 8) return false;
  return !find("dialog[open]") && getSelection().isCollapsed;
}

function hold(n) {
  waiting += n;
  isBehind = true;
  const pill = find(".pill-new");
  if (!pill) return;
  pill.hidden = !waiting;
  pill.lastElementChild.textContent = formatNewEvents(waiting);
}

/** Whether the newest row is of another day than the list begins with; an empty list begins with none. */
function isNewDay() {
  const row = findRows()[0];
  return Boolean(row) && !find("time", row).title.startsWith(find("[data-list] .day .dim")?.textContent);
}

/** Ask for the rows after the newest one; once more afterwards where they are being asked for. */
function pull() {
  if (pulling) {
    pullsAgain = true;
  } else if (find("#tail")) {
    pulling = true;
    isBehind = false;
    htmx.trigger("#tail", "relay:pull");
  }
}

function showNewest() {
  hold(-waiting);
  const list = findList();
  if (list) list.scrollTop = 0;
  pull();
}

function pullOrHold(n) {
  if (isOpen()) showNewest();
  else hold(n);
}

export function focusNewest() {
  if (newestUrl()) {
    location.assign(newestUrl());
    return;
  }
  showNewest();
  focusesNewest = pulling;
  focusRow(findRows()[0]);
}

function setPaused(value) {
  paused = value;
  const button = find("[data-pause]");
  if (!button) return;
  button.setAttribute("aria-pressed", value);
  // A list that was loaded again has a pill that counts nothing yet.
  if ((isBehind && isOpen()) || (waiting && find(".pill-new")?.hidden)) showNewest();
}

/** Whether this page lists events. The welcome page becomes a list with the first event. */
function listsEvents() {
  if (find("[data-first]")) location.replace("/events");
  return Boolean(find("#rows"));
}

/* Rows are messages without a name. htmx swaps them in unless that is prevented. */
on("htmx:sse:before:message", (event) => {
  const { data, event: name } = event.detail.message;
  const ids = name ? [] : [...data.matchAll(ROW)].map((found) => Number(found[1]));
  if (!ids.length) return;
  const unknown = ids.filter((id) => !find(`#e-${id}`)).length;
  announceArrivals(unknown, data.split(FAILED).length - 1);
  if (listsEvents() && isOpen() && !pulling && !isBehind && Math.min(...ids) > newestId()) return;
  event.preventDefault();
  pullOrHold(unknown);
});

onMessage("event", (arrival) => {
  if (!listsEvents()) return;
  announceArrivals(arrival.n, arrival.rejected);
  pullOrHold(arrival.n);
});

onMessage("status", (status) => {
  const page = document.body.dataset;
  if (status.boot === page.boot) return;
  page.boot = status.boot;
  showToast("relay restarted. Reload for the new version.");
});

/** Bring the head of the shown event up to date, and its deliveries unless they are being read. */
function refreshDetail(change) {
  if (change.event !== Number(shownId())) return;
  const isRead = find("#tab")?.matches(":hover, :focus-within") || !getSelection().isCollapsed;
  const showsDeliveries = find('[data-tab="5"][aria-current]');
  htmx.trigger(isRead || !showsDeliveries ? "#look" : "#see", "relay:look");
}

/** Bring an opened delivery up to date, unless it is being read. */
function refreshOpened(row) {
  if (!row.matches(":focus-within") && getSelection().isCollapsed) htmx.trigger(row, "relay:look");
}

onMessage("delivery", (change) => {
  refreshDetail(change);
  findAll(`#row-${change.delivery} .xp`).forEach(refreshOpened);
});
onMessage("message", refreshDetail);

on("htmx:config:request", (event) => {
  const context = event.detail.ctx;
  if (context.sourceElement.id === "tail") context.request.body.set("after", isNewDay() ? 0 : newestId());
});

on("htmx:finally:request", (event) => {
  if (event.detail.ctx.sourceElement.id !== "tail") return;
  pulling = false;
  if (focusesNewest) focusRow(findRows()[0]);
  focusesNewest = false;
  if (!pullsAgain) return;
  pullsAgain = false;
  pull();
});

on("scroll", (event) => {
  if (waiting && event.target === findList() && isOpen()) showNewest();
}, true);

on("click", (event) => {
  if (event.target.closest("[data-pause]")) setPaused(!paused);
  if (event.target.closest(".pill-new")) focusNewest();
});

on("htmx:sse:error", (event) => {
  // relay runs, with another token than the one this page signed in with.
  if (event.detail.status === 401) location.reload();
  const banner = find("#stopped");
  if (document.hidden || !banner.hidden) return;
  banner.hidden = false;
  find("[data-since]").textContent = new Date().toTimeString().slice(0, 5);
});

on("htmx:sse:after:connection", () => {
  find("#stopped").hidden = true;
  refreshDetail({ event: Number(shownId()) });
  findAll(".xp").forEach(refreshOpened);
  if (find("#rows")) pullOrHold(0);
});

function markNewRows(rows) {
  if (newestSeen && rows.length && eventId(rows.at(-1)) <= newestSeen) {
    for (const row of rows) {
      if (eventId(row) > newestSeen) row.classList.add("is-new");
    }
  }
  newestSeen = newestId();
}

/** Drop the oldest rows of a long list; its foot offers them again. */
function cutRows(rows) {
  if (rows.length <= MOST_ROWS) return;
  for (const row of rows.slice(MOST_ROWS)) row.remove();
  find("#foot")?.remove();
  find("#rows").append(find("#full").content.cloneNode(true));
  const older = find("[data-older]");
  older.href = older.href.replace(/before=\d+/, `before=${eventId(rows[MOST_ROWS - 1])}`);
}

/** After a swap: mark what is new, keep the list short, and the button pressed while paused. */
export function receiveRows() {
  const rows = findRows();
  markNewRows(rows);
  cutRows(rows);
  if (isNewDay() && isOpen()) pull();
}

export function keepPaused() {
  setPaused(paused);
}
