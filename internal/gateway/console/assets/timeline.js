// What a run did, drawn along time: a lane for each agent, work filled, waiting hatched. A table with the same steps always stands beside it.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./html.js";
import { now } from "./live.js";
import * as f from "./format.js";

const BAR = 12, GAP = 3, PAD = 7; // px: of a bar, between bars, above and below those of a lane
const AXIS = 26; // px
const ROWS_MOST = 6; // bars above each other in a lane; what is more shares the last row
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 6048e5];

/** The lane in which a step is drawn: that of whoever works or is waited for. */
export const laneOf = (s) => (s.kind === "ask" || s.kind === "question" ? s.to || s.agent : s.agent);

/** Whether a step stands for a run, whose own steps say what was done in it. */
const holds = (s) => s.kind === "run" || Boolean(s.child);

/** Puts steps into lanes, and in a lane into as few rows as let none cover another. */
export function layOut(steps, end) {
  const lanes = new Map();
  for (const s of steps) {
    const name = laneOf(s);
    let lane = lanes.get(name);
    if (!lane) lanes.set(name, (lane = { name, spans: [], bars: [], ends: [] }));
    const from = s.startMs ?? s.endMs ?? end;
    const to = Math.max(from, s.endMs ?? end);
    if (holds(s)) { lane.spans.push({ step: s, from, to }); continue; }
    let row = lane.ends.findIndex((e) => e <= from);
    if (row < 0) row = lane.ends.length < ROWS_MOST ? lane.ends.push(0) - 1 : ROWS_MOST - 1;
    lane.ends[row] = to;
    lane.bars.push({ step: s, from, to, row });
  }
  let top = 0;
  return [...lanes.values()].map((lane) => {
    const height = 2 * PAD + Math.max(1, lane.ends.length) * (BAR + GAP) - GAP;
    const placed = { ...lane, top, height };
    top += height;
    return placed;
  });
}

function inks(el) {
  const style = getComputedStyle(el);
  const v = (name) => style.getPropertyValue(name).trim();
  return { text: v("--text"), quiet: v("--quiet"), line: v("--line"), panel: v("--panel"), stripe: v("--stripe"), span: v("--span"), edge: v("--edge"), focus: v("--accent"),
    bar: { ask: v("--ask"), model: v("--model"), tool: v("--tool"), question: v("--person"), timer: v("--timer"), await: v("--timer"), refused: v("--bad"), bad: v("--bad") } };
}

/** Stripes of an ink, for what waits. */
function hatch(ctx, ink, ratio) {
  const size = 6 * ratio;
  const c = new OffscreenCanvas(size, size);
  const x = c.getContext("2d");
  x.strokeStyle = ink;
  x.lineWidth = 1.6 * ratio;
  x.beginPath();
  for (const d of [-size, 0, size]) { x.moveTo(d - ratio, size + ratio); x.lineTo(d + size + ratio, -ratio); }
  x.stroke();
  const p = ctx.createPattern(c, "repeat");
  p.setTransform(new DOMMatrix([1 / ratio, 0, 0, 1 / ratio, 0, 0]));
  return p;
}

const BAD = new Set(["failed", "unknown", "exhausted"]);

function draw(canvas, { lanes, from, to, gutter, width, height, scroll, selected, hover }) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ctx = canvas.getContext("2d");
  const ink = inks(canvas);
  const hatches = {};
  const striped = (color) => (hatches[color] ??= hatch(ctx, color, ratio));
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = `12px ${getComputedStyle(canvas).fontFamily}`;
  ctx.textBaseline = "middle";
  const room = width - gutter - 8;
  const x = (t) => gutter + ((t - from) / (to - from)) * room;

  // lines of time
  const step = TICKS.find((t) => (t / (to - from)) * room >= 72) ?? TICKS.at(-1);
  const zero = lanes.zero;
  ctx.strokeStyle = ink.line;
  ctx.lineWidth = 1;
  const ticks = [];
  for (let t = zero + Math.ceil((from - zero) / step) * step; t <= to; t += step) ticks.push(t);
  for (const t of ticks) {
    ctx.beginPath();
    ctx.moveTo(Math.round(x(t)) + 0.5, AXIS);
    ctx.lineTo(Math.round(x(t)) + 0.5, height);
    ctx.stroke();
  }

  ctx.save();
  ctx.beginPath();
  ctx.rect(0, AXIS, width, height - AXIS);
  ctx.clip();
  for (const [i, lane] of lanes.entries()) {
    const top = AXIS + lane.top - scroll;
    if (top > height || top + lane.height < AXIS) continue;
    if (i % 2) { ctx.fillStyle = ink.stripe; ctx.fillRect(0, top, width, lane.height); }
    ctx.save();
    ctx.beginPath();
    ctx.rect(gutter - 3, top, width - gutter + 3, lane.height); // with the ring around what is selected
    ctx.clip();
    for (const s of lane.spans) {
      const a = x(s.from), b = Math.max(a + 2, x(s.to));
      if (b < gutter || a > width) continue;
      ctx.beginPath();
      ctx.roundRect(a, top + 4.5, b - a, lane.height - 9, 4);
      ctx.fillStyle = ink.span;
      ctx.fill();
      ctx.strokeStyle = s.step.key === selected ? ink.focus : BAD.has(s.step.status) ? ink.bar.bad : ink.edge;
      ctx.lineWidth = s.step.key === selected ? 2 : 1;
      ctx.stroke();
    }
    let lastRow = -1, lastRight = -1; // bars that would fall on the same pixels are drawn once
    for (const b of lane.bars) {
      const a = x(b.from), e = Math.max(a + 2, x(b.to));
      if (e < gutter || a > width || (b.row === lastRow && e <= lastRight && b.step.key !== selected && !BAD.has(b.step.status))) continue;
      lastRow = b.row;
      lastRight = e;
      const y = top + PAD + b.row * (BAR + GAP);
      const color = BAD.has(b.step.status) ? ink.bar.bad : ink.bar[b.step.kind] ?? ink.quiet;
      ctx.beginPath();
      ctx.roundRect(a, y, e - a, BAR, Math.min(3, (e - a) / 2));
      if (b.step.waits) {
        ctx.fillStyle = ink.panel;
        ctx.fill();
        ctx.fillStyle = striped(color);
        ctx.fill();
        ctx.strokeStyle = color;
        ctx.lineWidth = 1;
        ctx.stroke();
      } else {
        ctx.fillStyle = color;
        ctx.fill();
      }
      if (b.step.key === selected || b.step.key === hover) {
        ctx.strokeStyle = b.step.key === selected ? ink.focus : ink.text;
        ctx.lineWidth = 2;
        ctx.beginPath();
        ctx.roundRect(a - 2, y - 2, e - a + 4, BAR + 4, 4);
        ctx.stroke();
      }
    }
    ctx.restore();
    ctx.fillStyle = ink.text;
    ctx.fillText(fitted(ctx, f.visible(lane.name), gutter - 20), 12, top + lane.height / 2 + 0.5);
  }
  ctx.restore();

  ctx.fillStyle = ink.quiet;
  ctx.textAlign = "center";
  for (const t of ticks) {
    const text = f.span(t - zero);
    const half = ctx.measureText(text).width / 2;
    if (x(t) - half >= gutter - 12 && x(t) + half <= width) ctx.fillText(text, x(t), AXIS / 2);
  }
  ctx.textAlign = "start";
}

function fitted(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  let n = text.length;
  while (n > 1 && ctx.measureText(text.slice(0, n) + "…").width > width) n--;
  return text.slice(0, n) + "…";
}

/**
 * @param {{steps: object[], range: ?[number, number], selected: string, onPick: (key: string) => void, onRange: (r: ?[number, number]) => void, running: boolean}} o
 */
export function Timeline({ steps, range, selected, onPick, onRange, running }) {
  const box = useRef(null), canvas = useRef(null);
  const [size, setSize] = useState({ width: 0, scroll: 0 });
  const [hover, setHover] = useState(null);
  const [brush, setBrush] = useState(null);
  const [themed, setThemed] = useState(0);
  const bounds = useMemo(() => {
    let first = Infinity, last = -Infinity;
    for (const s of steps) {
      first = Math.min(first, s.startMs ?? s.endMs ?? Infinity);
      last = Math.max(last, s.endMs ?? s.startMs ?? -Infinity);
    }
    return [first, last];
  }, [steps]);
  const end = running ? Math.max(bounds[1], now.value) : bounds[1];
  const lanes = useMemo(() => Object.assign(layOut(steps, end), { zero: bounds[0] }), [steps, running ? end : 0]);
  const from = range ? bounds[0] + range[0] : bounds[0];
  const to = Math.max(range ? bounds[0] + range[1] : end + (end - bounds[0]) * 0.02, from + 1);
  const total = lanes.reduce((n, l) => n + l.height, 0);
  const height = Math.min(AXIS + total + 4, 380);
  const gutter = size.width < 560 ? 96 : 150;

  useLayoutEffect(() => {
    const el = box.current;
    const measure = () => setSize((s) => ({ ...s, width: el.clientWidth }));
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(el);
    const theme = new MutationObserver(() => setThemed((n) => n + 1));
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => { watch.disconnect(); theme.disconnect(); };
  }, []);
  useLayoutEffect(() => {
    if (size.width) draw(canvas.current, { lanes, from, to, gutter, width: size.width, height, scroll: size.scroll, selected, hover: hover?.step.key });
  }, [lanes, from, to, size, height, selected, hover, themed]);

  const timeAt = (px) => from + ((px - gutter) / (size.width - gutter - 8)) * (to - from);
  const place = (e) => {
    const r = canvas.current.getBoundingClientRect();
    return [e.clientX - r.left, e.clientY - r.top];
  };
  const hit = (px, py) => {
    const y = py - AXIS + size.scroll;
    const lane = lanes.find((l) => y >= l.top && y < l.top + l.height);
    if (!lane || px < gutter || py < AXIS) return null;
    const t = timeAt(px), slack = ((to - from) / (size.width - gutter)) * 3;
    const row = Math.floor((y - lane.top - PAD) / (BAR + GAP));
    return lane.bars.findLast((b) => b.row === row && b.from - slack <= t && b.to + slack >= t) ?? lane.spans.findLast((s) => s.from <= t && s.to >= t) ?? null;
  };
  const down = (e) => { if (e.button === 0 && e.pointerType === "mouse") { const [px] = place(e); setBrush({ a: px, b: px }); canvas.current.setPointerCapture(e.pointerId); } };
  const moved = (e) => {
    const [px, py] = place(e);
    if (brush) setBrush({ ...brush, b: px });
    const found = hit(px, py);
    setHover(found && { ...found, px, py });
  };
  const up = (e) => {
    const [px, py] = place(e);
    if (brush && Math.abs(brush.b - brush.a) > 6) {
      const [a, b] = [brush.a, brush.b].map((p) => Math.round(timeAt(Math.max(gutter, p)) - bounds[0])).sort((m, n) => m - n);
      onRange([Math.max(0, a), Math.max(a + 1, b)]);
    } else {
      const found = hit(px, py);
      if (found) onPick(found.step.key);
    }
    setBrush(null);
  };
  const zoom = (by) => {
    const mid = (from + to) / 2, half = ((to - from) / 2) * by;
    const a = Math.max(0, mid - half - bounds[0]), b = Math.min(end - bounds[0], mid + half - bounds[0]);
    onRange(a <= 0 && b >= end - bounds[0] ? null : [Math.round(a), Math.max(Math.round(a) + 1, Math.round(b))]);
  };
  return html`<figure class="timeline card">
    <figcaption><span class="legend">
        <span><i data-kind="ask"></i>agent</span><span><i data-kind="model"></i>model</span><span><i data-kind="tool"></i>tool</span><span><i data-kind="question"></i>person</span><span><i data-kind="timer"></i>waiting</span><span><i data-kind="span"></i>organization</span>
      </span>
      <span class="zoom" role="group" aria-label="Time shown"><button type="button" class="bare" aria-label="Closer" onClick=${() => zoom(0.5)}>+</button><button type="button" class="bare" aria-label="Further away" onClick=${() => zoom(2)}>−</button><button type="button" class="bare" disabled=${!range} onClick=${() => onRange(null)}>All</button></span></figcaption>
    <div class="timeline-box" ref=${box} style=${{ height: height + "px" }} tabindex="0" role="group" aria-label="Timeline; the table below has the same steps" onScroll=${(e) => { const scroll = e.currentTarget.scrollTop; setSize((s) => ({ ...s, scroll })); }}>
      <div style=${{ height: AXIS + total + 4 + "px" }}><canvas ref=${canvas} style=${{ width: size.width + "px", height: height + "px" }} aria-hidden="true" onPointerDown=${down} onPointerMove=${moved} onPointerUp=${up} onPointerLeave=${() => setHover(null)}></canvas></div>
    </div>
    ${brush && Math.abs(brush.b - brush.a) > 6 && html`<i class="brush" style=${{ left: Math.min(brush.a, brush.b) + "px", width: Math.abs(brush.b - brush.a) + "px", height: height + "px" }}></i>`}
    ${hover && !brush && html`<div class="tip" aria-hidden="true" style=${{ left: Math.min(hover.px + 12, Math.max(0, size.width - 250)) + "px", top: hover.py + 56 + "px" }}><strong>${f.visible(hover.step.command || hover.step.agent)}</strong><span>${hover.step.kind}${hover.step.to ? ` · ${f.visible(hover.step.to)}` : ""} · ${hover.step.status}</span><span>${f.span((hover.step.endMs ?? end) - (hover.step.startMs ?? hover.step.endMs))}</span></div>`}
  </figure>`;
}
