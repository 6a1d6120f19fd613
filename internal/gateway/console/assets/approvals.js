// What people are asked. An action that waits for a person is shown as data, field by field as it will be done: never in words of the agent
// that wants it.
import { html, useEffect, useState } from "./html.js";
import { at, post } from "./api.js";
import { questions, questionsProblem, refreshQuestions } from "./live.js";
import { go, href, route } from "./router.js";
import { useKeys } from "./keys.js";
import { Ago, CopyAs, CopyButton, Empty, Icon, Page, RunLink, Skeleton, Trouble, Value, say } from "./ui.js";
import { Fields, initial, gather } from "./form.js";
import * as f from "./format.js";

const titleOf = (q) => (q.approval ? f.visible(q.approval.action.tool || `${q.approval.action.agent}${q.approval.action.skill ? `: ${q.approval.action.skill}` : ""}`) : f.visible(q.skill || "A question"));
const EFFECTS = { none: "changes nothing", idempotent: "may be repeated without harm", keyed: "is done once, by its key", external: "reaches the outside, at most once" };

function Decide({ q, gone }) {
  const [comment, setComment] = useState("");
  const [always, setAlways] = useState(false);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const a = q.approval;
  const answer = async (approve) => {
    setBusy(true);
    try {
      await post(at("questions", q.key, "answer"), { decision: { approve, hash: a.hash, ...(comment && { reason: comment }), ...(approve && always && { always_for_this_run: true }) } });
      say(approve ? "It is approved." : "It is denied.");
      gone();
    } catch (p) { setProblem(p); setBusy(false); refreshQuestions(); }
  };
  useKeys({
    a: { does: "Go to Approve", run: () => document.getElementById("approve")?.focus() },
    d: { does: "Go to Deny", run: () => document.getElementById("deny")?.focus() },
    c: { does: "Write a comment", run: () => document.getElementById("comment")?.focus() },
  });
  const action = a.action;
  const row = (name, value) => value && html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<article class="card decide" aria-label="The action that waits">
    <header><h2>${titleOf(q)}</h2><p>Exactly this is done if you approve it, and nothing else.</p></header>
    <dl class="value action">
      ${row("Tool", action.tool && f.visible(action.tool))}
      ${row("Agent", action.agent && f.visible(action.agent))}
      ${row("Skill", action.skill && f.visible(action.skill))}
      ${row("Effect", action.effect && html`<strong>${action.effect}</strong> <span class="quiet">${EFFECTS[action.effect] ?? ""}</span>`)}
    </dl>
    <h3>Input</h3>
    <div class="input"><${Value} value=${action.input} /></div>
    <dl class="value">
      ${row("Wanted by", html`${f.visible(a.agent)}${q.org && html` <span class="quiet">of</span> <a href=${href("orgs", q.org)}>${f.visible(q.org)}</a>`}`)}
      ${row("Asked", f.visible(q.agent))}
      ${row("Since", html`<${Ago} at=${q.since} />`)}
      ${row("Run", html`<${RunLink} id=${a.run.split("/")[0]}><code class="break">${a.run}</code><//>`)}
      ${row("Hash", html`<code class="break hash">${a.hash}</code><${CopyButton} text=${a.hash} label="the hash" />`)}
    </dl>
    <form onSubmit=${(e) => e.preventDefault()}>
      <label class="field"><span>Comment, for whoever wanted it</span><textarea id="comment" rows="2" value=${comment} onInput=${(e) => setComment(e.target.value)}></textarea></label>
      <label class="check"><input type="checkbox" checked=${always} onChange=${(e) => setAlways(e.target.checked)} />The same, with the same input, may be done again in this run without asking</label>
      ${problem && html`<${Trouble} problem=${problem} />`}
      <div class="actions"><button type="button" id="approve" class="good" disabled=${busy} onClick=${() => answer(true)}><${Icon} name="completed" />Approve</button><button type="button" id="deny" class="danger" disabled=${busy} onClick=${() => answer(false)}><${Icon} name="failed" />Deny</button><span class="quiet">Nothing has happened yet.</span></div>
    </form>
  </article>`;
}

function Reply({ q, gone }) {
  const [value, setValue] = useState(() => initial(q.output));
  const [problem, setProblem] = useState(null);
  const send = async (e) => {
    e.preventDefault();
    try {
      await post(at("questions", q.key, "answer"), { answer: gather(q.output, value) });
      say("It is answered.");
      gone();
    } catch (p) { setProblem(p); }
  };
  const row = (name, v) => v && html`<div><dt>${name}</dt><dd>${v}</dd></div>`;
  return html`<article class="card decide" aria-label="The question">
    <header><h2>${titleOf(q)}</h2>${q.ask && html`<p>${f.visible(q.ask)}</p>`}</header>
    ${q.input !== undefined && html`<h3>About</h3><div class="input"><${Value} value=${q.input} /></div>`}
    <dl class="value">${row("Asked", f.visible(q.agent))}${row("By", q.from && html`${f.visible(q.from)}${q.org && html` <span class="quiet">of</span> <a href=${href("orgs", q.org)}>${f.visible(q.org)}</a>`}`)}${row("Since", html`<${Ago} at=${q.since} />`)}${row("Run", html`<${RunLink} id=${q.run.split("/")[0]}><code class="break">${q.run}</code><//>`)}</dl>
    <form onSubmit=${send}><${Fields} schema=${q.output} value=${value} onChange=${setValue} name="answer" label="Your answer" />
      ${problem && html`<${Trouble} problem=${problem} />`}
      <div class="actions"><button type="submit" class="primary">Answer</button></div></form>
  </article>`;
}

export default function Approvals() {
  const { id } = route.value;
  const list = questions.value;
  const problem = questionsProblem.value;
  const index = (list ?? []).findIndex((q) => q.key === id);
  const q = (list ?? [])[index];
  const narrow = matchMedia("(max-width: 900px)").matches;
  useEffect(() => { refreshQuestions(); }, []);
  useEffect(() => { if (!id && list?.length && !narrow) go(href("approvals", list[0].key), { replace: true }); }, [id, list]);
  const move = (by) => { const next = list?.[Math.min(Math.max(0, index + by), list.length - 1)]; if (next) go(href("approvals", next.key), { replace: true }); };
  useKeys({ j: { does: "Next question", run: () => move(1) }, k: { does: "Previous question", run: () => move(-1) } });
  const gone = async () => { await refreshQuestions(); const rest = questions.peek() ?? []; go(href("approvals", rest[Math.min(index, rest.length - 1)]?.key ?? ""), { replace: true }); };
  const cli = q?.approval ? `polity approvals show ${q.approval.hash.slice(0, 12)}` : "polity approvals list";
  return html`<${Page} title="Approvals" note=${list ? (list.length ? list.length === 1 ? "1 waits for a person" : `${f.number(list.length)} wait for a person` : "nothing waits") : "…"} actions=${html`<${CopyAs} cli=${cli} path="/v1/questions" />`}>
    ${problem && html`<${Trouble} problem=${problem} again=${refreshQuestions} />`}
    ${!list ? !problem && html`<${Skeleton} rows=${4} />`
      : !list.length && !id ? html`<${Empty} title="Nothing waits for you." icon="approvals">When an agent wants something that somebody has to let go first, it stands here.<//>`
      : html`<div class="inbox" data-open=${id ? "" : undefined}>
        <ul class="card inbox-list" aria-label="What waits">${list.map((x) => html`<li key=${x.key}><a href=${href("approvals", x.key)} aria-current=${x.key === id ? "true" : undefined}><strong>${titleOf(x)}</strong><span>${x.approval ? `${f.visible(x.approval.agent)} asks ${f.visible(x.agent)}` : `${f.visible(x.from ?? "")} asks ${f.visible(x.agent)}`}</span><small><${Ago} at=${x.since} /></small></a></li>`)}</ul>
        <div>${narrow && id && html`<a class="back" href=${href("approvals")}>All that waits</a>`}
        ${q ? (q.approval ? html`<${Decide} key=${q.key} q=${q} gone=${gone} />` : html`<${Reply} key=${q.key} q=${q} gone=${gone} />`)
          : id ? html`<${Empty} title="This is not asked any more." icon="approvals">It was answered, or its time ran out. ${list.length ? "Others wait." : "Nothing else waits."}<//>` : null}</div>
      </div>`}
  <//>`;
}
