// Every run of text, control border (in focus its outline) and status icon against the colour behind it (WCAG 2.2 AA),
// in each theme, the last of which stays. The button's theme and the system's set the same `color-scheme`.
(() => {
  const root = document.documentElement;
  const cx = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const remember = make => { const made = new Map(); return key => made.get(key) ?? (made.set(key, make(key)), made.get(key)); };
  const rgba = remember(c => { cx.clearRect(0, 0, 1, 1); cx.fillStyle = '#0000'; cx.fillStyle = c; cx.fillRect(0, 0, 1, 1); const d = cx.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; });
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const lum = c => { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]); };
  const ratio = (a, b) => { const x = lum(a), y = lum(b); return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
  return (root.dataset.theme === 'dark' ? ['dark', 'light'] : ['light', 'dark']).map(theme => {
    root.dataset.theme = theme;
    const page = rgba(getComputedStyle(document.documentElement).backgroundColor);
    const bg = remember(e => { const c = rgba(getComputedStyle(e).backgroundColor); return c[3] === 1 ? c : over(c, e.parentElement && e.tagName !== 'DIALOG' ? bg(e.parentElement) : page); });
    for (const a of document.getAnimations()) { try { a.finish() } catch { a.cancel() } }
    const out = [], seen = new Set(); let n = 0, min = 99;
    const top = document.querySelector('dialog[open]') || document.body;
    const w = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
    for (let t; t = w.nextNode();) {
      const e = t.parentElement; if (!t.data.trim() || !e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || e.closest('.vh, script, svg:not(.chart), [disabled]')) continue;
      const s = getComputedStyle(e), b = bg(e), px = parseFloat(s.fontSize), big = px >= 24 || (px >= 18.66 && +s.fontWeight >= 700);
      const r = ratio(over(rgba(s.color), b), b); n++; min = Math.min(min, r);
      const k = e.className + s.color + b; if (r < (big ? 3 : 4.5) && !seen.has(k)) { seen.add(k); out.push([r.toFixed(2), e.className || e.tagName, t.data.trim().slice(0, 28)]); }
    }
    for (const e of top.querySelectorAll('input.cb, input[role=switch], .input, .edit, .url-line')) { if (!e.checkVisibility()) continue; const s = getComputedStyle(e), ring = s.outlineStyle !== 'none', sw = e.matches('[role=switch]'); if (!sw && !ring && e.checked) continue; const r = ratio(rgba(ring ? s.outlineColor : sw ? s.backgroundColor : s.borderTopColor), bg(e.parentElement)); if (r < 3) out.push([r.toFixed(2), 'control ' + e.className, 'border']); }
    for (const e of top.querySelectorAll('.icon')) { const p = e.closest('.ver .err, .ver .warn, .steps .icon, .verdict, .banner > .icon'); if (!p || !e.checkVisibility()) continue; const b = bg(e), r = ratio(over(rgba(getComputedStyle(e).color), b), b); if (r < 3) out.push([r.toFixed(2), 'icon', e.parentElement.className]); }
    return { theme, n, min: +min.toFixed(2), out, wide: document.documentElement.scrollWidth > innerWidth || [...document.querySelectorAll('.page, .scroll:not(:has(.tree))')].some(e => e.scrollWidth > e.clientWidth + 1 && !e.querySelector('.dtable, .cmpt')) };
  });
})()
