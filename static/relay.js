/* relay dashboard: what HTML and htmx cannot do alone */
(() => {
"use strict";
const $ = (s, r = document) => r.querySelector(s), $$ = s => [...document.querySelectorAll(s)];
const stay = e => e.preventDefault();
const on = (...what) => document.addEventListener(...what);
const typing = t => t.closest("input:not([type=checkbox], [type=radio]), textarea, select");
const news = n => `${n} new event${n === 1 ? "" : "s"}`;

/* htmx cancels modified clicks; a phone shows list and detail apart */
addEventListener("click", e => {
  const a = e.target.closest?.("a[href]"), phone = a?.matches(".row .go") && matchMedia("(max-width: 48rem)").matches;
  if (a && (e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || phone)) e.stopImmediatePropagation();
}, true);

/* a toast for your own actions, a sentence in five seconds for arrivals */
let hiding, told = 0, came = 0, bad = 0, telling;
const say = text => { $("#announce").textContent = text; };
const toast = text => {
  const t = $("#toast"); t.lastElementChild.textContent = text; t.hidden = false; say(text); clearTimeout(hiding);
  hiding = setTimeout(() => { t.hidden = true; }, 2600);
};
const arrived = (n, failed) => {
  came += n; bad += failed;
  telling ||= setTimeout(() => {
    say(news(came) + (bad ? `, ${bad} failed verification` : "")); came = bad = telling = 0; told = Date.now();
  }, Math.max(600, told + 5000 - Date.now()));
};
const copy = async text => { try { await navigator.clipboard.writeText(await text); toast("Copied"); } catch { toast("Copy failed. Press Ctrl C."); } };

/* list: one tab stop */
const rows = () => $$("#rows .row"), id = r => +r.id.slice(2), top = () => rows().length ? id(rows()[0]) : 0;
const shown = () => $("#detail [data-event]")?.dataset.event, current = () => $(".row:has([aria-current])");
const here = () => document.activeElement.closest(".row") || current() || rows()[0];
const stop = r => $$(".row .go").forEach(go => { go.tabIndex = go.parentElement === r ? 0 : -1; });
const choose = r => { $(".row [aria-current]")?.removeAttribute("aria-current"); r?.firstElementChild.setAttribute("aria-current", "true"); };
const focusRow = r => { if (r) { stop(r); r.firstElementChild.focus({ preventScroll: true }); r.scrollIntoView({ block: "nearest" }); } };
const step = n => { const a = rows(), r = a[Math.max(0, Math.min(a.length - 1, a.indexOf(here()) + n))]; if (r && r !== current()) { focusRow(r); r.firstElementChild.click(); } };
let inward = false;
const into = () => { inward = false; $("#detail-h")?.focus(); };

/* selection, by number: rows come and go */
const picked = new Set(), box = r => $(".cb", r), boxes = () => $$(".row .cb");
let asked, last;
const tally = t => {
  const f = $("#bulk"); if (!f) return;
  if (t?.name === "id") { f.all.checked = false; boxes().forEach(b => picked[b.checked ? "add" : "delete"](b.value)); }
  if (f.q.value !== asked) { asked = f.q.value; picked.clear(); }
  const all = f.all.checked, most = $("#count").textContent.match(/^[\d,]*( or more)?/)[0], n = all ? most || "all" : picked.size;
  boxes().forEach(b => { b.checked = all || picked.has(b.value); });
  f.ids.value = [...picked]; f.classList.toggle("on", n);
  $$("[data-n]").forEach(x => { x.textContent = n; }); $("#most").textContent = most; $("#two").disabled = n !== 2;
};
const reach = n => {
  const a = rows(), r = here(), s = a[a.indexOf(r) + n]; if (!s) return;
  box(r).checked = !box(s).checked; box(s).checked = true; tally(box(r)); step(n);
};

/* the gate: new rows come in while nothing would move under you */
let paused = false, waiting = 0, pulling = false, again = false, seen = 0;
const list = () => $("[data-list]");
const open = () => !paused && !(list()?.scrollTop > 8) && !$("dialog[open]") && getSelection().isCollapsed;
const hold = n => { waiting += n; const p = $(".pill-new"); if (p) { p.hidden = !waiting; p.lastElementChild.textContent = news(waiting); } };
const pull = () => { if (pulling) again = true; else if ($("#tail")) { pulling = true; htmx.trigger("#tail", "relay:pull"); } };
const newest = () => { hold(-waiting); if (list()) list().scrollTop = 0; pull(); };
const first = () => { newest(); focusRow(rows()[0]); };
const pause = v => {
  paused = v; const b = $("[data-pause]"); if (!b) return;
  b.setAttribute("aria-pressed", v); if (waiting && open()) newest();
};
const listed = () => { if ($("[data-first]")) location.replace("/events"); return $("#rows"); };
on("htmx:sse:before:message", e => {
  const { data, event } = e.detail.message, ids = event ? [] : [...data.matchAll(/<li class="row" id="e-(\d+)"/g)].map(x => +x[1]);
  if (!ids.length) return;
  const n = ids.filter(i => !$(`#e-${i}`)).length;
  arrived(n, data.split(">verification failed<").length - 1);
  if (listed() && open() && !pulling && Math.min(...ids) > top()) return;
  stay(e); if (open()) pull(); else hold(n);
});
const named = (type, run) => on(type, e => run(JSON.parse(e.detail.data)));
named("event", d => { if (listed()) { arrived(d.n, d.rejected); if (open()) pull(); else hold(d.n); } });
named("status", d => { const b = document.body.dataset; if (d.boot !== b.boot) { b.boot = d.boot; toast("relay restarted. Reload for the new version."); } });
const look = (d = { event: +shown() }) => {
  const read = $("#tab")?.matches(":hover, :focus-within") || !getSelection().isCollapsed;
  if (d.event === +shown()) htmx.trigger(read || !$('[data-tab="5"][aria-current]') ? "#look" : "#see", "relay:look");
};
named("delivery", look); named("message", look);
on("htmx:config:request", e => {
  const c = e.detail.ctx; if (c.sourceElement.id === "tail") c.request.body.set("after", top());
});
on("htmx:finally:request", e => { if (e.detail.ctx.sourceElement.id === "tail") { pulling = false; if (again) { again = false; pull(); } } });
on("scroll", e => { if (waiting && e.target === list() && open()) newest(); }, true);

/* after a swap */
const tidy = () => {
  const a = rows();
  if (seen && a.length && id(a.at(-1)) <= seen) a.filter(r => id(r) > seen).forEach(r => r.classList.add("is-new"));
  seen = top();
  if (a.length > 300) {
    a.slice(300).forEach(r => r.remove()); $("#foot")?.remove(); $("#rows").append($("#full").content.cloneNode(true));
    const o = $("[data-older]"); o.href = o.href.replace(/before=\d+/, `before=${id(a[299])}`);
  }
  if (shown()) choose($(`#e-${shown()}`));
  if (a.length && !$('.row [tabindex="0"]')) stop(current() || a[0]);
  tally();
  pause(paused);
};
on("htmx:after:swap", () => {
  tidy();
  const d = $("dialog[data-open]:not([open])"); if (d) { d.showModal(); $("[autofocus]", d)?.focus(); }
  if (inward && shown()) into();
  if (document.activeElement.id === "pq") $("#payload .on")?.scrollIntoView({ block: "center" });
});

on("htmx:sse:error", () => {
  const s = $("#stopped"); if (document.hidden || !s.hidden) return;
  s.hidden = false; $("[data-since]").textContent = new Date().toTimeString().slice(0, 5);
});
/* what a click asked for and nothing answered */
on("htmx:error", e => { if (e.detail.ctx?.sourceElement?.matches("a, button, form")) toast("relay does not answer. Is it still running?"); });
on("htmx:sse:after:connection", () => { $("#stopped").hidden = true; look(); if (open()) pull(); });

/* payload: arrows walk and fold */
const line = t => t.closest?.("[data-tree] .ln");
const pick = l => {
  $$(".ln.on").forEach(x => { x.tabIndex = -1; x.classList.remove("on"); });
  l.tabIndex = 0; l.classList.add("on"); l.append($(".la")); l.focus(); $("#path").textContent = l.dataset.path || "";
};
const value = l => { const v = $(".s,.n,.l", l)?.textContent ?? ""; try { return String(JSON.parse(v)); } catch { return v.replace(/^"|"$/g, ""); } };
on("pointerover", e => { const l = line(e.target); if (l && !$(".la", l)) l.append($(".la")); });
on("keydown", e => {
  const l = line(e.target); if (!l || e.ctrlKey || e.metaKey || e.altKey) return;
  const a = $$("[data-tree] .ln").filter(x => x.checkVisibility()), i = a.indexOf(l), d = l.matches("summary") ? l.parentElement : null;
  const act = { ArrowDown: () => pick(a[i + 1] || l), ArrowUp: () => pick(a[i - 1] || l), Home: () => pick(a[0]), End: () => pick(a.at(-1)),
    ArrowRight: () => { if (d && !d.open) d.open = true; else pick(a[i + 1] || l); },
    ArrowLeft: () => { if (d?.open) d.open = false; else { const p = (d || l).parentElement.closest("details"); if (p) pick(p.firstElementChild); } } }[e.key];
  if (act) { stay(e); e.stopImmediatePropagation(); act(); }
}, true);

/* clicks */
on("click", e => {
  const is = s => e.target.closest(s), c = is("[data-copy], [data-copy-url]"), act = is("[data-act]"), go = is(".row .go"), l = line(e.target);
  if (c) { const u = c.dataset.copyUrl; copy(u ? fetch(u).then(r => r.text()) : c.dataset.copy); }
  if (is(".menu :is(a, button)")) is(".menu").hidePopover();
  if (go) { choose(go.parentElement); stop(go.parentElement); }
  if (is(".row .cb")) {
    const t = e.target, b = boxes(), i = b.indexOf(t), j = b.indexOf(last); last = t;
    if (e.shiftKey && j >= 0) b.slice(Math.min(i, j), Math.max(i, j) + 1).forEach(x => { x.checked = t.checked; });
  }
  if (is("[data-pause]")) pause(!paused);
  if (is(".pill-new")) first();
  if (is("[data-help]")) $("#keys").showModal();
  if (is("[data-close]") && $("#dialog dialog")) { stay(e); $("#dialog dialog").close(); }
  if (act) { stay(e); copy(act.dataset.act === "path" ? l.dataset.path : value(l)); } else if (l?.dataset.path) pick(l);
  if (is("[data-fold]")) { const ds = $$("[data-tree] details:not([data-more])"), any = ds.some(d => d.open); ds.forEach(d => { d.open = !any; }); }
});
on("relay:toast", e => toast(e.detail.text));
on("relay:theme", e => { document.documentElement.dataset.theme = e.detail.theme; });
on("close", e => { if (e.target.closest("#dialog")) $("#dialog").textContent = ""; }, true);
on("reset", e => setTimeout(() => { if (e.target.matches("#bulk")) { picked.clear(); tally(); } e.target.dispatchEvent(new Event("input", { bubbles: true })); }));
on("change", e => { if (e.target.form?.matches("#bulk")) tally(e.target); });
on("toggle", e => {
  const t = e.target;
  if (t.open && t.dataset.more) { htmx.ajax("GET", t.dataset.more, { source: t, target: $(".kids", t), swap: "innerHTML" }); delete t.dataset.more; }
  if (!t.matches(".menu") || e.newState !== "open") return;
  const b = $(`[popovertarget="${t.id}"]`).getBoundingClientRect();
  t.style.top = `${b.bottom + 4}px`; t.style.left = `${Math.max(8, Math.min(b.right, innerWidth - 8) - t.offsetWidth)}px`;
}, true);

/* keys, while nobody types and no dialog is open */
let g = 0;
on("keydown", e => {
  const t = e.target, k = e.key, ctrl = e.ctrlKey || e.metaKey, send = ctrl && k === "Enter" && t.form && $("[data-send]", t.form);
  const by = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, J: 1, K: -1 }[k], hits = $$("#fa, .opt");
  if (send) return send.click();
  if (ctrl && k === "f" && t.closest("#payload, .ptools") && $("#pq")) { stay(e); $("#pq").select(); return; }
  if (k === "Enter" && e.shiftKey && t.id === "pq") { stay(e); $("#pback")?.click(); return; }
  if (ctrl && k === "k") { stay(e); $("#find").click(); return; }
  if (k[1] && by && hits.includes(t)) { stay(e); hits.at((hits.indexOf(t) + by) % hits.length).focus(); return; }
  if (e.defaultPrevented || ctrl || e.altKey || $("dialog[open], :popover-open")) return;
  if (k === "Escape") { if (typing(t)) t.blur(); focusRow(here()); return; }
  if (typing(t) || "noKeys" in document.body.dataset) return;
  if (k === "Enter") { const r = t.closest(".row"); if (r && String(id(r)) === shown()) { stay(e); into(); } else inward = !!r; return; }
  const plain = /^[\w?]$/.test(k), walk = rows().length && !t.closest("#detail, .side");
  if (Date.now() - g < 900) { g = 0; if (k === "g") first(); else if (plain) $(`[data-go="${k}"]`)?.click(); return; }
  const b = plain && $(`[data-key="${k}"]:not(:disabled), [data-tab="${k}"]`), run = { x: () => box(here())?.click(), Home: walk && first, "/": () => $("#q")?.select(), g: () => { g = Date.now(); } }[k]
    || (by && (walk || plain) && (() => (/[JK]/.test(k) ? reach : step)(by))) || (b && (() => b.click()));
  if (run) { stay(e); run(); }
});

tidy();
})();
