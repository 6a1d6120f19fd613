// Starting a run: who is asked, for what, with what, and how much it may use.
import { html, useState } from "./html.js";
import { at, get, post } from "./api.js";
import { go, href, route, setQuery } from "./router.js";
import { CopyAs, Empty, Page, Skeleton, Trouble, say, useAsk } from "./ui.js";
import { Fields, gather, initial } from "./form.js";
import * as f from "./format.js";

const BOUNDS = [["turns", "Turns", 1], ["tokens", "Tokens", 1], ["usd", "US dollars", 0.000001], ["wall", "Time, as 30m", null]];

function boundsOf(v) {
  const b = {};
  if (v.turns) b.turns = Number(v.turns);
  if (v.tokens) b.tokens = Number(v.tokens);
  if (v.usd) b.micro_usd = Math.round(Number(v.usd) * 1e6);
  if (v.wall) b.wall = v.wall;
  return b;
}

function Form({ org, all, query, which }) {
  const agents = org.members.filter((m) => m.kind !== "human");
  const agent = agents.find((a) => a.name === (query.agent || org.main)) ?? agents[0];
  const skills = all.filter((s) => s.agent === agent?.name);
  const skill = skills.find((s) => s.name === query.skill) ?? skills[0];
  const schema = skill?.input;
  const [value, setValue] = useState(() => initial(schema));
  const [bounds, setBounds] = useState({});
  const [conversation, setConversation] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [key] = useState(() => crypto.randomUUID()); // so that a request that is sent twice is one run
  const body = () => ({ org: org.name, ...(agent && { agent: agent.name }), ...(skill && { skill: skill.name }), input: gather(schema, value), ...(Object.keys(boundsOf(bounds)).length && { bounds: boundsOf(bounds) }), ...(conversation && { conversation }) });
  const send = async (e) => {
    e.preventDefault();
    setBusy(true);
    try {
      const made = await post("/v1/runs", body(), { "Idempotency-Key": key });
      say("It has begun.");
      go(href("runs", made.id));
    } catch (p) { setProblem(p); setBusy(false); }
  };
  let preview = {};
  try { preview = body(); } catch { /* what is no JSON yet is told when it is sent */ }
  return html`<div class="columns start"><form class="card" onSubmit=${send}>
    ${which}
    ${agents.length > 1 && html`<label class="field"><span>Agent</span><select value=${agent?.name} onChange=${(e) => setQuery({ agent: e.target.value, skill: undefined })}>${agents.map((a) => html`<option value=${a.name}>${f.visible(a.name)}${a.name === org.main ? " (the whole organization)" : ""}</option>`)}</select></label>`}
    ${skills.length > 1 && html`<label class="field"><span>Skill</span><select value=${skill?.name} onChange=${(e) => setQuery({ skill: e.target.value })}>${skills.map((s) => html`<option value=${s.name}>${f.visible(s.name)}</option>`)}</select></label>`}
    ${skill?.description && agent.name !== org.main && html`<p class="quiet">${f.visible(skill.description)}</p>`}
    <${Fields} schema=${schema} name="input" label="Question" value=${value} onChange=${setValue} required />
    <details><summary>Bounds and conversation</summary>
      <div class="pairs">${BOUNDS.map(([name, label, step]) => html`<label class="field"><span>${label} <em>optional</em></span><input type=${step ? "number" : "text"} step=${step ?? undefined} min=${step ?? undefined} value=${bounds[name] ?? ""} onInput=${(e) => setBounds({ ...bounds, [name]: e.target.value })} /></label>`)}</div>
      <label class="field"><span>Conversation <em>optional</em></span><input value=${conversation} onInput=${(e) => setConversation(e.target.value)} /></label>
    </details>
    ${problem && html`<${Trouble} problem=${problem} />`}
    <div class="actions"><button type="submit" class="primary" disabled=${busy}>Start</button><${CopyAs} cli=${cliOf(preview)} path="/v1/runs" method="POST" body=${preview} /></div>
  </form>
  <aside class="card about" aria-label="About the organization"><h2>${f.visible(org.name)}</h2><p>${f.visible(agents.find((a) => a.main)?.description ?? "")}</p><p><a href=${href("orgs", org.name)}>See how it is made</a></p>
    ${agent?.description && agent.name !== org.main && html`<h3>${f.visible(agent.name)}</h3><p>${f.visible(agent.description)}</p>`}</aside></div>`;
}

/** The same as a command: a message to the agent, which has no bounds of its own. */
const cliOf = ({ agent, skill, input, conversation, bounds }) => (agent && input !== undefined && !bounds ? ["polity ask", f.quote(agent), f.quote(JSON.stringify(input)), skill && `--skill ${f.quote(skill)}`, conversation && `--conversation ${f.quote(conversation)}`].filter(Boolean).join(" ") : undefined);

export default function Start() {
  const { query } = route.value;
  const [orgs, again] = useAsk((signal) => get("/v1/orgs", { signal }), []);
  const items = orgs.data?.items ?? [];
  const name = query.org ?? (items.length === 1 ? items[0].name : "");
  const [org, ask] = useAsk((signal) => (name ? Promise.all([get(at("orgs", name), { signal }), get("/v1/skills", { query: { org: name }, signal })]) : Promise.resolve(null)), [name]);
  const which = html`<label class="field"><span>Organization</span><select value=${name} onChange=${(e) => setQuery({ org: e.target.value, agent: undefined, skill: undefined })}><option value="" disabled>Choose one</option>${items.map((o) => html`<option value=${o.name}>${f.visible(o.name)}</option>`)}</select></label>`;
  return html`<${Page} title="Start a run" note="Ask an organization for something.">
    ${orgs.problem && html`<${Trouble} problem=${orgs.problem} again=${again} />`}
    ${!orgs.data ? !orgs.problem && html`<${Skeleton} rows=${3} />`
      : !items.length ? html`<${Empty} title="No organization is installed.">Make one with <code>polity new</code>, then <code>polity apply FOLDER</code>.<//>`
      : html`${!(name && org.data) && html`<div class="card narrow">${which}</div>`}
        ${org.problem && html`<${Trouble} problem=${org.problem} again=${ask} />`}
        ${name && !org.data && !org.problem && html`<${Skeleton} rows=${3} />`}
        ${name && org.data && html`<${Form} key=${[name, query.agent, query.skill].join()} org=${org.data[0]} all=${org.data[1].items} query=${query} which=${which} />`}`}
  <//>`;
}
