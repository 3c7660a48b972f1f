/* relay dashboard: what HTML and htmx cannot do alone. No eval, no inline handlers, no dependencies. */
(() => {
  "use strict";
  const $ = (s, r = document) => r.querySelector(s), $$ = (s, r = document) => [...r.querySelectorAll(s)];
  const on = (type, run, capture) => document.addEventListener(type, run, capture);
  const typing = t => t.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  const narrow = () => matchMedia("(max-width: 48rem)").matches;
  const most = 300;

  /* htmx 4.0.1 cancels modified clicks on links; on phones list and detail are two pages. */
  addEventListener("click", e => {
    const a = e.target.closest?.("a[href]"); if (!a) return;
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || (narrow() && a.matches(".row .go"))) e.stopImmediatePropagation();
  }, true);

  /* words: a toast for your own actions, at most one sentence in five seconds for arrivals */
  let hiding, told = 0, came = 0, bad = 0, telling;
  const say = text => { $("#announce").textContent = text; };
  const toast = text => { const t = $("#toast"); t.lastElementChild.textContent = text; t.hidden = false; say(text); clearTimeout(hiding); hiding = setTimeout(() => { t.hidden = true; }, 2600); };
  on("relay:toast", e => toast(e.detail.text));
  const tell = () => {
    say(`${came} new event${came === 1 ? "" : "s"}${bad ? `, ${bad} failed verification` : ""}`);
    came = bad = 0; told = Date.now(); telling = 0;
  };
  const arrived = (n, failed) => { came += n; bad += failed; telling ||= setTimeout(tell, Math.max(600, told + 5000 - Date.now())); };

  /* copy */
  const copy = async (text, said = "Copied") => { try { await navigator.clipboard.writeText(await text); toast(said); } catch { toast("Copy failed. Press Ctrl C."); } };
  on("click", e => {
    const c = e.target.closest("[data-copy], [data-copy-url], [data-copy-link]"); if (!c) return;
    const { copy: plain, copyUrl, copyLink } = c.dataset;
    copy(copyUrl ? fetch(copyUrl).then(r => r.text()) : copyLink ? location.origin + copyLink : plain);
    c.closest("[popover]")?.hidePopover();
  });

  /* theme: system, light, dark. The server reads the cookie, so there is no flash. */
  on("click", e => {
    if (!e.target.closest("[data-theme-toggle]")) return;
    const r = document.documentElement, order = ["", "light", "dark"], next = order[(order.indexOf(r.dataset.theme || "") + 1) % 3];
    if (next) r.dataset.theme = next; else delete r.dataset.theme;
    document.cookie = `relay_theme=${next}; path=/; max-age=31536000; samesite=strict`;
    toast({ "": "Theme follows the system", light: "Light theme", dark: "Dark theme" }[next]);
  });

  /* event list: one tab stop, arrows or j and k move it */
  const rows = () => $$("#rows .row"), number = r => +r.id.slice(2), top = () => rows().length ? number(rows()[0]) : 0;
  const shown = () => $("#detail [data-event]")?.dataset.event;
  const current = () => $(".row:has([aria-current])");
  const here = () => document.activeElement.closest?.(".row") || current() || rows()[0];
  const stop = r => { rows().forEach(x => { $(".go", x).tabIndex = x === r ? 0 : -1; }); };
  const choose = id => rows().forEach(r => { const go = $(".go", r); r.id === `e-${id}` ? go.setAttribute("aria-current", "true") : go.removeAttribute("aria-current"); });
  const focusRow = r => { if (!r) return; stop(r); $(".go", r).focus({ preventScroll: true }); r.scrollIntoView({ block: "nearest" }); };
  const step = n => { const a = rows(), r = a[Math.max(0, Math.min(a.length - 1, a.indexOf(here()) + n))]; if (r && r !== current()) { focusRow(r); $(".go", r).click(); } };
  let inward = false;
  const into = () => { inward = false; $("#detail-h")?.focus(); };
  on("click", e => { const go = e.target.closest(".row .go"); if (go) { const r = go.closest(".row"); choose(number(r)); stop(r); } });

  /* live: the gate lets new rows in only while nothing would move under you */
  let paused = false, waiting = 0, pulling = false, again = false, seen = 0;
  const list = () => $("[data-list]");
  const open = () => !paused && (list()?.scrollTop ?? 0) <= 8 && !$("dialog[open]") && getSelection().isCollapsed;
  const pill = () => { const p = $(".pill-new"); if (!p) return; p.hidden = !waiting; p.lastElementChild.textContent = `${waiting} new event${waiting === 1 ? "" : "s"}`; };
  const hold = n => { waiting += n; pill(); };
  const pull = () => { if (!$("#tail")) return; if (pulling) { again = true; return; } pulling = true; htmx.trigger("#tail", "relay:pull"); };
  const newest = () => { waiting = 0; pill(); if (list()) list().scrollTop = 0; pull(); };
  const pause = v => {
    paused = v; const b = $("[data-pause]"); if (!b) return;
    b.setAttribute("aria-pressed", v); $("[data-pause-label]", b).textContent = v ? "Paused" : "Live"; $(".dot", b).className = v ? "dot warn" : "dot ok live";
    if (!v && waiting && open()) newest();
  };
  const fresh = () => { if ($("[data-first]")) location.replace("/events"); return !!$("#rows"); };
  on("htmx:sse:before:message", e => {
    const m = e.detail.message; if (m.event) return;
    const ids = [...m.data.matchAll(/<li class="row" id="e-(\d+)"/g)].map(x => +x[1]); if (!ids.length) return;
    if (!fresh()) { e.preventDefault(); return; }
    const news = ids.filter(i => !$(`#e-${i}`)).length;
    arrived(news, m.data.split(">verification failed<").length - 1);
    if (!open()) { e.preventDefault(); hold(news); } else if (pulling || Math.min(...ids) <= top()) { e.preventDefault(); pull(); }
  });
  const named = (type, run) => on(type, e => { if (e.target.id === "live") run(JSON.parse(e.detail.data)); });
  named("event", d => { if (fresh()) { arrived(d.n, d.rejected); if (open()) pull(); else hold(d.n); } });
  named("status", d => { if (d.boot !== document.body.dataset.boot) { document.body.dataset.boot = d.boot; toast("relay restarted. Reload for the new version."); } });
  let looking;
  const look = id => {
    if (String(id) !== shown()) return;
    clearTimeout(looking); looking = setTimeout(() => {
      const tab = $("#tab"), read = !tab || tab.matches(":hover, :focus-within") || !getSelection().isCollapsed;
      const name = $("#tabs [aria-current]")?.dataset.tab === "5" && !read ? "?tab=deliveries" : "";
      htmx.ajax("GET", `/events/${id}/head${name}`, { source: "#announce", target: "#announce", swap: "none" });
    }, 60);
  };
  named("delivery", d => look(d.event)); named("message", d => look(d.event));
  on("htmx:config:request", e => {
    const { ctx } = e.detail, from = ctx.sourceElement.id;
    if (from === "tail") ctx.request.body.set("after", top());
    if (from === "search" && ctx.sourceEvent?.type === "submit") ctx.request.body.set("done", "1");
  });
  on("htmx:finally:request", e => { if (e.detail.ctx.sourceElement.id === "tail") { pulling = false; if (again) { again = false; pull(); } } });
  on("click", e => { if (e.target.closest("[data-pause]")) pause(!paused); if (e.target.closest(".pill-new")) { newest(); focusRow(rows()[0]); } });
  on("scroll", e => { if (waiting && e.target === list() && open()) newest(); }, true);

  /* after every swap: who is current, what is new, and never more rows than a page may hold */
  const tidy = () => {
    const a = rows(), live = seen && a.length && number(a.at(-1)) <= seen;
    if (live) for (const r of a) { if (number(r) <= seen) break; r.classList.add("is-new"); }
    seen = a.length ? number(a[0]) : 0;
    if (a.length > most) {
      a.slice(most).forEach(r => r.remove()); $("#foot")?.remove();
      $("#rows").append($("#full").content.cloneNode(true)); $("#rows .day:has(+ #foot)")?.remove();
      const older = $("#foot [data-older]"), u = new URL(older.href); u.searchParams.set("before", number(a[most - 1])); older.href = u;
    }
    if (a.length && !$('.row .go[tabindex="0"]')) stop(current() || a[0]);
    if (shown()) choose(shown());
    pause(paused);
  };
  on("htmx:after:swap", () => {
    tidy();
    const d = $("#dialog dialog[data-open]:not([open])"); if (d) { d.showModal(); $("[autofocus]", d)?.focus(); }
    if (inward && shown()) into();
    const hit = $("#payload .on"); if (hit && document.activeElement.id === "pq") hit.scrollIntoView({ block: "center" });
  });

  /* relay stopped: say so, and hide it again when the stream is back */
  let alive = new Date();
  on("htmx:sse:error", () => { if (document.hidden) return; $("[data-since]").textContent = alive.toTimeString().slice(0, 5); $("#stopped").hidden = false; });
  on("htmx:sse:after:connection", () => { alive = new Date(); $("#stopped").hidden = true; if (open()) pull(); });
  on("htmx:sse:after:message", () => { alive = new Date(); });

  /* dialogs and menus */
  on("click", e => { if (e.target.closest("[data-close]") && $("#dialog dialog[open]")) { e.preventDefault(); $("#dialog dialog").close(); } if (e.target.closest("[data-help]")) $("#keys").showModal(); });
  on("close", e => { if (e.target.closest("#dialog")) $("#dialog").textContent = ""; }, true);
  on("reset", e => setTimeout(() => e.target.dispatchEvent(new Event("input", { bubbles: true }))));
  on("toggle", e => {
    const t = e.target;
    if (t.matches("details[data-more]") && t.open) { htmx.ajax("GET", t.dataset.more, { source: t, target: $(".kids", t), swap: "innerHTML" }); delete t.dataset.more; }
    if (!t.matches(".menu") || e.newState !== "open") return;
    const b = $(`[popovertarget="${t.id}"]`).getBoundingClientRect();
    t.style.top = `${b.bottom + 4}px`; t.style.left = `${Math.max(8, Math.min(b.right - t.offsetWidth, innerWidth - t.offsetWidth - 8))}px`;
  }, true);
  on("submit", e => { e.target.closest?.("[popover]")?.hidePopover(); });

  /* payload tree: one tab stop, arrows walk and fold */
  const la = document.createElement("span"); la.className = "la";
  for (const act of ["path", "value"]) { const b = document.createElement("button"); b.type = "button"; b.tabIndex = -1; b.dataset.act = act; b.textContent = `Copy ${act}`; la.append(b); }
  const line = t => t.closest?.("[data-tree] .ln");
  on("pointerover", e => { const l = line(e.target); if (l && la.parentElement !== l) l.append(la); });
  const pick = l => {
    $$("[data-tree] .ln.on").forEach(x => { x.tabIndex = -1; x.classList.remove("on"); }); l.tabIndex = 0; l.classList.add("on"); l.append(la); l.focus();
    $("#path").textContent = l.dataset.path || "";
  };
  const value = l => { const v = $(".s,.n,.l", l)?.textContent ?? ""; try { return String(JSON.parse(v)); } catch { return v.replace(/^"|"$/g, ""); } };
  on("keydown", e => {
    const l = line(e.target); if (!l || e.ctrlKey || e.metaKey || e.altKey) return;
    const a = $$("[data-tree] .ln").filter(x => x.offsetParent), i = a.indexOf(l), d = l.matches("summary") ? l.parentElement : null;
    const act = { ArrowDown: () => pick(a[i + 1] || l), ArrowUp: () => pick(a[i - 1] || l), Home: () => pick(a[0]), End: () => pick(a.at(-1)),
      ArrowRight: () => { if (d && !d.open) d.open = true; else pick(a[i + 1] || l); },
      ArrowLeft: () => { if (d?.open) d.open = false; else { const p = (d || l).parentElement.closest("details"); if (p) pick(p.firstElementChild); } } }[e.key];
    if (act) { e.preventDefault(); e.stopImmediatePropagation(); act(); }
  }, true);
  on("focusin", e => { const t = e.target; if (t.matches("#payload") && $("[data-tree] .ln")) pick($("[data-tree] .ln")); });
  on("click", e => {
    const b = e.target.closest(".la button");
    if (b) { e.preventDefault(); const l = b.closest(".ln"); copy(b.dataset.act === "path" ? l.dataset.path : value(l), b.dataset.act === "path" ? "Path copied" : "Value copied"); return; }
    const l = line(e.target); if (l?.dataset.path !== undefined) pick(l);
    if (e.target.closest("[data-fold]")) { const ds = $$("[data-tree] details"), any = ds.some(d => d.open); ds.forEach(d => { if (!any || !d.dataset.more) d.open = !any && !d.dataset.more; }); }
  });

  /* keys: only when nobody types and no dialog is open */
  let g = 0;
  const press = key => $(`#detail [data-key="${key}"]`)?.click();
  const again_ = () => { const to = $("#detail [data-target]")?.dataset.target; if (!to) return press("r"); htmx.ajax("POST", `/events/${shown()}/replay`, { source: "#toast", target: "#toast", swap: "none", values: { target: to } }); };
  on("keydown", e => {
    if (e.key === "Enter" && e.ctrlKey && e.target.closest("form")) { const send = $("[data-send]", e.target.closest("form")); if (send) { e.preventDefault(); send.click(); } return; }
    if (e.key === "f" && (e.ctrlKey || e.metaKey) && e.target.closest?.("#payload, .ptools") && $("#pq")) { e.preventDefault(); $("#pq").select(); return; }
    if (e.key === "Enter" && e.shiftKey && e.target.id === "pq") { e.preventDefault(); e.target.form.requestSubmit($('[name="step"][value="-1"]', e.target.form)); return; }
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || $("dialog[open]")) return;
    if (e.key === "Escape") { if ($(":popover-open")) return; if (typing(e.target)) e.target.blur(); focusRow(here()); return; }
    if (typing(e.target) || document.body.dataset.noKeys !== undefined) return;
    if (e.key === "Enter") { const r = e.target.closest(".row"); if (r && String(number(r)) === shown()) { e.preventDefault(); into(); } else if (r) inward = true; return; }
    const walk = !e.target.closest("#detail, .side") && rows().length, k = e.key;
    if (g && Date.now() - g < 900) {
      g = 0; const to = { e: "events", d: "deliveries", m: "messages", s: "sources", t: "targets", c: "stats" }[k];
      if (k === "g") { newest(); focusRow(rows()[0]); } else if (to) location.href = `/${to}`;
      return;
    }
    const run = { j: rows().length && (() => step(1)), k: rows().length && (() => step(-1)), ArrowDown: walk && (() => step(1)), ArrowUp: walk && (() => step(-1)), Home: walk && (() => { newest(); focusRow(rows()[0]); }),
      "/": $("#q") && (() => $("#q").select()), "?": () => $("#keys").showModal(), p: $("[data-pause]") && (() => pause(!paused)), g: () => { g = Date.now(); },
      f: $("#filters") && (() => $("#filters").togglePopover()), t: () => { location.href = "/trigger"; }, r: shown() && (() => press("r")), R: shown() && again_, c: shown() && (() => press("c")), e: shown() && (() => press("e")) }[k]
      || (/^[1-5]$/.test(k) && $(`[data-tab="${k}"]`) && (() => $(`[data-tab="${k}"]`).click()));
    if (run) { e.preventDefault(); run(); }
  });

  tidy();
  for (const d of $$("dialog[data-open]")) d.showModal();
})();
