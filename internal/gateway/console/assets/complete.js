// Completes filters while they are written: fields, what may stand behind them, and values.
import { html, useEffect, useRef, useState } from "./html.js";
import { get } from "./api.js";
import { Icon } from "./ui.js";
import { fields } from "./filter.js";
import { visible } from "./format.js";

const SHOWN_MOST = 10;
const OPERATORS = ["!=", ">=", "<=", ":", "=", ">", "<"]; // the longer ones first
const IS = [[":", "is"], ["!=", "is not"]];
const COMPARED = [[">", "more than"], [">=", "at least"], ["<", "less than"], ["<=", "at most"], [":", "exactly"], ["!=", "not"]];
const TIMES = [[">", "after"], ["<", "before"], [":", "in"]];
const ORDERED = { moment: TIMES, span: COMPARED, money: COMPARED, number: COMPARED };
const USUAL = {
  moment: [["-1h", "an hour ago"], ["-24h", "a day ago"], ["-7d", "a week ago"]],
  span: [["1s", ""], ["30s", ""], ["5m", ""], ["1h", ""]],
  money: [["0.01", "a cent"], ["0.5", "half a dollar"], ["1", "a dollar"]],
  number: [["100", ""], ["10k", ""], ["1M", ""]],
};
const WAITED = [["signal", "any signal"], ["topic", "an event"], ["time", "a time"], ["an answer", "of a person"]];

let asked;

/** What fields of text can be, as far as the node's organizations say: {agent: [[value, about]], ...}. */
function known() {
  asked ??= get("/v1/agents").then(({ items }) => {
    const of = (list) => [...new Map(list.filter(([v]) => v)).entries()].sort();
    const agents = of(items.map((a) => [a.name, a.description ?? ""]));
    return {
      agent: agents, team: agents, with: agents, waiting: WAITED,
      org: of(items.map((a) => [a.org, ""])), model: of(items.map((a) => [a.model, ""])), skill: of(items.flatMap((a) => a.skills.map((s) => [s, a.name]))),
    };
  }, () => { asked = undefined; return { waiting: WAITED }; });
  return asked;
}

/** Where the term begins in which the caret stands: quotes hold spaces together. */
function termAt(text, caret) {
  let start = 0, quoted = false;
  for (let i = 0; i < caret; i++) {
    if (text[i] === '"') quoted = !quoted;
    else if (text[i] === " " && !quoted) start = i + 1;
  }
  return text[start] === "-" ? start + 1 : start;
}

const operatorIn = (term) => {
  const at = term.search(/[:=!<>]/);
  return at < 1 ? null : OPERATORS.filter((o) => term.startsWith(o, at)).map((o) => ({ at, operator: o }))[0] ?? null;
};

const quoted = (v) => (/[\s",]/.test(v) ? `"${v}"` : v);

/**
 * What may stand where the caret is: [{text, about, from, to, more}], of which text takes the place from from to to; more says that a term is not whole with it.
 * @param {string} text @param {number} caret @param {{name: string, kind: string, choices?: string[], doc: string}[]} all @param {Object<string, [string, string][]>} values
 */
export function suggest(text, caret, all, values) {
  const start = termAt(text, caret), term = text.slice(start, caret);
  const end = caret + text.slice(caret).search(/\s|$/);
  const found = operatorIn(term);
  if (!found) {
    const exact = all.find((x) => x.name === term);
    const operators = exact ? (ORDERED[exact.kind] ?? IS).map(([o, about]) => ({ text: term + o, about, from: start, to: end, more: true })) : [];
    return [...operators, ...all.filter((x) => x !== exact && x.name.startsWith(term)).map((x) => ({ text: x.name + (ORDERED[x.kind] ? "" : ":"), about: x.doc, from: start, to: end, more: true }))];
  }
  const field = all.find((x) => x.name === term.slice(0, found.at));
  if (!field) return [];
  const written = term.slice(found.at + found.operator.length).split(",");
  const part = written.at(-1).replace(/^"/, ""), from = caret - written.at(-1).length;
  const list = field.choices?.map((c) => [c, ""]) ?? values[field.name] ?? USUAL[field.kind] ?? [];
  return list.filter(([v]) => v.toLowerCase().startsWith(part.toLowerCase()) && v !== part && !written.slice(0, -1).includes(v)).map(([v, about]) => ({ text: quoted(v), about, from, to: end, more: false }));
}

/** Whether a filter ends in the middle of a term, and need not be asked yet. */
export const unfinished = (text) => /[:=!<>,]$/.test(text) || (text.match(/"/g)?.length ?? 0) % 2 === 1;

/**
 * The field for a filter: a combobox with a list that is opened by writing, or by the arrow down.
 * @param {{field: object, text: string, wrong: boolean, describedBy?: string, onType: (text: string) => void, onAsk: (text: string) => void}} o
 */
export function FilterField({ field, text, wrong, describedBy, onType, onAsk }) {
  const [all, setAll] = useState([]);
  const [values, setValues] = useState({});
  const [open, setOpen] = useState(false);
  const [place, setPlace] = useState(-1);
  const list = useRef(null);
  const begin = () => { fields().then(setAll); known().then(setValues); };
  const caret = field.current?.selectionStart ?? text.length;
  const shown = open ? suggest(text, caret, all, values).slice(0, SHOWN_MOST) : [];
  const at = Math.min(place, shown.length - 1);
  useEffect(() => { list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [at]);
  const close = () => { setOpen(false); setPlace(-1); };
  const pick = (s) => {
    const rest = text.slice(s.to).trimStart();
    const next = text.slice(0, s.from) + s.text + (s.more ? "" : " ");
    const input = field.current;
    input.value = next + rest; // the caret can be set only where there is text
    input.setSelectionRange(next.length, next.length);
    input.focus();
    setPlace(-1);
    setOpen(s.more);
    if (s.more) onType(input.value);
    else onAsk(input.value);
  };
  const key = (e) => {
    const move = (to) => { e.preventDefault(); setPlace(to); };
    if (e.key === "ArrowDown" && !open) { e.preventDefault(); setOpen(true); setPlace(0); }
    else if (e.key === "ArrowDown" && shown.length) move((at + 1) % shown.length);
    else if (e.key === "ArrowUp" && shown.length) move(at <= 0 ? shown.length - 1 : at - 1);
    else if ((e.key === "Enter" || e.key === "Tab") && shown[at]) { e.preventDefault(); pick(shown[at]); }
    else if (e.key === "Enter") { close(); onAsk(e.target.value); }
    else if (e.key === "Escape" && shown.length) { e.preventDefault(); close(); }
    else if (e.key === "Escape") e.target.blur();
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight" || e.key === "Home" || e.key === "End") close(); // the caret stands elsewhere
  };
  return html`<div class="search"><${Icon} name="search" />
    <input ref=${field} type="search" role="combobox" aria-label="Filter" aria-expanded=${shown.length > 0} aria-controls="suggestions" aria-autocomplete="list" aria-activedescendant=${shown[at] ? `suggestion-${at}` : undefined}
      placeholder="status:failed started>-24h" autocomplete="off" autocapitalize="off" spellcheck=${false} aria-describedby=${describedBy} aria-invalid=${wrong} value=${text}
      onFocus=${begin} onBlur=${close} onKeyDown=${key} onInput=${(e) => { setOpen(true); setPlace(-1); onType(e.target.value); }} />
    <kbd class="wide-only">/</kbd>
    <ul id="suggestions" class="suggestions" role="listbox" aria-label="Suggestions" ref=${list} hidden=${!shown.length} onPointerDown=${(e) => e.preventDefault()}>${shown.map((s, i) => html`
      <li id="suggestion-${i}" key=${s.text} role="option" aria-selected=${i === at} onClick=${() => pick(s)} onPointerMove=${() => setPlace(i)}><code>${visible(s.text)}</code><span>${visible(s.about)}</span></li>`)}</ul>
  </div>`;
}
