// One run: what it did and waits for, who said what, how it ended, and what can be done with it.
import { html, useEffect, useMemo, useRef, useState } from "./html.js";
import { at, get, post } from "./api.js";
import { followRun, onChange, paused, questions, throttled } from "./live.js";
import { go, href, route, setQuery } from "./router.js";
import { useKeys } from "./keys.js";
import { Ago, CopyAs, CopyButton, Dialog, Empty, Icon, Menu, Meter, Page, Rows, RunLink, Skeleton, Status, Tabs, Took, Trouble, Value, say, standing, useAsk } from "./ui.js";
import { Timeline, laneOf } from "./timeline.js";
import * as f from "./format.js";

const STEPS_FIRST = 1_000, STEPS_PAGE = 10_000; // steps of one request: the first are drawn while the others come
const EVENTS_PAGE = 2_000;
const REFRESH_MS = 200;
const FINAL = new Set(["completed", "exhausted", "failed", "cancelled"]);
const BAD = new Set(["failed", "unknown", "exhausted"]);

const KINDS = [
  ["", "All", () => true],
  ["agents", "Agents", (s) => s.kind === "ask" || s.kind === "run"],
  ["models", "Models", (s) => s.kind === "model"],
  ["tools", "Tools", (s) => s.kind === "tool"],
  ["people", "People", (s) => s.kind === "question"],
  ["waits", "Waits", (s) => s.waits],
  ["problems", "Problems", (s) => BAD.has(s.status) || s.kind === "refused"],
];

function withTimes(s) {
  s.startMs = s.start ? Date.parse(s.start) : null;
  s.endMs = s.end ? Date.parse(s.end) : null;
  return s;
}

// A component is drawn again only if what it is given is another: what changes in place is handed down with its version.

/** The steps of a run: all that the log tells, and what is under way. What has ended is never asked for again. */
class Steps {
  constructor(id, changed) { Object.assign(this, { id, list: null, problem: null, whole: false, version: 0, abort: new AbortController() }); this.changed = () => { this.version++; changed(); }; }
  stop() { this.abort.abort(); }

  async load() {
    let kept = [];
    if (this.list && this.whole) {
      const settled = this.list.filter((s) => s.number > 0);
      const open = settled.findIndex((s) => !s.end && s.kind !== "run");
      kept = open < 0 ? settled : settled.slice(0, open);
    }
    let after = kept.length ? kept.at(-1).number : undefined;
    const list = [...kept];
    try {
      for (;;) {
        const found = await get(at("runs", this.id, "steps"), { query: { after, limit: list.length ? STEPS_PAGE : STEPS_FIRST }, signal: this.abort.signal });
        for (const s of found.items ?? []) list.push(withTimes(s));
        if (!this.whole) { this.list = [...list]; this.changed(); }
        if (!found.next) break;
        after = found.next;
      }
      this.list = list;
      this.whole = true;
      this.problem = null;
    } catch (e) {
      if (e.name === "AbortError") return;
      this.problem = e;
    }
    this.changed();
  }
}

/** Everything that the log tells of a run, in pages from the beginning on, so that nothing is missed. It asks for nothing before it is wanted. */
class Log {
  constructor(id, changed) { Object.assign(this, { id, events: [], results: new Map(), wanted: false, whole: false, problem: null, version: 0, abort: new AbortController() }); this.changed = () => { this.version++; changed(); }; }
  stop() { this.abort.abort(); }

  start() {
    if (this.wanted) return;
    this.wanted = true;
    this.load();
  }

  async load() {
    if (!this.wanted || this.busy) { this.again = this.busy; return; }
    this.busy = true;
    try {
      for (let next = this.events.at(-1)?.id; ; ) {
        const found = await get(at("runs", this.id, "events"), { query: { after: next, limit: EVENTS_PAGE, data: true }, signal: this.abort.signal });
        for (const e of found.items ?? []) this.take(e);
        this.changed();
        if (!found.next) break;
        next = found.next;
      }
      this.whole = true;
      this.problem = null;
    } catch (e) {
      if (e.name === "AbortError") return;
      this.problem = e;
    } finally { this.busy = false; }
    this.changed();
    if (this.again) { this.again = false; this.load(); }
  }

  take(e) {
    this.events.push(e);
    e.number = this.events.length; // as the command counts them
    if (e.kind === "result") this.results.set(e.effect?.key ?? `${e.run}#${e.name}`, e);
    if (e.kind === "finished") this.results.set(e.run, e);
    if (e.kind === "opened") this.results.set("in " + e.run, e);
  }
}

const what = (s) => (s.kind === "run" ? f.visible(s.skill || "the run") : f.visible(s.command ?? ""));

function Facts({ run }) {
  const b = run.bounds ?? {}, u = run.usage ?? {};
  const fact = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<dl class="facts">
    ${fact("Started", html`<${Ago} at=${run.opened} />`)}
    ${fact(run.ended ? "Took" : "For", html`<${Took} from=${run.opened} to=${run.ended} />`)}
    ${fact("Turns", html`<${Meter} used=${u.turns ?? 0} most=${b.turns} text=${`${f.number(u.turns)}${b.turns ? ` of ${f.number(b.turns)}` : ""}`} />`)}
    ${fact("Tokens", html`<${Meter} used=${f.tokens(u)} most=${b.tokens} text=${`${f.short(f.tokens(u))}${b.tokens ? ` of ${f.short(b.tokens)}` : ""}`} />`)}
    ${fact("Cost", html`<${Meter} used=${u.micro_usd ?? 0} most=${b.micro_usd} text=${`${f.money(u.micro_usd)}${b.micro_usd ? ` of ${f.money(b.micro_usd)}` : ""}`} />`)}
    ${run.conversation && fact("Conversation", html`<a href=${href("runs", "", { q: `conversation:${run.conversation}` })}>${f.visible(run.conversation)}</a>`)}
    ${run.fork && fact("Fork of", html`<${RunLink} id=${run.fork.run}>event ${run.fork.event} of ${run.fork.run.slice(0, 10)}…<//>`)}
  </dl>`;
}

function Waits({ run, id }) {
  const asked = (questions.value ?? run.asks ?? []).filter((q) => q.run === id || q.run.startsWith(id + "/"));
  const others = (run.waiting ?? []).filter((w) => !w.for.startsWith("an answer of "));
  if (!asked.length && !others.length) return null;
  return html`<div class="callouts">
    ${asked.map((q) => html`<a class="callout person" href=${href("approvals", q.key)}><${Icon} name="question" size=${18} /><span><strong>${q.approval ? `${f.visible(q.approval.agent)} wants ${f.visible(q.approval.action.tool || q.approval.action.agent)}` : `${f.visible(q.agent)} is asked`}</strong><small>waits for ${f.visible(q.agent)}</small></span><b>Decide</b></a>`)}
    ${others.map((w) => html`<div class="callout"><${Icon} name="waiting" size=${18} /><span><strong>Waits for ${f.visible(w.for)}</strong><small>since <${Ago} at=${w.since} />${w.until && html`, until <time datetime=${w.until}>${f.when(w.until)}</time> at the latest`}</small></span></div>`)}
  </div>`;
}

function StepDetail({ step, log, onClose, onFork }) {
  useEffect(() => { log.start(); }, [log]);
  const whole = step.kind === "run" ? step.run : step.child;
  const result = log.results.get(whole || step.key) ?? log.results.get(step.key);
  const input = whole ? log.results.get("in " + whole) : null;
  const row = (name, value) => value && html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<aside class="detail card" aria-label="The selected step">
    <header><h2>${what(step)}</h2><button type="button" class="bare" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <dl class="value">
      ${row("Status", html`<${Status} status=${step.status} />`)}
      ${row("What", html`${step.kind}${step.to && html` of <strong>${f.visible(step.to)}</strong>`}`)}
      ${row("For", f.visible(step.agent))}
      ${row("Skill", step.skill && f.visible(step.skill))}
      ${row("Effect", step.class)}
      ${row("Began", step.start && f.when(step.start))}
      ${row("Took", step.start && html`<${Took} from=${step.start} to=${step.end} />`)}
      ${row("At the latest", step.until && f.when(step.until))}
      ${row("Tokens", f.tokens(step.usage) > 0 && `${f.number(step.usage.input_tokens)} in, ${f.number(step.usage.output_tokens)} out`)}
      ${row("Cost", step.usage?.micro_usd > 0 && f.money(step.usage.micro_usd))}
      ${row("Fault", step.fault && html`<span class="text">${step.fault.kind}: ${f.visible(step.fault.text)}</span>`)}
      ${row("Found out", step.verdict)}
      ${row("Key", html`<code class="break">${step.key}</code> <${CopyButton} text=${step.key} label="the key" />`)}
    </dl>
    ${input?.data !== undefined && html`<h3>Asked with</h3><${Value} value=${input.data} />`}
    ${result?.data !== undefined && html`<h3>Answer</h3><${Value} value=${result.data} />`}
    ${(result?.erased || input?.erased) && html`<p class="quiet">Its data was erased.</p>`}
    <div class="actions">
      ${step.child && html`<a class="button" href=${href("runs", step.child)}>Open its run</a>`}
      ${result && onFork && html`<button type="button" onClick=${() => onFork(result.number)}>Fork after this</button>`}
    </div>
  </aside>`;
}

function TimelineTab({ run, steps, log, onFork }) {
  const { query } = route.value;
  const [, pick] = KINDS.map(([id, , p]) => [id, p]).find(([id]) => id === (query.show ?? "")) ?? ["", () => true];
  const shown = useMemo(() => (steps.list ?? []).filter(pick), [steps.list, query.show]);
  const selected = useMemo(() => shown.findIndex((s) => s.key === query.step), [shown, query.step]);
  const range = /^\d+~\d+$/.test(query.t ?? "") ? query.t.split("~").map(Number) : null;
  const zero = steps.list?.[0]?.startMs ?? 0;
  const select = (i) => { if (shown[i]) setQuery({ step: shown[i].key }); };
  useKeys({
    j: { does: "Next step", run: () => select(Math.min(selected + 1, shown.length - 1)) },
    k: { does: "Previous step", run: () => select(Math.max(selected - 1, 0)) },
    e: { does: "Next step with a problem", run: () => { const from = selected + 1; const i = [...shown.keys()].map((n) => (n + from) % shown.length).find((n) => BAD.has(shown[n].status)); if (i !== undefined) select(i); else say("Nothing went wrong here."); } },
    Escape: { does: "Close the step", run: () => setQuery({ step: undefined }) },
  });
  if (!steps.list) return steps.problem ? null : html`<${Skeleton} rows=${8} />`;
  const open = (query.step && steps.list.find((s) => s.key === query.step)) || null;
  const row = (i) => {
    const s = shown[i];
    return html`<div role="row" key=${s.key} class="step-row" aria-rowindex=${i + 1} data-focus=${i === selected ? "" : undefined} data-bad=${BAD.has(s.status) ? "" : undefined} onClick=${() => select(i)}>
      <span role="cell" class="c-at number">${s.startMs ? `+${f.span(s.startMs - zero)}` : "–"}</span>
      <span role="cell" class="c-who">${f.visible(laneOf(s))}</span>
      <span role="cell" class="c-what"><${Icon} name=${s.kind} size=${14} /><button type="button" class="link" aria-label="${what(s)}, ${s.kind}, ${s.status}">${what(s)}</button>${s.kind !== "ask" && s.kind !== "question" && s.to && html`<small>${f.visible(s.to)}</small>`}</span>
      <span role="cell" class="c-status"><${Status} status=${s.status} /></span>
      <span role="cell" class="c-took">${s.startMs ? html`<${Took} from=${s.start} to=${s.end} />` : "–"}</span>
      <span role="cell" class="c-tokens number">${f.tokens(s.usage) ? f.short(f.tokens(s.usage)) : ""}</span>
      <span role="cell" class="c-cost number">${s.usage?.micro_usd ? f.money(s.usage.micro_usd) : ""}</span>
    </div>`;
  };
  const head = html`<div role="row" class="step-row head">${[["c-at", "At"], ["c-who", "Who"], ["c-what", "Step"], ["c-status", "Status"], ["c-took", "Took"], ["c-tokens", "Tokens"], ["c-cost", "Cost"]].map(([c, t]) => html`<span role="columnheader" class=${c}>${t}</span>`)}</div>`;
  return html`<div class="beside" data-open=${open ? "" : undefined}><div class="left">
    <${Timeline} steps=${shown} range=${range} selected=${query.step} running=${!FINAL.has(run.status) && !paused.value} onPick=${(step) => setQuery({ step })} onRange=${(r) => setQuery({ t: r ? r.join("~") : undefined })} />
    <div class="chips" role="group" aria-label="Steps shown">${KINDS.map(([id, name, p]) => { const n = id ? steps.list.filter(p).length : steps.list.length; return (n > 0 || !id) && html`<button type="button" class="chip" aria-pressed=${(query.show ?? "") === id} onClick=${() => setQuery({ show: id, step: undefined })}>${name} <span class="count">${f.short(n)}</span></button>`; })}</div>
      ${shown.length ? html`<${Rows} count=${shown.length} height=${34} row=${row} head=${head} label="Steps" focus=${selected} />` : html`<${Empty} title="No step is of that kind." />`}</div>
      ${open && html`<${StepDetail} step=${open} log=${log} version=${log.version} onClose=${() => setQuery({ step: undefined })} onFork=${onFork} />`}
    </div>`;
}

const SPOKEN = new Set(["opened", "result", "finished", "signalled", "published", "paused", "resumed", "reconciled", "cancel", "expired"]);
const SPOKEN_PAGE = 100;

function spokenOf(e, agents) {
  const own = agents.get(e.run) ?? e.run;
  switch (e.kind) {
    case "opened": return { tone: "ask", icon: "ask", who: e.agent, note: e.run.includes("/") ? "is asked" : "is asked, from outside", data: e.data };
    case "result": return { tone: { think: "model", call: "tool" }[e.effect?.verb] ?? "", icon: { think: "model", call: "tool", sleep: "timer", await: "await" }[e.effect?.verb] ?? "run", who: e.effect?.to ?? e.name, to: own, note: e.effect?.verb === "think" ? "says to" : e.effect?.verb === "call" ? "returns to" : "answers", data: e.data, fault: e.fault, name: e.name };
    case "finished": return { tone: e.fault ? "failed" : e.status, icon: e.status, who: own, note: `ended: ${e.status}`, data: e.data, fault: e.fault };
    case "signalled": return { tone: "question", icon: "signalled", who: own, note: `is told ${e.to ?? "a signal"}`, data: e.data };
    case "paused": return { tone: "paused", icon: "paused", who: own, note: `is paused${e.reason ? `: ${e.reason}` : ""}` };
    case "reconciled": return { icon: "search", who: own, note: `learns of ${e.name}: ${e.finding?.verdict}` };
    case "cancel": return { tone: "paused", icon: "cancelled", who: own, note: `is to be cancelled${e.reason ? `: ${e.reason}` : ""}` };
    default: return { icon: "log", who: own, note: e.kind, data: e.data, fault: e.fault };
  }
}

function ConversationTab({ log, run }) {
  useEffect(() => { log.start(); }, [log]);
  const page = Number(route.value.query.page ?? 0);
  const agents = useMemo(() => new Map(log.events.filter((e) => e.kind === "opened").map((e) => [e.run, e.agent])), [log.events.length]);
  const all = useMemo(() => log.events.filter((e) => SPOKEN.has(e.kind)), [log.events.length]);
  if (!all.length) return log.problem ? html`<${Trouble} problem=${log.problem} />` : html`<${Skeleton} />`;
  const pages = Math.ceil(all.length / SPOKEN_PAGE);
  const turn = pages > 1 && html`<nav class="pages" aria-label="Pages"><button type="button" disabled=${page === 0} onClick=${() => setQuery({ page: page - 1 || undefined })}>Earlier</button><span>${f.number(page * SPOKEN_PAGE + 1)}–${f.number(Math.min(all.length, (page + 1) * SPOKEN_PAGE))} of ${f.number(all.length)}</span><button type="button" disabled=${page >= pages - 1} onClick=${() => setQuery({ page: page + 1 })}>Later</button></nav>`;
  return html`${turn}<ol class="talk card">${all.slice(page * SPOKEN_PAGE, (page + 1) * SPOKEN_PAGE).map((e) => {
    const s = spokenOf(e, agents);
    return html`<li key=${e.number} data-tone=${s.tone}><${Icon} name=${s.icon} /><div><header><strong>${f.visible(s.who)}</strong><span>${f.visible(s.note)}${s.to && html` <strong>${f.visible(s.to)}</strong>`}</span>${s.name && html`<code>${f.visible(s.name)}</code>`}<time datetime=${e.at} title=${f.when(e.at)}>+${f.span(Date.parse(e.at) - Date.parse(run.opened))}</time></header>
      ${s.fault && html`<p class="bad"><${Icon} name="failed" size=${13} />${s.fault.kind}: ${f.visible(s.fault.text)}</p>`}
      ${s.data !== undefined && html`<div class="said"><${Value} value=${s.data} /></div>`}
      ${e.erased && html`<p class="quiet">What it said was erased.</p>`}</div></li>`;
  })}</ol>${turn}`;
}

function ResultTab({ run }) {
  const block = (name, value, none) => html`<section class="card"><header class="card-head"><h2>${name}</h2>${value !== undefined && html`<${CopyButton} text=${JSON.stringify(value, null, 2)} label="it as JSON" />`}</header>${value !== undefined ? html`<${Value} value=${value} />` : html`<p class="quiet">${none}</p>`}</section>`;
  return html`<div class="columns asked">${block("What it was asked", run.input, "Nothing was given, or it was erased.")}
    ${block("What it answered", run.outcome?.output, FINAL.has(run.status) ? "It answered nothing, or it was erased." : "It has not ended yet.")}</div>`;
}

function EventsTab({ log }) {
  useEffect(() => { log.start(); }, [log]);
  const { query } = route.value;
  const chosen = Number(query.event ?? 0);
  const index = log.events[chosen - 1] ? chosen - 1 : -1;
  const select = (i) => { if (log.events[i]) setQuery({ event: i + 1 }); };
  useKeys({
    j: { does: "Next event", run: () => select(Math.min(index + 1, log.events.length - 1)) },
    k: { does: "Previous event", run: () => select(Math.max(index - 1, 0)) },
  });
  if (!log.events.length) return log.problem ? html`<${Trouble} problem=${log.problem} />` : html`<${Skeleton} />`;
  const open = log.events[index];
  const text = open && JSON.stringify(open, (k, v) => (k === "number" ? undefined : v), 2);
  const row = (i) => {
    const e = log.events[i];
    return html`<div role="row" key=${i} class="event-row" aria-rowindex=${i + 1} data-focus=${i === index ? "" : undefined} onClick=${() => select(i)}>
      <span role="cell" class="c-n number">${e.number}</span><span role="cell" class="c-at"><time datetime=${e.at}>${f.clock(e.at)}</time></span><span role="cell" class="c-kind"><button type="button" class="link">${e.kind}</button></span><span role="cell" class="c-name">${f.visible(e.name ?? e.agent ?? "")}</span><span role="cell" class="c-json"><code>${f.visible((JSON.stringify(e.data ?? e.fault ?? e.status) ?? "").slice(0, 240))}</code></span></div>`;
  };
  const head = html`<div role="row" class="event-row head">${[["c-n", "No."], ["c-at", "Time"], ["c-kind", "Kind"], ["c-name", "Name"], ["c-json", "Data"]].map(([c, t]) => html`<span role="columnheader" class=${c}>${t}</span>`)}</div>`;
  return html`<div class="beside" data-open=${open ? "" : undefined}><${Rows} count=${log.events.length} height=${34} row=${row} head=${head} label="Events" focus=${index} tall />
    ${open && html`<aside class="detail card" aria-label="The selected event"><header><h2>Event ${open.number}</h2><span><${CopyButton} text=${text} label="it as JSON" /><button type="button" class="bare" aria-label="Close" onClick=${() => setQuery({ event: undefined })}><${Icon} name="close" /></button></span></header><pre tabindex="0">${f.visible(text)}</pre></aside>`}</div>`;
}

function MessagesTab({ id, run }) {
  const [state, again] = useAsk(async (signal) => { // a message's conversation is its sender's, and so not the run's own word for it
    const own = await get("/v1/messages", { query: { run: id }, signal });
    const conversation = own.items?.[0]?.envelope?.conversation ?? run.conversation;
    return conversation ? get("/v1/messages", { query: { conversation }, signal }) : own;
  }, [id, run.conversation]);
  if (state.problem && !state.data) return html`<${Trouble} problem=${state.problem} again=${again} />`;
  if (!state.data) return html`<${Skeleton} />`;
  const items = (state.data.items ?? []).toReversed();
  if (!items.length) return html`<${Empty} title="No messages.">No message between agents opened this run${run.conversation ? ", or stands in its conversation" : ""}. What its agents asked of each other stands under Conversation.<//>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Messages"><table class="stack"><caption class="unseen">Messages</caption><thead><tr>${["Sent", "From", "To", "What", "Status", "Run"].map((t) => html`<th scope="col">${t}</th>`)}</tr></thead><tbody>${items.map((m) => html`<tr key=${m.run}><td><${Ago} at=${m.at} /></td><td>${f.visible(m.envelope?.source ?? "")}</td><td class="to">${f.visible(m.to)}</td><td>${f.visible((m.envelope?.type ?? "").replace(/^run\.polity\./, ""))}</td><td><${Status} status=${m.status} /></td><td><${RunLink} id=${m.run} /></td></tr>`)}</tbody></table></div>`;
}

function Ask({ title, note, fields, action, danger, onDone, onClose }) {
  const [values, setValues] = useState(Object.fromEntries(fields.map((x) => [x.name, x.value ?? ""])));
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const send = async (e) => {
    e.preventDefault();
    setBusy(true);
    try { await onDone(values); onClose(); } catch (p) { setProblem(p); setBusy(false); }
  };
  const set = (name, v) => setValues((old) => ({ ...old, [name]: v }));
  return html`<${Dialog} title=${title} onClose=${onClose}><form onSubmit=${send}>
    ${note && html`<p>${note}</p>`}
    ${fields.map((x) => (x.kind === "check" ? html`<label class="check"><input type="checkbox" checked=${Boolean(values[x.name])} onChange=${(e) => set(x.name, e.target.checked)} />${x.label}</label>`
      : html`<label class="field"><span>${x.label}</span>${x.kind === "json" ? html`<textarea rows="5" class="mono" spellcheck=${false} value=${values[x.name]} onInput=${(e) => set(x.name, e.target.value)}></textarea>` : html`<input type=${x.kind ?? "text"} min=${x.kind === "number" ? 1 : undefined} list=${x.options ? "options-" + x.name : undefined} required=${x.required} value=${values[x.name]} onInput=${(e) => set(x.name, e.target.value)} />`}
        ${x.options && html`<datalist id="options-${x.name}">${x.options.map((o) => html`<option value=${o} />`)}</datalist>`}</label>`))}
    ${problem && html`<${Trouble} problem=${problem} />`}
    <div class="actions end"><button type="button" onClick=${onClose}>Back</button><button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${action}</button></div>
  </form><//>`;
}

const DIALOGS = {
  cancel: (id, run) => ({
    title: "Cancel this run", danger: true, action: "Cancel the run", note: "Everything below it is cancelled, too. What says how it is undone is undone first.",
    fields: [{ name: "reason", label: "Reason, for whoever reads the log" }, { name: "now", label: "At once, without undoing anything", kind: "check" }],
    onDone: async ({ reason, now }) => { await post(at("runs", id, "cancel"), { reason, ...(now && { now: true }) }); say("It is being cancelled."); },
  }),
  pause: (id) => ({
    title: "Pause this run", action: "Pause", note: "Nothing new begins in it until it is resumed. What is under way is finished.", fields: [{ name: "reason", label: "Reason" }],
    onDone: async ({ reason }) => { await post(at("runs", id, "pause"), { reason }); say("It is paused."); },
  }),
  signal: (id, run) => ({
    title: "Tell this run something", action: "Send", note: "A signal reaches a run that awaits it, now or later.",
    fields: [{ name: "name", label: "Signal", required: true, options: (run.waiting ?? []).filter((w) => w.for.startsWith("signal ")).map((w) => w.for.split(" ")[1]), value: (run.waiting ?? []).find((w) => w.for.startsWith("signal "))?.for.split(" ")[1] }, { name: "data", label: "Data, as JSON", kind: "json", value: "{}" }],
    onDone: async ({ name, data }) => {
      let value;
      try { value = JSON.parse(data || "null"); } catch (e) { throw new Error(`The data is not JSON: ${e.message}`); }
      await post(at("runs", id, "signal"), { name, data: value });
      say("It is told.");
    },
  }),
  fork: (id, _, event) => ({
    title: "Fork this run", action: "Fork", note: "A new run takes over everything that happened up to an event, and goes on by itself from there.",
    fields: [{ name: "event", label: "The last event that it takes over", kind: "number", required: true, value: event ?? 1 }, { name: "effects", label: "It may do what reaches the outside (keyed and external effects)", kind: "check" }],
    onDone: async ({ event: n, effects }) => {
      const made = await post(at("runs", id, "fork"), { event: Number(n), ...(effects && { effects: true }) });
      say("The fork has begun.");
      go(href("runs", made.id));
    },
  }),
  retry: (id) => ({
    title: "Retry this run", action: "Retry", note: "A new run with the same release, input and bounds begins. This one stays as it is.", fields: [],
    onDone: async () => {
      const made = await post(at("runs", id, "retry"));
      say("It is tried again.");
      if (made?.id) go(href("runs", made.id));
    },
  }),
};

const TABS = [["timeline", "Timeline"], ["conversation", "Conversation"], ["result", "Result"], ["messages", "Messages"], ["events", "Events"]];

export default function Run() {
  const { id, query } = route.value;
  const tab = TABS.some(([t]) => t === query.tab) ? query.tab : "timeline";
  const [, redraw] = useState(0);
  const drawing = useRef(0);
  const draw = () => { if (!drawing.current) drawing.current = requestAnimationFrame(() => { drawing.current = 0; redraw((n) => n + 1); }); };
  const [state, again] = useAsk((signal) => get(at("runs", id), { signal }), [id]);
  const steps = useMemo(() => new Steps(id, draw), [id]);
  const log = useMemo(() => new Log(id, draw), [id]);
  const [dialog, setDialog] = useState(null);
  const run = state.data;
  const live = run && !FINAL.has(run.status);

  useEffect(() => { steps.load(); return () => { steps.stop(); log.stop(); cancelAnimationFrame(drawing.current); }; }, [steps]);
  const following = useRef(null); // the run's own stream, while it is open; else the node's tells of the run, too
  const soon = useMemo(() => throttled(async () => { await Promise.all([again(), steps.load(), log.load()]); }, REFRESH_MS), [steps]);
  useEffect(() => {
    const root = id.split("/")[0];
    const leave = onChange((c) => { if (!c || !c.run || (!following.current?.open && c.run.split("/")[0] === root)) soon(); });
    return () => { leave(); soon.stop(); };
  }, [steps]);
  useEffect(() => {
    if (!live) return undefined;
    const stream = (following.current = followRun(id, run.position, soon));
    return () => { stream.close(); following.current = null; };
  }, [steps, live && run.status]);

  const act = (name, event) => setDialog({ name, ...DIALOGS[name](id, run, event) });
  const resume = async () => { try { await post(at("runs", id, "resume")); say("It goes on."); again(); } catch (p) { say(p.message); } };
  useKeys(Object.fromEntries(TABS.map(([t, name], i) => [String(i + 1), { does: name, run: () => setQuery({ tab: t === "timeline" ? undefined : t }) }])));

  if (!run) {
    return html`<${Page} title="Run" note=${html`<code>${id}</code>`}>${state.problem ? (state.problem.status === 404 ? html`<${Empty} title="There is no such run." icon="unknown"><a href=${href("runs")}>Look for it among all runs</a>. It may have been deleted.<//>` : html`<${Trouble} problem=${state.problem} again=${again} />`) : html`<${Skeleton} rows=${10} />`}<//>`;
  }
  const root = !id.includes("/");
  const more = [
    live && { label: "Signal…", run: () => act("signal") },
    root && { label: "Fork…", run: () => act("fork", Math.max(1, log.events.length)) },
    live && { label: "Cancel…", danger: true, run: () => act("cancel") },
  ].filter(Boolean);
  const tabPath = { timeline: "/steps", messages: "", conversation: "/events", result: "", events: "/events" }[tab];
  const cli = { timeline: `polity runs show ${id}`, conversation: `polity runs tail ${id}`, events: `polity runs events ${id}`, result: `polity runs show ${id} -o json`, messages: `polity messages list` }[tab];
  return html`<${Page} title=${f.visible(run.agent)} note=${html`<${Status} status=${standing(run)} /><code>${id}</code><${CopyButton} text=${id} label="the ID" />${!root && html` in <${RunLink} id=${id.split("/")[0]}>the whole run<//>`}`}
      actions=${html`
        ${live && root && (run.paused || run.parked || run.status === "stopped" ? html`<button type="button" class="primary" onClick=${resume}>Resume</button>` : html`<button type="button" onClick=${() => act("pause")}>Pause</button>`)}
        ${["failed", "exhausted", "cancelled"].includes(run.status) && root && html`<button type="button" class="primary" onClick=${() => act("retry")}>Retry</button>`}
        <${CopyAs} cli=${cli} path=${at("runs", id) + tabPath} accept=${tab === "events" || tab === "conversation" ? "text/event-stream" : undefined} />
        ${more.length > 0 && html`<${Menu} label="More" items=${more} />`}`}>
    <${Waits} run=${run} id=${id} />
    ${run.fault && html`<div class="trouble" role="note"><${Icon} name="exhausted" /><div><strong>${run.fault.kind}</strong><p>${f.visible(run.fault.text ?? "")}</p></div></div>`}
    <${Facts} run=${run} />
    <${Tabs} label="Views of the run" current=${tab} onPick=${(t) => setQuery({ tab: t === "timeline" ? undefined : t })} tabs=${TABS.map(([t, label]) => ({ id: t, label, count: t === "timeline" && steps.list ? f.short(steps.list.length) : undefined }))} />
    <div role="tabpanel" id="panel" aria-labelledby="tab-${tab}" class="panel">
      ${steps.problem && tab === "timeline" && html`<${Trouble} problem=${steps.problem} again=${() => steps.load()} />`}
      ${tab === "timeline" ? html`<${TimelineTab} run=${run} steps=${steps} log=${log} version=${steps.version + log.version} onFork=${root && ((n) => act("fork", n))} />`
        : tab === "conversation" ? html`<${ConversationTab} run=${run} log=${log} version=${log.version} />`
        : tab === "result" ? html`<${ResultTab} run=${run} />`
        : tab === "messages" ? html`<${MessagesTab} id=${id} run=${run} />`
        : html`<${EventsTab} log=${log} version=${log.version} />`}
    </div>
    ${dialog && html`<${Ask} ...${dialog} key=${dialog.name} onClose=${() => { setDialog(null); again(); }} />`}
  <//>`;
}
