/* relay dashboard: what HTML and htmx cannot do alone */
(() => {
"use strict";
const $ = (s, r = document) => r.querySelector(s), $$ = s => [...document.querySelectorAll(s)];
const on = (type, run, capture) => document.addEventListener(type, run, capture);
const typing = t => t.closest("input:not([type=checkbox], [type=radio]), textarea, select");
const news = n => `${n} new event${n === 1 ? "" : "s"}`;

/* htmx cancels modified clicks; on phones list and detail are two pages */
addEventListener("click", e => {
  const a = e.target.closest?.("a[href]"), phone = a?.matches(".row .go") && matchMedia("(max-width: 48rem)").matches;
  if (a && (e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || phone)) e.stopImmediatePropagation();
}, true);

/* a toast for your own actions; for arrivals at most a sentence in five seconds */
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

/* event list: one tab stop */
const rows = () => $$("#rows .row"), id = r => +r.id.slice(2), top = () => rows().length ? id(rows()[0]) : 0;
const shown = () => $("#detail [data-event]")?.dataset.event, current = () => $(".row:has([aria-current])");
const here = () => document.activeElement.closest(".row") || current() || rows()[0];
const stop = r => $$(".row .go").forEach(go => { go.tabIndex = go.parentElement === r ? 0 : -1; });
const choose = r => { $(".row [aria-current]")?.removeAttribute("aria-current"); r?.firstElementChild.setAttribute("aria-current", "true"); };
const focusRow = r => { if (r) { stop(r); r.firstElementChild.focus({ preventScroll: true }); r.scrollIntoView({ block: "nearest" }); } };
const step = n => { const a = rows(), r = a[Math.max(0, Math.min(a.length - 1, a.indexOf(here()) + n))]; if (r && r !== current()) { focusRow(r); r.firstElementChild.click(); } };
let inward = false;
const into = () => { inward = false; $("#detail-h")?.focus(); };

/* the gate lets new rows in only while nothing would move under you */
let paused = false, waiting = 0, pulling = false, again = false, seen = 0, looking;
const list = () => $("[data-list]");
const open = () => !paused && !(list()?.scrollTop > 8) && !$("dialog[open]") && getSelection().isCollapsed;
const hold = n => { waiting += n; const p = $(".pill-new"); if (p) { p.hidden = !waiting; p.lastElementChild.textContent = news(waiting); } };
const pull = () => { if (pulling) again = true; else if ($("#tail")) { pulling = true; htmx.trigger("#tail", "relay:pull"); } };
const newest = () => { hold(-waiting); if (list()) list().scrollTop = 0; pull(); };
const first = () => { newest(); focusRow(rows()[0]); };
const pause = v => {
  paused = v; const b = $("[data-pause]"); if (!b) return;
  b.setAttribute("aria-pressed", v); b.lastElementChild.textContent = v ? "Paused" : "Live"; b.firstElementChild.className = v ? "dot warn" : "dot ok live";
  if (waiting && open()) newest();
};
const listed = () => { if ($("[data-first]")) location.replace("/events"); return $("#rows"); };
on("htmx:sse:before:message", e => {
  const { data, event } = e.detail.message, ids = event ? [] : [...data.matchAll(/<li class="row" id="e-(\d+)"/g)].map(x => +x[1]);
  if (!ids.length) return;
  const n = ids.filter(i => !$(`#e-${i}`)).length;
  arrived(n, data.split(">verification failed<").length - 1);
  if (listed() && open() && !pulling && Math.min(...ids) > top()) return;
  e.preventDefault(); if (open()) pull(); else hold(n);
});
const named = (type, run) => on(type, e => { if (e.target.id === "live") run(JSON.parse(e.detail.data)); });
named("event", d => { if (listed()) { arrived(d.n, d.rejected); if (open()) pull(); else hold(d.n); } });
named("status", d => { const b = document.body.dataset; if (d.boot !== b.boot) { b.boot = d.boot; toast("relay restarted. Reload for the new version."); } });
const look = d => {
  if (String(d.event) !== shown()) return;
  clearTimeout(looking); looking = setTimeout(() => {
    const tab = $("#tab"), read = tab?.matches(":hover, :focus-within") || !getSelection().isCollapsed;
    const name = $('[data-tab="5"][aria-current]') && !read ? "?tab=deliveries" : "";
    htmx.ajax("GET", `/events/${d.event}/head${name}`, { source: "#announce", target: "#announce", swap: "none" });
  }, 60);
};
named("delivery", look); named("message", look);
on("htmx:config:request", e => {
  const { sourceElement: s, sourceEvent, request } = e.detail.ctx;
  if (s.id === "tail") request.body.set("after", top());
  if (s.id === "search" && sourceEvent?.type === "submit") request.body.set("done", "1");
});
on("htmx:finally:request", e => { if (e.detail.ctx.sourceElement.id === "tail") { pulling = false; if (again) { again = false; pull(); } } });
on("scroll", e => { if (waiting && e.target === list() && open()) newest(); }, true);

/* after a swap */
const tidy = () => {
  const a = rows();
  if (seen && a.length && id(a.at(-1)) <= seen) for (const r of a) { if (id(r) <= seen) break; r.classList.add("is-new"); }
  seen = top();
  if (a.length > 300) {
    a.slice(300).forEach(r => r.remove()); $("#foot")?.remove(); $("#rows").append($("#full").content.cloneNode(true));
    const older = $("[data-older]"), u = new URL(older.href); u.searchParams.set("before", id(a[299])); older.href = u;
  }
  if (shown()) choose($(`#e-${shown()}`));
  if (a.length && !$('.row [tabindex="0"]')) stop(current() || a[0]);
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
on("htmx:sse:after:connection", () => { $("#stopped").hidden = true; if (open()) pull(); });

/* payload tree: one tab stop, arrows walk and fold */
const la = document.createElement("span"); la.className = "la";
la.innerHTML = ["path", "value"].map(x => `<button type="button" tabindex="-1" data-act="${x}">Copy ${x}</button>`).join("");
const line = t => t.closest?.("[data-tree] .ln");
const pick = l => {
  $$(".ln.on").forEach(x => { x.tabIndex = -1; x.classList.remove("on"); });
  l.tabIndex = 0; l.classList.add("on"); l.append(la); l.focus(); $("#path").textContent = l.dataset.path || "";
};
const value = l => { const v = $(".s,.n,.l", l)?.textContent ?? ""; try { return String(JSON.parse(v)); } catch { return v.replace(/^"|"$/g, ""); } };
on("pointerover", e => { const l = line(e.target); if (l && la.parentElement !== l) l.append(la); });
on("keydown", e => {
  const l = line(e.target); if (!l || e.ctrlKey || e.metaKey || e.altKey) return;
  const a = $$("[data-tree] .ln").filter(x => x.checkVisibility()), i = a.indexOf(l), d = l.matches("summary") ? l.parentElement : null;
  const act = { ArrowDown: () => pick(a[i + 1] || l), ArrowUp: () => pick(a[i - 1] || l), Home: () => pick(a[0]), End: () => pick(a.at(-1)),
    ArrowRight: () => { if (d && !d.open) d.open = true; else pick(a[i + 1] || l); },
    ArrowLeft: () => { if (d?.open) d.open = false; else { const p = (d || l).parentElement.closest("details"); if (p) pick(p.firstElementChild); } } }[e.key];
  if (act) { e.preventDefault(); e.stopImmediatePropagation(); act(); }
}, true);

/* clicks, dialogs and menus */
on("click", e => {
  const is = s => e.target.closest(s), c = is("[data-copy], [data-copy-url]"), act = is("[data-act]"), go = is(".row .go"), l = line(e.target);
  if (c) { const u = c.dataset.copyUrl; copy(u ? fetch(u).then(r => r.text()) : c.dataset.copy); is(".menu")?.hidePopover(); }
  if (go) { choose(go.parentElement); stop(go.parentElement); }
  if (is("[data-pause]")) pause(!paused);
  if (is(".pill-new")) first();
  if (is("[data-help]")) $("#keys").showModal();
  if (is("[data-close]") && $("#dialog dialog")) { e.preventDefault(); $("#dialog dialog").close(); }
  if (act) { e.preventDefault(); copy(act.dataset.act === "path" ? l.dataset.path : value(l)); } else if (l?.dataset.path) pick(l);
  if (is("[data-fold]")) { const ds = $$("[data-tree] details:not([data-more])"), any = ds.some(d => d.open); ds.forEach(d => { d.open = !any; }); }
  if (is("[data-theme-toggle]")) {
    const root = document.documentElement.dataset, next = { light: "dark", dark: "" }[root.theme] ?? "light";
    if (next) root.theme = next; else delete root.theme;
    document.cookie = `relay_theme=${next}; path=/; max-age=31536000; samesite=strict`; toast(`Theme: ${next || "system"}`);
  }
});
on("relay:toast", e => toast(e.detail.text));
on("close", e => { if (e.target.closest("#dialog")) $("#dialog").textContent = ""; }, true);
on("reset", e => setTimeout(() => e.target.dispatchEvent(new Event("input", { bubbles: true }))));
on("submit", e => e.target.closest(".menu")?.hidePopover());
on("toggle", e => {
  const t = e.target;
  if (t.open && t.dataset.more) { htmx.ajax("GET", t.dataset.more, { source: t, target: $(".kids", t), swap: "innerHTML" }); delete t.dataset.more; }
  if (!t.matches(".menu") || e.newState !== "open") return;
  const b = $(`[popovertarget="${t.id}"]`).getBoundingClientRect();
  t.style.top = `${b.bottom + 4}px`; t.style.left = `${Math.max(8, Math.min(b.right, innerWidth - 8) - t.offsetWidth)}px`;
}, true);

/* keys: only while nobody types and no dialog is open */
let g = 0;
const places = { e: "events", d: "deliveries", m: "messages", s: "sources", t: "targets", c: "stats" };
const repeat = () => {
  const target = $("[data-target]")?.dataset.target;
  if (target) htmx.ajax("POST", `/events/${shown()}/replay`, { source: "#toast", target: "#toast", swap: "none", values: { target } }); else $('[data-key="r"]').click();
};
on("keydown", e => {
  const t = e.target, k = e.key, ctrl = e.ctrlKey || e.metaKey, send = ctrl && k === "Enter" && t.form && $("[data-send]", t.form);
  if (send) return send.click();
  if (ctrl && k === "f" && t.closest("#payload, .ptools") && $("#pq")) { e.preventDefault(); $("#pq").select(); return; }
  if (k === "Enter" && e.shiftKey && t.id === "pq") { e.preventDefault(); t.form.requestSubmit($('[name="step"][value="-1"]', t.form)); return; }
  if (e.defaultPrevented || ctrl || e.altKey || $("dialog[open], :popover-open")) return;
  if (k === "Escape") { if (typing(t)) t.blur(); focusRow(here()); return; }
  if (typing(t) || "noKeys" in document.body.dataset) return;
  if (k === "Enter") { const r = t.closest(".row"); if (r && String(id(r)) === shown()) { e.preventDefault(); into(); } else inward = !!r; return; }
  if (Date.now() - g < 900) { g = 0; if (k === "g") first(); else if (places[k]) location.href = `/${places[k]}`; return; }
  const button = /^\w$/.test(k) && $(`[data-key="${k}"], [data-tab="${k}"]`), walk = !t.closest("#detail, .side");
  const run = { j: () => step(1), k: () => step(-1), ArrowDown: walk && (() => step(1)), ArrowUp: walk && (() => step(-1)), Home: walk && first,
    "/": () => $("#q")?.select(), "?": () => $("#keys").showModal(), p: () => pause(!paused), g: () => { g = Date.now(); },
    f: () => $("#filters")?.togglePopover(), t: () => { location.href = "/trigger"; }, R: shown() && repeat }[k] || (button && (() => button.click()));
  if (run) { e.preventDefault(); run(); }
});

tidy();
})();
