// Organizations: what each is made of, drawn from its manifest, and what its agents have to do now.
import { html, useEffect, useMemo, useState } from "./html.js";
import { at, get } from "./api.js";
import { onChange, questions, throttled } from "./live.js";
import { go, href, route, setQuery } from "./router.js";
import { useKeys } from "./keys.js";
import { CopyAs, Empty, Icon, Page, Skeleton, Trouble, useAsk } from "./ui.js";
import { Graph, iconOf } from "./graph.js";
import * as f from "./format.js";

const REFRESH_MS = 500;
const KINDS = { human: "person", org: "organization", exec: "program", model: "thinks", http: "service", remote: "outside", mcp: "MCP server" };
const NARROW = matchMedia("(max-width: 700px)");

function useLive(again, deps) {
  useEffect(() => {
    const soon = throttled(again, REFRESH_MS);
    const leave = onChange(soon);
    return () => { leave(); soon.stop(); };
  }, deps);
}

function List() {
  const [state, again] = useAsk((signal) => get("/v1/orgs", { signal }), []);
  const [focus, setFocus] = useState(-1);
  useLive(again, []);
  const items = state.data?.items ?? [];
  useKeys({
    j: { does: "Next organization", run: () => setFocus((n) => Math.min(n + 1, items.length - 1)) },
    k: { does: "Previous organization", run: () => setFocus((n) => Math.max(n - 1, 0)) },
    Enter: { does: "Open it", run: () => { if (items[focus]) go(href("orgs", items[focus].name)); } },
  });
  return html`<${Page} title="Organizations" note=${state.data ? `${f.number(items.length)} on this node` : "…"} actions=${html`<${CopyAs} cli="polity get" path="/v1/orgs" />`}>
    ${state.problem && html`<${Trouble} problem=${state.problem} again=${again} />`}
    ${!state.data ? !state.problem && html`<${Skeleton} rows=${4} />` : !items.length ? html`<${Empty} title="No organization is installed." icon="orgs">Put a folder with a <code>polity.yaml</code> where the node looks for them, or make one: <code>polity new</code>, then <code>polity apply FOLDER</code>.<//>`
      : html`<div class="cards">${items.map((o, i) => html`<article class="card org" key=${o.name} data-focus=${i === focus ? "" : undefined}>
        <header><h2><a href=${href("orgs", o.name)}>${f.visible(o.name)}</a></h2><span class="quiet"><strong>${f.number(o.agents)}</strong> agents</span></header>
        <p>release <code>${o.release.slice(0, 12)}</code></p>
        <footer><${Numbers} load=${o} /><a class="button" href=${href("start", "", { org: o.name })} aria-label="Start a run of ${o.name}">Start</a></footer></article>`)}</div>`}
  <//>`;
}

const Numbers = ({ load }) => html`<span class="numbers">${load.running > 0 && html`<span data-tone="busy"><${Icon} name="running" size=${13} />${load.running} at work</span>`}${load.waiting > 0 && html`<span data-tone="wait"><${Icon} name="waiting" size=${13} />${load.waiting} waiting</span>`}${load.errors > 0 && html`<span data-tone="bad"><${Icon} name="failed" size=${13} />${load.errors} failed</span>`}${!load.running && !load.waiting && !load.errors && html`<span class="quiet">idle</span>`}</span>`;

function One() {
  const { id, query } = route.value;
  const [state, again] = useAsk((signal) => get(at("orgs", id), { signal }), [id]);
  const [narrow, setNarrow] = useState(NARROW.matches);
  useLive(again, [id]);
  useEffect(() => {
    const turn = () => setNarrow(NARROW.matches);
    NARROW.addEventListener("change", turn);
    return () => NARROW.removeEventListener("change", turn);
  }, []);
  const org = state.data;
  const shape = JSON.stringify(org?.topology ?? null);
  const { nodes, edges } = useMemo(() => ({ nodes: org?.topology?.nodes ?? [], edges: org?.topology?.edges ?? [] }), [shape]);
  const asks = questions.value;
  const load = useMemo(() => {
    const all = new Map((org?.load ?? []).map((l) => [l.agent, l]));
    for (const q of asks ?? []) if (q.org === org?.name) all.set(q.agent, { ...all.get(q.agent), asked: (all.get(q.agent)?.asked ?? 0) + 1 });
    return all;
  }, [org, asks]);
  const selected = query.node;
  const pick = (name) => setQuery({ node: name === selected ? undefined : name });
  const index = nodes.findIndex((n) => n.name === selected);
  useKeys({
    j: { does: "Next node", run: () => nodes.length && setQuery({ node: nodes[Math.min(index + 1, nodes.length - 1)].name }) },
    k: { does: "Previous node", run: () => nodes.length && setQuery({ node: nodes[Math.max(index - 1, 0)].name }) },
    Escape: { does: "Select nothing", run: () => setQuery({ node: undefined }) },
  });
  if (!org) return html`<${Page} title=${id}>${state.problem ? (state.problem.status === 404 ? html`<${Empty} title="There is no such organization." icon="orgs"><a href=${href("orgs")}>See all of them</a>.<//>` : html`<${Trouble} problem=${state.problem} again=${again} />`) : html`<${Skeleton} />`}<//>`;
  const main = (org.members ?? []).find((m) => m.main);
  return html`<${Page} title=${f.visible(org.name)} note=${f.visible(main?.description ?? "")}
      actions=${html`<${CopyAs} cli=${`polity describe ${f.quote(org.name)}`} path=${at("orgs", org.name)} /><a class="button" href=${href("runs", "", { q: `org:${org.name}` })}>Runs</a><a class="button primary" href=${href("start", "", { org: org.name })}><${Icon} name="start" />Start</a>`}>
    <p class="facts-line">${main?.pattern && html`<span class="tag">${main.pattern}</span>`}<${Numbers} load=${org} />${org.release && html`<span class="quiet">release <code>${org.release.slice(0, 12)}</code></span>`}</p>
    ${nodes.length > 0 && html`<${Graph} nodes=${nodes} edges=${edges} load=${load} selected=${selected} onPick=${pick} narrow=${narrow} />`}
    <div class="scroll" tabindex="0" role="region" aria-label="Agents, groups, tools, models and topics"><table class="nodes stack"><caption class="unseen">Everything that the organization is made of</caption>
      <thead><tr>${["Name", "What", "At work", "Waiting", "Failed", "Does"].map((t, i) => html`<th scope="col" class=${i > 1 && i < 5 ? "number" : ""}>${t}</th>`)}</tr></thead>
      <tbody>${nodes.map((n) => {
        const l = load.get(n.name) ?? {};
        const does = edges.filter((e) => e.from === n.name);
        return html`<tr key=${n.name} data-focus=${n.name === selected ? "" : undefined}><th scope="row"><button type="button" class="link" aria-pressed=${n.name === selected} onClick=${() => pick(n.name)}><${Icon} name=${iconOf(n)} size=${14} />${f.visible(n.name)}</button>${n.main && html` <span class="tag">main</span>`}${n.instances > 0 && html` <span class="tag">${f.number(n.instances)} ${n.instances === 1 ? "instance" : "instances"}</span>`}</th>
          <td>${n.what === "agent" ? KINDS[n.kind] ?? n.kind ?? "agent" : n.what}</td>
          <td class="number" data-label="at work">${n.what === "agent" ? (l.running ? html`<a href=${href("runs", "", { q: `status:running with:${n.name}` })} aria-label="${l.running} at work at ${n.name}">${l.running}</a>` : "0") : ""}</td><td class="number" data-label=${n.kind === "human" ? "asked" : "waiting"}>${n.kind === "human" ? (l.asked ? html`<a href=${href("approvals")} aria-label="${l.asked} asked of ${n.name}">${l.asked}</a>` : 0) : n.what === "agent" ? l.waiting ?? 0 : ""}</td><td class="number" data-label="failed">${n.what === "agent" ? l.errors ?? 0 : ""}</td>
          <td class="does whole">${does.map((e) => html`<span>${e.does} <strong>${f.visible(e.to)}</strong></span>`)}</td></tr>`;
      })}</tbody></table></div>
  <//>`;
}

export default function Orgs() {
  return route.value.id ? html`<${One} key=${route.value.id} />` : html`<${List} />`;
}
