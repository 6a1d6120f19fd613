// What runs, what waits for the reader, what failed, what it cost, and whether the node is well.
import { html, useEffect } from "./html.js";
import { get } from "./api.js";
import { connection, onChange, questions, throttled } from "./live.js";
import { href } from "./router.js";
import { Ago, CopyAs, Empty, Icon, Page, Skeleton, Status, Took, Trouble, matter, standing, useAsk } from "./ui.js";
import * as f from "./format.js";

const REFRESH_MS = 800;
const SHOWN = 6, COUNTED = 100, DAYS = 14;

async function ask(signal) {
  const since = new Date(Date.now() - DAYS * 86_400_000).toISOString().slice(0, 10);
  const [running, failed, lately, days, agents, view] = await Promise.all([
    get("/v1/runs", { query: { q: "status:running", limit: COUNTED }, signal }),
    get("/v1/runs", { query: { q: "status:failed,exhausted started>-24h", limit: COUNTED }, signal }),
    get("/v1/runs", { query: { limit: SHOWN }, signal }),
    get("/v1/costs", { query: { by: "day", q: `day>=${since}` }, signal }),
    get("/v1/costs", { query: { by: "agent", q: "day>=-24h" }, signal }),
    get("/v1/view", { signal }),
  ]);
  return { running, failed, lately, days: days.items ?? [], agents: agents.items ?? [], view };
}

const count = (found) => (found.next ? `${found.items.length}+` : f.number((found.items ?? []).length));

const Tile = ({ name, icon, value, note, to, tone }) => html`<a class="card tile" href=${to} data-tone=${tone}><span>${name}<${Icon} name=${icon} /></span><strong>${value}</strong><small>${note}</small></a>`;

function RunList({ found, none }) {
  const items = (found.items ?? []).slice(0, SHOWN);
  if (!items.length) return html`<p class="quiet none">${none}</p>`;
  return html`<ul class="lines">${items.map((r) => html`<li key=${r.id}><a href=${href("runs", r.id)}><${Status} status=${standing(r)} /><strong>${f.visible(r.agent)}</strong><span class="grow quiet">${matter(r)}</span><span class="quiet"><${Ago} at=${r.opened} /></span><${Took} from=${r.opened} to=${r.ended} /></a></li>`)}</ul>`;
}

const dayOf = (t) => t.toISOString().slice(0, 10);

/** What each day cost; a day on which nothing ran is one, too. */
function Days({ rows }) {
  const by = new Map(rows.map((r) => [r.by, r]));
  const days = Array.from({ length: DAYS }, (_, i) => dayOf(new Date(Date.now() - (DAYS - 1 - i) * 86_400_000)));
  const paid = rows.some((r) => r.usage?.micro_usd > 0);
  const measure = (d) => (paid ? by.get(d)?.usage?.micro_usd : by.get(d)?.calls) ?? 0;
  const most = Math.max(1, ...days.map(measure));
  const write = (d) => (paid ? f.money(measure(d)) : f.number(measure(d)));
  return html`<figure class="bars"><svg viewBox="0 0 ${DAYS * 20} 72" preserveAspectRatio="none" aria-hidden="true">${days.map((d, i) => html`<rect x=${i * 20 + 3} y=${70 - Math.max(measure(d) ? 2 : 1, (measure(d) / most) * 66)} width="14" height=${Math.max(measure(d) ? 2 : 1, (measure(d) / most) * 66)} rx="2" data-none=${measure(d) ? undefined : ""} data-today=${i === DAYS - 1 ? "" : undefined}><title>${d}: ${write(d)}</title></rect>`)}</svg>
    <figcaption><span>${days[0].slice(5)}</span><span>${paid ? "cost" : "steps"} a day, the most ${paid ? f.money(most) : f.number(most)}</span><span>today</span></figcaption>
    <details><summary>As a table</summary><table class="plain"><caption class="unseen">What each day cost</caption><thead><tr><th scope="col">Day</th><th scope="col" class="number">Steps</th><th scope="col" class="number">Tokens</th><th scope="col" class="number">Cost</th></tr></thead><tbody>${days.toReversed().map((d) => html`<tr><td>${d}</td><td class="number">${f.number(by.get(d)?.calls)}</td><td class="number">${f.short(f.tokens(by.get(d)?.usage))}</td><td class="number">${f.money(by.get(d)?.usage?.micro_usd)}</td></tr>`)}</tbody></table></details></figure>`;
}

function Health({ view }) {
  const ok = !view.problem && connection.value === "live";
  const row = (good, text, note) => html`<li><span class="status" data-status=${good ? "completed" : "failed"}><${Icon} name=${good ? "completed" : "failed"} size=${13} />${text}</span><span class="quiet">${note}</span></li>`;
  return html`<ul class="health">
    ${row(connection.value === "live", connection.value === "live" ? "connected" : "not connected", ok ? "updates arrive" : "the page tries again")}
    ${row(!view.problem, view.problem ? "the view has stopped" : "view", view.problem ? f.visible(view.problem) : view.behind ? `${f.number(view.behind)} commits behind` : "up to date")}
    <li><span class="status"><${Icon} name="log" size=${13} />log</span><span class="quiet">commit ${f.number(view.tip ?? view.position)}</span></li></ul>`;
}

export default function Overview() {
  const [state, again] = useAsk(ask, []);
  useEffect(() => {
    const soon = throttled(again, REFRESH_MS);
    const leave = onChange(soon);
    return () => { leave(); soon.stop(); };
  }, []);
  const d = state.data;
  const waiting = questions.value ?? [];
  const today = d?.days.find((r) => r.by === dayOf(new Date()));
  return html`<${Page} title="Overview" note="What this node does now." actions=${html`<${CopyAs} cli="polity runs list" path="/v1/runs" /><a class="button primary" href=${href("start")}><${Icon} name="start" />Start a run</a>`}>
    ${state.problem && html`<${Trouble} problem=${state.problem} again=${again} />`}
    ${!d ? !state.problem && html`<${Skeleton} rows=${8} />` : html`
    <div class="tiles">
      <${Tile} name="Waiting for you" icon="approvals" value=${f.number(waiting.length)} note=${waiting.length ? "to be decided" : "nothing to decide"} to=${href("approvals")} tone=${waiting.length ? "person" : ""} />
      <${Tile} name="Active" icon="runs" value=${count(d.running)} note="runs that have not ended" to=${href("runs", "", { q: "status:running" })} tone=${d.running.items?.length ? "busy" : ""} />
      <${Tile} name="Failed" icon="failed" value=${count(d.failed)} note="in the last 24 hours" to=${href("runs", "", { q: "status:failed,exhausted started>-24h" })} tone=${d.failed.items?.length ? "bad" : ""} />
      <${Tile} name="Cost today" icon="cost" value=${f.money(today?.usage?.micro_usd)} note=${`${f.short(f.tokens(today?.usage))} tokens, ${f.short(today?.calls)} steps`} to=${href("runs", "", { q: "started>-24h" })} />
    </div>
    ${!d.lately.items?.length ? html`<${Empty} title="Nothing has run yet." icon="start"><a href=${href("start")}>Start a run</a>, or ask an organization from a terminal: <code>polity run FOLDER "a question"</code>.<//>` : html`
    <div class="columns main">
      <div>
        ${waiting.length > 0 && html`<section class="card"><header class="card-head"><h2>Waiting for you</h2><a href=${href("approvals")}>All</a></header><ul class="lines">${waiting.slice(0, SHOWN).map((q) => html`<li key=${q.key}><a href=${href("approvals", q.key)}><span class="status" data-status="waiting"><${Icon} name="question" size=${13} />${f.visible(q.agent)}</span><strong>${f.visible(q.approval ? q.approval.action.tool || q.approval.action.agent : q.skill || "a question")}</strong><span class="grow quiet">for ${f.visible(q.approval?.agent ?? q.from ?? "")}</span><span class="quiet"><${Ago} at=${q.since} /></span></a></li>`)}</ul></section>`}
        <section class="card"><header class="card-head"><h2>Active</h2><a href=${href("runs", "", { q: "status:running" })}>All</a></header><${RunList} found=${d.running} none="No run is active." /></section>
        <section class="card"><header class="card-head"><h2>Failed in the last 24 hours</h2><a href=${href("runs", "", { q: "status:failed,exhausted started>-24h" })}>All</a></header><${RunList} found=${d.failed} none="Nothing failed." /></section>
        <section class="card"><header class="card-head"><h2>Latest</h2><a href=${href("runs")}>All</a></header><${RunList} found=${d.lately} none="" /></section>
      </div>
      <div>
        <section class="card"><header class="card-head"><h2>Health</h2></header><${Health} view=${d.view} /></section>
        <section class="card"><header class="card-head"><h2>Last 14 days</h2></header><${Days} rows=${d.days} /></section>
        <section class="card"><header class="card-head"><h2>Agents, last 24 hours</h2></header>
          ${d.agents.length ? html`<table class="plain"><caption class="unseen">What agents did in the last day</caption><thead><tr><th scope="col">Agent</th><th scope="col" class="number">Steps</th><th scope="col" class="number">Failed</th><th scope="col" class="number">Cost</th></tr></thead><tbody>${d.agents.toSorted((a, b) => (b.usage?.micro_usd ?? 0) - (a.usage?.micro_usd ?? 0) || b.calls - a.calls).slice(0, 8).map((r) => html`<tr key=${r.by}><td><a href=${href("runs", "", { q: `with:${r.by}` })}>${f.visible(r.by)}</a></td><td class="number">${f.short(r.calls)}</td><td class="number">${f.number(r.failed)}</td><td class="number">${f.money(r.usage?.micro_usd)}</td></tr>`)}</tbody></table>` : html`<p class="quiet none">No agent has done anything.</p>`}</section>
      </div>
    </div>`}`}
  <//>`;
}
