// A topology, laid out by dagre and drawn as SVG: who asks whom, and what each has to do now.
import dagre from "@dagrejs/dagre";
import { html, useLayoutEffect, useMemo, useRef, useState } from "./html.js";
import { Icon } from "./ui.js";
import * as f from "./format.js";

const NODE_H = 46, NODE_MIN = 104, NODE_MAX = 190, CHAR = 7.2; // px
const GAP = 22, MARGIN = 12, ROW_WIDE = 900, ROW_NARROW = 340; // px: between nodes without edges, around everything, and how long rows of them may be
const SCALE_LEAST = 0.7; // what is wider than its place becomes smaller, but not smaller than can be read
const DRAWN_MOST = 200; // nodes; more is no picture any more

const LABEL = (n) => n.name.replace(/^(model|topic|group|role) /, "");
const ICON = { agent: "run", human: "question", tool: "tool", model: "model", topic: "await", group: "orgs", role: "orgs", outside: "question" };
export const iconOf = (n) => (n.what === "agent" ? (n.kind === "human" ? "question" : n.kind === "org" || n.kind === "organization" ? "orgs" : "run") : ICON[n.what] ?? "run");

/** Lays a graph out along one direction; nodes without edges are no part of it. */
function along(nodes, edges, width, down, tight) {
  const g = new dagre.graphlib.Graph({ multigraph: true });
  g.setGraph({ rankdir: down ? "TB" : "LR", nodesep: tight ? 14 : 22, ranksep: tight ? 30 : 64, marginx: MARGIN, marginy: MARGIN });
  g.setDefaultEdgeLabel(() => ({}));
  for (const n of nodes) g.setNode(n.name, { width, height: NODE_H });
  edges.forEach((e, i) => g.setEdge(e.from, e.to, { edge: e }, String(i)));
  dagre.layout(g);
  return { nodes: nodes.map((n) => ({ ...n, ...g.node(n.name) })), edges: g.edges().map((k) => ({ edge: g.edge(k).edge, ...drawn(g.edge(k), g.node(k.v), g.node(k.w), down) })), ...g.graph() };
}

/** Where everything lies: on a narrow page in the direction that takes less of its width. What has no edges stands in rows below the rest. */
function place(nodes, edges, narrow) {
  const names = new Set(nodes.map((n) => n.name));
  const known = edges.filter((e) => names.has(e.from) && names.has(e.to) && e.from !== e.to);
  const tied = new Set(known.flatMap((e) => [e.from, e.to]));
  const width = Math.min(NODE_MAX, Math.max(NODE_MIN, ...nodes.map((n) => LABEL(n).length * CHAR + 46))); // of all: then they stand in columns
  const within = nodes.filter((n) => tied.has(n.name)), loose = nodes.filter((n) => !tied.has(n.name));
  const ways = (narrow ? [true, false] : [false]).map((down) => along(within, known, width, down, narrow)).sort((a, b) => a.width - b.width);
  const laid = within.length ? ways[0] : { nodes: [], edges: [], width: 0, height: 2 * MARGIN - GAP };
  const room = Math.max(laid.width, narrow ? ROW_NARROW : ROW_WIDE) - 2 * MARGIN;
  const each = width + GAP, columns = Math.max(1, Math.min(loose.length, Math.floor((room + GAP) / each)));
  const all = Math.max(laid.width, loose.length ? columns * each - GAP + 2 * MARGIN : 0);
  const shift = (all - laid.width) / 2, from = (all - (columns * each - GAP)) / 2 + width / 2, below = laid.height - MARGIN + GAP + NODE_H / 2;
  return {
    width: all, shift, edges: laid.edges, height: laid.height + (loose.length ? Math.ceil(loose.length / columns) * (NODE_H + GAP) : 0),
    nodes: [...laid.nodes.map((n) => ({ ...n, x: n.x + shift })), ...loose.map((n, i) => ({ ...n, width, height: NODE_H, x: from + (i % columns) * each, y: below + Math.floor(i / columns) * (NODE_H + GAP) }))],
  };
}

const HEAD = 8, HALF = 4; // px: an arrow's head, and half its width
const BACK = 9; // px that an edge against the direction lies beside one along it

/**
 * The line and the head of an edge. It leaves a node in the middle of the side towards the next rank and enters one in the middle of the side that faces it, and
 * crosses the ranks between where dagre has made room for it.
 */
function drawn(e, from, to, down) {
  const along = down ? "y" : "x", across = down ? "x" : "y", size = down ? "height" : "width";
  const way = from[along] <= to[along] ? 1 : -1, beside = way < 0 ? BACK : 0;
  const at = (p, side) => [p[along] + (side * way * p[size]) / 2, p[across] + beside];
  const xy = ([a, c]) => (down ? `${c},${a}` : `${a},${c}`);
  const between = e.points.filter((_, i) => i % 2 === 0).slice(1, -1).map((p) => ({ ...p, [size]: from[size] })); // every other point is for a label
  const end = at(to, -1), neck = [end[0] - HEAD * way, end[1]];
  let last = at(from, 1), line = `M${xy(last)}`;
  for (const p of [...between, null]) {
    const next = p ? at(p, -1) : neck, mid = (last[0] + next[0]) / 2;
    line += `C${xy([mid, last[1]])} ${xy([mid, next[1]])} ${xy(next)}`;
    if (p) line += `L${xy((last = at(p, 1)))}`;
  }
  return { line, head: `M${xy(end)}L${xy([neck[0], neck[1] - HALF])}L${xy([neck[0], neck[1] + HALF])}z` };
}

/** @param {{nodes: object[], edges: object[], load: Map<string, object>, selected: string, onPick: (name: string) => void, narrow: boolean}} o */
export function Graph({ nodes, edges, load, selected, onPick, narrow }) {
  const [hover, setHover] = useState("");
  const box = useRef(null);
  const laid = useMemo(() => (nodes.length <= DRAWN_MOST ? place(nodes, edges, narrow) : null), [nodes, edges, narrow]);
  useLayoutEffect(() => { // what is wider than its place begins in the middle of what matters
    const el = box.current, about = laid?.nodes.find((n) => n.name === selected) ?? laid?.nodes.find((n) => n.main);
    const scale = el && laid ? el.firstElementChild.clientWidth / laid.width : 1;
    if (about) el.scrollTo(about.x * scale - el.clientWidth / 2, about.y * scale - el.clientHeight / 2);
  }, [laid]);
  if (!laid) return html`<p class="card quiet">${f.number(nodes.length)} nodes are too many for a picture; the table below has them all.</p>`;
  const lit = hover || selected;
  const near = (e) => lit && (e.edge.from === lit || e.edge.to === lit);
  const touched = new Set(laid.edges.filter(near).flatMap((e) => [e.edge.from, e.edge.to]));
  return html`<figure class="graph card"><div class="graph-box" ref=${box} tabindex="0" role="group" aria-label="Topology; the table below says the same">
    <svg viewBox="0 0 ${laid.width} ${laid.height}" style=${{ width: "100%", maxWidth: laid.width + "px", minWidth: laid.width * SCALE_LEAST + "px" }} role="img" aria-label="Who asks whom" data-lit=${lit ? "" : undefined}>
      <g transform="translate(${laid.shift},0)">${laid.edges.map((e) => html`<g class="edge" data-near=${near(e) ? "" : undefined} data-may=${/^(may|has)|topic/.test(e.edge.does) ? "" : undefined}><path class="line" d=${e.line} /><path class="head" d=${e.head} /><title>${`${e.edge.from} ${e.edge.does} ${e.edge.to}`}</title></g>`)}</g>
      ${laid.nodes.map((n) => {
        const l = load.get(n.name);
        const now = l ? [["busy", l.running, "at work"], ["wait", l.waiting, "waiting"], ["wait", l.asked, "asked"], ["bad", l.errors, "failed"]].filter(([, count]) => count > 0) : [];
        return html`<g class="node" key=${n.name} data-what=${n.kind === "human" ? "human" : n.what} data-main=${n.main ? "" : undefined} data-selected=${n.name === selected ? "" : undefined} data-near=${touched.has(n.name) ? "" : undefined} data-busy=${l?.running ? "" : undefined}
            transform="translate(${n.x - n.width / 2},${n.y - n.height / 2})" onClick=${() => onPick(n.name)} onPointerEnter=${() => setHover(n.name)} onPointerLeave=${() => setHover("")}>
          <rect width=${n.width} height=${n.height} rx="9" />
          <svg x="11" y="15" width="16" height="16" viewBox="0 0 20 20" class="icon"><${Paths} name=${iconOf(n)} /></svg>
          <text x="34" y=${now.length ? 20 : 28}>${short(LABEL(n), n.width - 44)}</text>
          ${now.length > 0 && html`<text class="load" x="34" y="36">${now.map(([tone, count, word], i) => html`<tspan data-tone=${tone} dx=${i ? 6 : 0}>${f.short(count)}${now.length < 2 ? " " + word : ""}</tspan>`)}</text>`}
          <title>${[LABEL(n), ...now.map(([, count, word]) => `${f.number(count)} ${word}`)].join(", ")}</title>
        </g>`;
      })}
    </svg></div>
    <figcaption class="legend"><span><i class="line"></i>asks, uses</span><span><i class="line dashed"></i>may</span><span><i class="dot busy"></i>at work</span><span><i class="dot wait"></i>waiting</span><span><i class="dot bad"></i>failed lately</span></figcaption>
  </figure>`;
}

const Paths = ({ name }) => Icon({ name }).props.children;
const short = (text, width) => { const n = Math.floor(width / CHAR); return text.length > n ? text.slice(0, n - 1) + "…" : text; };
