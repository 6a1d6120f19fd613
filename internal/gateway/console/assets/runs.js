// The list of runs: all that fit a filter, the newest first, however many.
import { html, useEffect, useMemo, useRef, useState } from "./html.js";
import { get, withQuery } from "./api.js";
import { onChange, throttled } from "./live.js";
import { go, href, route, setQuery } from "./router.js";
import { useKeys } from "./keys.js";
import { Ago, CopyAs, Empty, Icon, Page, Rows, Skeleton, Status, Took, Trouble, matter, standing } from "./ui.js";
import { EXAMPLES, VIEWS, fields, withTerm } from "./filter.js";
import { FilterField, unfinished } from "./complete.js";
import * as f from "./format.js";

const PAGE = 100; // runs of one request
const KEPT = 40; // pages that are held; what lies further away is asked for again
const TYPING_MS = 350;
const NARROW = matchMedia("(max-width: 700px)");

/** A list in pages that is read from the front, of which a window is held. */
class Pages {
  constructor(q, changed) {
    Object.assign(this, { q, changed, pages: [], asked: new Set(), ended: false, problem: null, fresh: 0, abort: new AbortController() });
    this.load(0);
  }

  get count() { return this.pages.reduce((n, p) => n + p.size, 0); }

  stop() { this.abort.abort(); }

  ask(after, limit = PAGE) { return get("/v1/runs", { query: { q: this.q, limit, after }, signal: this.abort.signal }); }

  async load(i) {
    if (this.asked.has(i)) return;
    this.asked.add(i);
    try {
      const before = this.pages[i]; // it was let go: the page behind it begins where this one ended, however short it was
      const after = i === 0 ? "" : this.pages[i - 1].next;
      if (before) before.items = await this.again(after, before.size);
      else {
        const found = await this.ask(after);
        const items = found.items ?? [];
        this.pages[i] = { items, size: items.length, next: found.next ?? "" };
        if (!found.next) this.ended = true;
      }
      this.problem = null;
    } catch (e) {
      if (e.name === "AbortError") return;
      this.problem = e;
    } finally { this.asked.delete(i); }
    this.changed();
  }

  /** Asks for as many rows as there were: a page may come short, and full the next time. */
  async again(after, size) {
    const items = [];
    while (items.length < size) {
      const found = await this.ask(after, size - items.length);
      items.push(...(found.items ?? []));
      if (!(after = found.next)) break;
    }
    return items;
  }

  /** Where a row lies, if its page is known. */
  find(row) {
    for (let i = 0; i < this.pages.length; i++) {
      if (row < this.pages[i].size) return [i, row];
      row -= this.pages[i].size;
    }
    return null;
  }

  at(row) {
    const found = this.find(row);
    return found && this.pages[found[0]].items?.[found[1]];
  }

  /** Loads what is about to be seen and lets go what is far away. */
  show(first, last) {
    const from = this.find(first)?.[0] ?? 0;
    const to = this.find(Math.max(0, last - 1))?.[0] ?? this.pages.length - 1;
    for (let i = from; i <= to; i++) if (this.pages[i] && !this.pages[i].items) this.load(i);
    if (!this.ended && this.pages.length && last >= this.count - PAGE / 2) this.load(this.pages.length);
    const far = this.pages.length > KEPT ? KEPT / 2 : Infinity;
    this.pages.forEach((p, i) => { if (i > 0 && (i < from - far || i > to + far)) p.items = null; }); // the first says what is new
  }

  /** Takes in what is new at the front, and what changed among the runs that it shows there. Gives how many rows came before the others. */
  async refresh() {
    let found;
    try { found = await this.ask(""); } catch (e) {
      if (e.name !== "AbortError") { this.problem = e; this.changed(); }
      return 0;
    }
    const items = found.items ?? [];
    const head = this.pages[0];
    this.problem = null;
    const old = head?.items?.[0] && items.findIndex((r) => r.id === head.items[0].id);
    if (!head?.items?.length || old < 0 || old === undefined) { // too much is new, or all of it: begin again
      this.pages = [{ items, size: items.length, next: found.next ?? "" }];
      this.ended = !found.next;
      this.changed();
      return 0;
    }
    const byId = new Map(items.map((r) => [r.id, r]));
    const kept = head.items.map((r) => byId.get(r.id) ?? r).filter((r, i) => byId.has(r.id) || i + old >= items.length);
    head.items = [...items.slice(0, old), ...kept];
    head.size = head.items.length;
    this.changed();
    return old;
  }

  /** Takes in how single runs stand that lie further down. */
  async update(ids) {
    await Promise.all(ids.map(async (id) => {
      try {
        const run = await get("/v1/runs/" + encodeURIComponent(id), { signal: this.abort.signal });
        for (const p of this.pages) {
          const i = p.items?.findIndex((r) => r.id === id) ?? -1;
          if (i >= 0) p.items[i] = { ...p.items[i], ...run };
        }
      } catch { /* the next change asks again */ }
    }));
    this.changed();
  }
}

function Help({ q, onPick }) {
  const [known, setKnown] = useState([]);
  useEffect(() => { fields().then(setKnown); }, []);
  return html`<div class="card help" id="filter-help">
    <div><h2>How to ask</h2>
      <p>Terms that all have to hold: a field, an operator and a value. Commas make alternatives, <code>-</code> before a term turns it around, <code>*</code> at the end stands for any rest. Words and <code>"phrases"</code> are looked for in inputs, outputs and faults.</p>
      <table class="plain examples"><caption class="unseen">Examples of filters</caption><thead class="unseen"><tr><th scope="col">Filter</th><th scope="col">Finds</th></tr></thead><tbody>${EXAMPLES.map(([text, doc]) => html`<tr><td><button type="button" class="code" onClick=${() => onPick(text)}>${text}</button></td><td>${doc}</td></tr>`)}</tbody></table>
      <p class="quiet">Operators: <code>${": = != > >= < <="}</code>. Times: <code>-1h</code>, <code>2026-11-25</code>. Spans: <code>90s</code>, <code>2d</code>. Numbers: <code>10k</code>.</p></div>
    <div><h2>Fields</h2><dl class="fields" tabindex="0">${known.map((x) => html`<div key=${x.name}><dt><button type="button" class="code" onClick=${() => onPick(withTerm(q, x.name + (x.choices ? ":" : x.kind === "text" ? ":" : ">")), true)}>${x.name}</button></dt><dd>${x.doc}${x.choices && html`: <code>${x.choices.join(" ")}</code>`}</dd></div>`)}</dl></div>
  </div>`;
}

export default function Runs() {
  const q = route.value.query.q ?? "";
  const help = route.value.query.help === "1";
  const focus = Number(route.value.query.row ?? -1);
  const [text, setText] = useState(q);
  const [, redraw] = useState(0);
  const [narrow, setNarrow] = useState(NARROW.matches);
  const field = useRef(null);
  const typing = useRef(null);
  const own = useRef(q); // what was asked for from the field
  const seen = useRef([0, 0]);
  const list = useMemo(() => new Pages(q, () => redraw((n) => n + 1)), [q]);
  useEffect(() => () => list.stop(), [list]);
  useEffect(() => { if (q !== own.current) setText(own.current = q); }, [q]); // what is being written stays as it is
  useEffect(() => {
    const f = () => setNarrow(NARROW.matches);
    NARROW.addEventListener("change", f);
    return () => NARROW.removeEventListener("change", f);
  }, []);

  useEffect(() => {
    const changed = new Set();
    const soon = throttled(async () => {
      const ids = [...changed];
      changed.clear();
      const came = await list.refresh();
      const box = document.querySelector(".rows");
      if (came && box && box.scrollTop > 0) box.scrollTop += came * (narrow ? 64 : 40);
      const [first, last] = seen.current;
      const further = [];
      for (let i = Math.max(first, PAGE); i < last; i++) if (ids.includes(list.at(i)?.id)) further.push(list.at(i).id);
      if (further.length) await list.update(further);
    }, 400);
    const leave = onChange((change) => { if (change?.run) changed.add(change.run.split("/")[0]); soon(); });
    return () => { leave(); soon.stop(); };
  }, [list, narrow]);

  const search = (next) => { own.current = next.trim(); setQuery({ q: own.current, row: undefined }); };
  const ask = (next) => { clearTimeout(typing.current); setText(next); search(next); };
  const type = (next) => {
    setText(next);
    clearTimeout(typing.current);
    if (!unfinished(next)) typing.current = setTimeout(() => search(next), TYPING_MS);
  };
  const move = (by) => setQuery({ row: Math.min(Math.max(0, focus + by), Math.max(0, list.count - 1)) });
  useKeys({
    "/": { does: "Write a filter", run: () => field.current.focus() },
    j: { does: "Next run", run: () => move(1) },
    k: { does: "Previous run", run: () => move(-1) },
    Enter: { does: "Open the run", run: () => { const r = list.at(focus); if (r) go(href("runs", r.id)); } },
    h: { does: "How to write filters", run: () => setQuery({ help: help ? undefined : 1 }) },
  });

  const row = (i) => {
    const r = list.at(i);
    const place = { role: "row", key: i, "aria-rowindex": i + 1, "data-focus": i === focus ? "" : undefined };
    if (!r) return html`<div class="run-row waiting" ...${place}><span role="cell"><i class="bone"></i></span></div>`;
    return html`<div class="run-row" ...${place} onClick=${(e) => { if (!e.target.closest("a, button")) go(href("runs", r.id)); }}>
      <span role="cell" class="c-status"><${Status} status=${standing(r)} /></span>
      <span role="cell" class="c-agent"><a href=${href("runs", r.id)}>${f.visible(r.agent)}</a>${r.skill && r.skill !== r.agent && html`<small>${f.visible(r.skill)}</small>`}</span>
      <span role="cell" class="c-id"><code title=${r.id}>${r.id.slice(0, 10)}</code></span>
      <span role="cell" class="c-note">${matter(r)}</span>
      <span role="cell" class="c-when"><${Ago} at=${r.opened} /></span>
      <span role="cell" class="c-took"><${Took} from=${r.opened} to=${r.ended} /></span>
      <span role="cell" class="c-tokens number">${f.short(f.tokens(r.usage))}</span>
      <span role="cell" class="c-cost number">${f.money(r.usage?.micro_usd)}</span>
    </div>`;
  };
  const head = html`<div role="row" class="run-row head">${[["c-status", "Status"], ["c-agent", "Agent"], ["c-id", "Run"], ["c-note", "Details"], ["c-when", "Started"], ["c-took", "Took"], ["c-tokens", "Tokens"], ["c-cost", "Cost"]].map(([c, t]) => html`<span role="columnheader" class=${c}>${t}</span>`)}</div>`;
  const known = list.count;
  const refused = list.problem?.status === 400 || list.problem?.status === 422;
  return html`<${Page} title="Runs" note=${html`${list.problem && !list.pages.length ? "" : list.pages.length ? `${f.number(known)} ${!list.ended ? "and more" : q ? "that fit" : "in all"}` : "…"}`}
      actions=${html`<${CopyAs} cli=${`polity runs list${q ? (q.startsWith("-") ? " -- " : " ") + f.quote(q) : ""}`} path=${withQuery("/v1/runs", { q, limit: PAGE })} /><a class="button primary" href=${href("start")}><${Icon} name="start" />Start a run</a>`}>
    <div class="filter">
      <${FilterField} field=${field} text=${text} wrong=${refused} describedBy=${help ? "filter-help" : undefined} onType=${type} onAsk=${ask} />
      <button type="button" aria-expanded=${help} onClick=${() => setQuery({ help: help ? undefined : 1 })}>${help ? "Hide help" : "Help"}</button>
      <div class="chips" role="group" aria-label="Views">${VIEWS.map(([name, view]) => html`<button type="button" class="chip" aria-pressed=${q === view} onClick=${() => ask(view)}>${name}</button>`)}</div>
    </div>
    ${help && html`<${Help} q=${text} onPick=${(next, more) => { if (more) { setText(next); field.current.focus(); } else ask(next); }} />`}
    ${list.problem && html`<${Trouble} problem=${list.problem} again=${refused ? undefined : () => list.load(list.pages.length)} />`}
    ${!list.pages.length ? !list.problem && html`<${Skeleton} rows=${10} />`
      : known === 0 ? html`<${Empty} title=${q ? "No run fits." : "Nothing has run yet."}>${q ? html`Change the filter, or <button type="button" class="link" onClick=${() => ask("")}>show all runs</button>.` : html`<a href=${href("start")}>Start a run</a>, or ask an organization from a terminal: <code>polity run FOLDER "a question"</code>.`}<//>`
      : html`<${Rows} key=${narrow} count=${known} height=${narrow ? 64 : 40} row=${row} label="Runs" focus=${focus} head=${!narrow && head} tall
          onRange=${(first, last) => { seen.current = [first, last]; list.show(first, last); }} />`}
  <//>`;
}
