// The parts that screens are made of. Whatever came from an agent goes through text nodes only.
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { now, questions } from "./live.js";
import { href } from "./router.js";
import * as f from "./format.js";
import { Exact } from "./api.js";

const PATHS = {
  overview: "M3 3h6v7H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 12h6v5H3z",
  runs: "M3 5h14M3 10h9M3 15h12",
  approvals: "M4 10.5l4 4 8-9",
  orgs: "M10 3v4M10 10v0M10 7H5v4M10 7h5v4M3 11h4v4H3zM13 11h4v4h-4zM8 3h4v3H8z",
  start: "M6 4l10 6-10 6z",
  running: "M10 3a7 7 0 1 0 7 7",
  waiting: "M6 3h8M6 17h8M7 3c0 5 6 5 6 7s-6 2-6 7M13 3c0 5-6 5-6 7s6 2 6 7",
  completed: "M4 10.5l4 4 8-9",
  done: "M4 10.5l4 4 8-9",
  exhausted: "M10 3v9M10 16v.5",
  failed: "M5 5l10 10M15 5L5 15",
  refused: "M5 5l10 10M15 5L5 15",
  cancelled: "M4 10h12",
  stopped: "M5 5h10v10H5z",
  unknown: "M7 7.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M10 16v.5",
  paused: "M7 4v12M13 4v12",
  copy: "M7 7h9v10H7zM4 13V3h9",
  more: "M5 10h.1M10 10h.1M15 10h.1",
  down: "M5 8l5 5 5-5",
  right: "M8 5l5 5-5 5",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M13 13l4 4",
  theme: "M16.500 11.500A7 7 0 1 1 8.500 3.500a5.500 5.500 0 0 0 8 8z",
  help: "M7 7.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M10 16v.5",
  close: "M5 5l10 10M15 5L5 15",
  ask: "M4 5h12v8H9l-4 3v-3H4z",
  model: "M10 3l1.8 5.2L17 10l-5.2 1.8L10 17l-1.8-5.2L3 10l5.2-1.8z",
  tool: "M12 4a4 4 0 0 0-4 5.5L3.5 14 6 16.5 10.5 12A4 4 0 0 0 16 8l-2.5 2L11.5 8.500z",
  question: "M10 4a3 3 0 1 0 0 6 3 3 0 0 0 0-6M4 17c0-4 3-5 6-5s6 1 6 5",
  timer: "M10 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M10 7v4l2.5 1.500M8 2h4",
  await: "M4 6h9M4 10h6M4 14h9M14 8l2.5 2-2.5 2",
  run: "M6 4l10 6-10 6z",
  cost: "M10 3v14M13.500 6.500c-.6-1-1.800-1.500-3.500-1.500-2 0-3.300.9-3.300 2.400 0 3.400 7 1.600 7 5.200 0 1.500-1.500 2.400-3.700 2.400-1.800 0-3.200-.6-3.800-1.800",
  log: "M5 3h7l3 3v11H5zM8 9h4M8 12.500h4",
  signalled: "M4 5h12v8H9l-4 3v-3H4z",
};

/** A small drawing that says nothing which text beside it does not. */
export const Icon = ({ name, size = 16 }) => html`<svg class="icon icon-${name}" width=${size} height=${size} viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name] ?? PATHS.unknown} /></svg>`;

/** Whether somebody is asked something by a run or one below it. */
const asks = (id) => (questions.value ?? []).some((q) => q.run === id || q.run.startsWith(id + "/"));

/** The word that says most about where a run stands. */
export const standing = (run) => (run.status !== "running" ? run.status : run.paused ? "paused" : run.parked || run.waiting?.length || asks(run.id) ? "waiting" : "running");

/** What a run waits for or has met, in a few words. */
export const matter = (run) => (run.fault ? f.visible(run.fault.text ?? run.fault.kind).replace(/:\s*$/, "") : run.waiting?.length ? `waits for ${f.visible(run.waiting[0].for)}` : run.status === "running" && asks(run.id) ? "waits for a person" : "");

export const Status = ({ status }) => html`<span class="status" data-status=${status}><${Icon} name=${status} size=${13} />${status}</span>`;

/** A moment, as long ago as it is, with all of it on hover. */
export function Ago({ at }) {
  if (!at) return html`<span class="quiet">–</span>`;
  return html`<time datetime=${at} title=${f.when(at)}>${f.relative(now.value - Date.parse(at))}</time>`;
}

/** How long something took, or has taken until now. */
export const Took = ({ from, to }) => html`<span class="number">${from ? f.span((to ? Date.parse(to) : now.value) - Date.parse(from)) : "–"}</span>`;

const said = signal("");
const TOAST_MS = 4000;
let toastTimer;

/** Tells what was done, to those who listen too. */
export function say(text) {
  said.value = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { said.value = ""; }, TOAST_MS);
}

export const Toast = () => html`<div class="toast" role="status" aria-live="polite">${said.value && html`<p>${said.value}</p>`}</div>`;

export async function copy(text, what = "It") {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} is copied.`);
  } catch {
    say("This browser does not let a page copy here.");
  }
}

export const CopyButton = ({ text, label }) => html`<button type="button" class="bare" title="Copy ${label}" aria-label="Copy ${label}" onClick=${(e) => { e.stopPropagation(); copy(text, label[0].toUpperCase() + label.slice(1)); }}><${Icon} name="copy" size=${14} /></button>`;

/** A button with a list of things to do. items are {label, detail?, run, danger?}. */
export function Menu({ label, items, icon = "down", plain = false }) {
  const [open, setOpen] = useState(false);
  const root = useRef(null);
  useLayoutEffect(() => {
    if (!open) return undefined;
    const list = root.current.querySelector("[role=menu]"), at = root.current.getBoundingClientRect();
    list.dataset.side = at.left + list.offsetWidth > innerWidth - 8 ? "right" : "left"; // it stays on the page
    list.querySelector("[role=menuitem]")?.focus({ preventScroll: true });
    const away = (e) => { if (!root.current.contains(e.target)) setOpen(false); };
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  const leave = () => { setOpen(false); root.current.querySelector("button").focus(); };
  const key = (e) => {
    if (!open) return;
    const all = [...root.current.querySelectorAll("[role=menuitem]")];
    const i = all.indexOf(document.activeElement);
    if (e.key === "Escape") leave();
    else if (e.key === "ArrowDown") all[(i + 1) % all.length].focus();
    else if (e.key === "ArrowUp") all[(i + all.length - 1) % all.length].focus();
    else if (e.key === "Tab") { setOpen(false); return; }
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  return html`<div class="menu" ref=${root} onKeyDown=${key}>
    <button type="button" class=${plain ? "bare" : ""} aria-haspopup="menu" aria-expanded=${open} onClick=${() => setOpen(!open)}>${label}<${Icon} name=${icon} size=${13} /></button>
    ${open && html`<div class="menu-list" role="menu">${items.map((item) => html`
      <button type="button" role="menuitem" tabindex="-1" class=${item.danger ? "danger" : ""} onClick=${() => { leave(); item.run(); }}>
        <span>${item.label}</span>${item.detail && html`<small>${item.detail}</small>`}
      </button>`)}</div>`}
  </div>`;
}

/** What stands here, as a command or a request for a shell. */
export function CopyAs({ cli, path, body, method, accept }) {
  const items = [];
  if (cli) items.push({ label: "as a command", detail: cli, run: () => copy(cli, "The command") });
  if (path) {
    const text = f.curl(path, { body, method, accept });
    items.push({ label: "with curl", detail: text, run: () => copy(text, "The request") });
  }
  items.push({ label: "as a link", detail: location.pathname + location.search, run: () => copy(location.href, "The link") });
  return html`<${Menu} label="Copy" items=${items} />`;
}

/** A dialog of the browser, which keeps the focus inside and gives it back. */
export function Dialog({ title, onClose, children, wide = false, bare = false }) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const d = ref.current;
    d.showModal();
    return () => d.close();
  }, []);
  return html`<dialog ref=${ref} class=${wide ? "wide" : ""} aria-label=${title} onCancel=${(e) => { e.preventDefault(); onClose(); }}
      onPointerDown=${(e) => { if (e.target === ref.current) onClose(); }}>
    ${bare ? children : html`<header><h2>${title}</h2><button type="button" class="bare" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <div class="dialog-body">${children}</div>`}
  </dialog>`;
}

export const Empty = ({ title, icon = "runs", children }) => html`<div class="empty"><${Icon} name=${icon} size=${20} /><strong>${title}</strong>${children && html`<p>${children}</p>`}</div>`;

const TROUBLES = { offline: "The node does not answer.", denied: "You may not do this." };

export const Trouble = ({ problem, again }) => html`<div class="trouble" role="alert"><${Icon} name="exhausted" />
  <div><strong>${TROUBLES[problem.kind] ?? "This did not work."}</strong>
  <p>${problem.kind === "offline" ? "The page tries again by itself." : f.visible(problem.message)}</p>${problem.hint && html`<p>${f.visible(problem.hint)}</p>`}</div>
  ${again && html`<button type="button" onClick=${again}>Try again</button>`}
</div>`;

export const Skeleton = ({ rows = 6 }) => html`<div class="skeleton" aria-hidden="true">${Array.from({ length: rows }, () => html`<i></i>`)}</div><p class="unseen" role="status">Loading</p>`;

/** Asks for something and asks again whenever it is told to; what was there stays until the answer. */
export function useAsk(ask, deps) {
  const [state, setState] = useState({ data: null, problem: null });
  const current = useRef(null);
  const again = useRef(null);
  again.current = async () => {
    current.current?.abort();
    const abort = (current.current = new AbortController());
    try {
      const data = await ask(abort.signal);
      if (!abort.signal.aborted) setState({ data, problem: null });
    } catch (problem) {
      if (!abort.signal.aborted) setState((old) => ({ data: old.data, problem }));
    }
  };
  useEffect(() => {
    setState({ data: null, problem: null });
    again.current();
    return () => current.current?.abort();
  }, deps);
  return [state, () => again.current()];
}

const SCROLL_MOST = 30_000_000; // px: browsers lay out no higher element

/**
 * A list of which only what is seen is drawn, however long it is.
 * @param {{count: number, height: number, row: (i: number) => any, label: string, onRange?: (first: number, last: number) => void, focus?: number, head?: any, tall?: boolean}} o
 */
export function Rows({ count, height, row, label, onRange, focus = -1, head = null, tall = false }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, seen: 600 });
  const total = count * height;
  const laid = Math.min(total, SCROLL_MOST);
  const scale = laid > view.seen ? Math.max(1, (total - view.seen) / (laid - view.seen)) : 1;
  const measure = () => {
    const el = box.current;
    if (el) setView((v) => (v.top === el.scrollTop && v.seen === el.clientHeight ? v : { top: el.scrollTop, seen: el.clientHeight }));
  };
  useLayoutEffect(() => {
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    const el = box.current;
    if (focus < 0 || !el) return;
    const above = focus * height, below = above + height - (el.clientHeight - (head ? 34 : 0)), at = el.scrollTop * scale;
    if (above < at) el.scrollTop = above / scale;
    else if (below > at) el.scrollTop = below / scale;
  }, [focus]);
  const at = view.top * scale;
  const first = Math.max(0, Math.floor(at / height) - 8);
  const last = Math.min(count, Math.ceil((at + view.seen) / height) + 8);
  useEffect(() => { onRange?.(first, last); }, [first, last, count]);
  const drawn = [];
  for (let i = first; i < last; i++) drawn.push(row(i));
  return html`<div class="rows ${tall ? "tall" : ""}" ref=${box} onScroll=${measure} role="table" aria-label=${label} aria-rowcount=${count} tabindex="0">
    ${head && html`<div role="rowgroup" class="rows-head">${head}</div>`}
    <div role="rowgroup" class="rows-all" style=${{ height: laid + "px" }}><div role="presentation" style=${{ transform: `translateY(${first * height - (at - view.top)}px)` }}>${drawn}</div></div>
  </div>`;
}

const DEPTH_MOST = 12, FIELDS_MOST = 200;

/** A value of JSON as fields and values. Text is shown as it is, whatever stands in it. */
export function Value({ value, depth = 0 }) {
  if (value instanceof Exact) return html`<span class="number">${value.source}</span>`;
  if (value === null || value === undefined) return html`<em class="quiet">nothing</em>`;
  if (typeof value === "boolean") return html`<span class="number">${value ? "yes" : "no"}</span>`;
  if (typeof value === "number") return html`<span class="number">${String(value)}</span>`;
  if (typeof value === "string") return value === "" ? html`<em class="quiet">empty text</em>` : html`<span class="text">${f.visible(value)}</span>`;
  if (depth > DEPTH_MOST) return html`<code>${f.visible(JSON.stringify(value))}</code>`;
  const all = Object.entries(value);
  if (!all.length) return html`<em class="quiet">${Array.isArray(value) ? "empty list" : "no fields"}</em>`;
  const rest = all.length - FIELDS_MOST;
  return html`<dl class="value ${Array.isArray(value) ? "list" : ""}">${all.slice(0, FIELDS_MOST).map(([k, v]) => html`<div><dt>${Array.isArray(value) ? Number(k) + 1 : f.visible(k)}</dt><dd><${Value} value=${v} depth=${depth + 1} /></dd></div>`)}
    ${rest > 0 && html`<div><dt>…</dt><dd>${f.number(rest)} more; see the raw events</dd></div>`}</dl>`;
}

export const RunLink = ({ id, children }) => html`<a href=${href("runs", id)}>${children ?? html`<code>${id}</code>`}</a>`;

export function Tabs({ tabs, current, onPick, label }) {
  const key = (e) => {
    const i = tabs.findIndex((t) => t.id === current);
    const to = e.key === "ArrowRight" ? i + 1 : e.key === "ArrowLeft" ? i - 1 : NaN;
    if (Number.isNaN(to)) return;
    e.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    onPick(next.id);
    e.currentTarget.querySelector(`[data-tab=${next.id}]`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} onKeyDown=${key}>${tabs.map((t) => html`
    <button type="button" role="tab" id="tab-${t.id}" data-tab=${t.id} aria-selected=${t.id === current} aria-controls="panel" tabindex=${t.id === current ? 0 : -1} onClick=${() => onPick(t.id)}>${t.label}${t.count !== undefined && html` <span class="count">${t.count}</span>`}</button>`)}</div>`;
}

/** A part of a bound that was used. */
export function Meter({ used, most, text }) {
  const part = most ? Math.min(1, used / most) : 0;
  return html`<span class="meter" data-level=${part > 0.9 ? "high" : part > 0.7 ? "mid" : "low"}><span>${text}</span>${most > 0 && html`<i aria-hidden="true"><b style=${{ width: `${Math.max(part * 100, used ? 2 : 0)}%` }}></b></i>`}</span>`;
}

export const Page = ({ title, note, actions, children }) => html`<div class="screen">
  <header class="screen-head"><h1 tabindex="-1">${title}</h1>${actions && html`<div class="actions">${actions}</div>`}${note && html`<div class="note">${note}</div>`}</header>
  ${children}
</div>`;
