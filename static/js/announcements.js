/* A toast for your own actions, a sentence in five seconds for arrivals; both are read out. */

import { find, on } from "./dom.js";

const TOAST_MS = 2600;
const BETWEEN_SENTENCES_MS = 5000;
const TO_COLLECT_MS = 600;

let toastTimer;
let sentenceTimer;
let lastSentenceAt = 0;
let arrived = 0;
let failed = 0;

export function formatNewEvents(n) {
  return `${n} new event${n === 1 ? "" : "s"}`;
}

function announce(text) {
  find("#announce").textContent = text;
}

export function showToast(text) {
  const toast = find("#toast");
  toast.lastElementChild.textContent = text;
  toast.hidden = false;
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    toast.hidden = true;
  }, TOAST_MS);
}

export function announceArrivals(events, rejected) {
  arrived += events;
  failed += rejected;
  const wait = Math.max(TO_COLLECT_MS, lastSentenceAt + BETWEEN_SENTENCES_MS - Date.now());
  sentenceTimer ||= setTimeout(() => {
    announce(formatNewEvents(arrived) + (failed ? `, ${failed} failed verification` : ""));
    arrived = 0;
    failed = 0;
    sentenceTimer = undefined;
    lastSentenceAt = Date.now();
  }, wait);
}

/** Copy a text, or what a promise brings. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(await text);
    showToast("Copied");
  } catch {
    showToast("Copy failed. Press Ctrl C.");
  }
}

on("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-url]");
  if (!button) return;
  const url = button.dataset.copyUrl;
  copyText(url ? fetch(url).then((response) => response.ok ? response.text() : Promise.reject()) : button.dataset.copy);
});

on("relay:toast", (event) => showToast(event.detail.text));

/* A click, a button or a form that nothing answered. */
on("htmx:error", (event) => {
  const asked = event.detail.ctx?.sourceElement?.matches("a, button, form");
  if (asked) showToast("relay does not answer. Is it still running?");
});
