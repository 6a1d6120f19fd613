// One field for everything that can be reached or done.
import { html, useEffect, useMemo, useRef, useState } from "./html.js";
import { get } from "./api.js";
import { go, href, route } from "./router.js";
import { JUMPS, helping, searching } from "./keys.js";
import { paused, questions, setPaused } from "./live.js";
import { Dialog, Icon, copy, standing } from "./ui.js";
import { visible } from "./format.js";

const SHOWN_MOST = 12;
const LOOKS_LIKE_RUN = /^[\w-]{3,64}$/;

export default function Palette({ toggleTheme }) {
  const [text, setText] = useState("");
  const [place, setPlace] = useState(0);
  const [orgs, setOrgs] = useState([]);
  const [runs, setRuns] = useState([]);
  const list = useRef(null);
  const close = () => { searching.value = false; };

  useEffect(() => { get("/v1/orgs").then((d) => setOrgs(d.items ?? []), () => setOrgs([])); }, []);
  useEffect(() => {
    const abort = new AbortController();
    const q = LOOKS_LIKE_RUN.test(text) ? (text.includes("-") ? `id:${text}*` : `agent:${text}*`) : "";
    const timer = setTimeout(() => get("/v1/runs", { query: { q, limit: 5 }, signal: abort.signal }).then((d) => setRuns(d.items ?? []), () => {}), 120);
    return () => { clearTimeout(timer); abort.abort(); };
  }, [text]);

  const fixed = useMemo(() => [
    ...Object.entries(JUMPS).map(([key, [screen, name]]) => ({ icon: screen, text: name, hint: `g ${key}`, run: () => go(href(screen)) })),
    { icon: "failed", text: "Runs that failed in the last 24 hours", run: () => go(href("runs", "", { q: "status:failed started>-24h" })) },
    { icon: "running", text: "Active runs", run: () => go(href("runs", "", { q: "status:running" })) },
    { icon: "paused", text: paused.value ? "Resume updates" : "Pause updates", run: () => setPaused(!paused.peek()) },
    { icon: "theme", text: "Light or dark theme", run: toggleTheme },
    { icon: "copy", text: "Copy the link to this view", run: () => copy(location.href, "The link") },
    { icon: "help", text: "Show the keys", hint: "?", run: () => { helping.value = true; } },
  ], []);
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (item) => words.every((w) => item.text.toLowerCase().includes(w));
  const shown = [
    ...fixed.filter(fits),
    ...(questions.value ?? []).map((q) => ({ icon: "approvals", text: `Decide: ${q.approval?.action?.tool ?? q.approval?.action?.agent ?? q.skill ?? q.agent}`, hint: q.run, run: () => go(href("approvals", q.key)) })).filter(fits),
    ...orgs.map((o) => ({ icon: "orgs", text: `Organization ${o.name}`, run: () => go(href("orgs", o.name)) })).filter(fits),
    ...orgs.map((o) => ({ icon: "start", text: `Start a run of ${o.name}`, run: () => go(href("start", "", { org: o.name })) })).filter(fits),
    ...runs.map((r) => ({ icon: standing(r), text: `Run of ${r.agent}`, hint: r.id, run: () => go(href("runs", r.id)) })),
  ].slice(0, SHOWN_MOST);
  const at = Math.min(place, shown.length - 1);
  useEffect(() => { list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [at]);

  const pick = (item) => { close(); item.run(); };
  const key = (e) => {
    if (e.key === "ArrowDown") setPlace((at + 1) % shown.length);
    else if (e.key === "ArrowUp") setPlace((at + shown.length - 1) % shown.length);
    else if (e.key === "Enter" && shown[at]) pick(shown[at]);
    else return;
    e.preventDefault();
  };
  return html`<${Dialog} title="Search or jump to" bare onClose=${close}>
    <div class="palette">
      <label class="palette-field"><${Icon} name="search" /><span class="unseen">Search or jump to</span>
        <input autofocus role="combobox" aria-expanded="true" aria-controls="palette" aria-activedescendant=${shown[at] ? `palette-${at}` : undefined} autocomplete="off" spellcheck=${false}
          placeholder="A screen, an agent, the beginning of a run’s ID, something to do" value=${text} onInput=${(e) => { setText(e.target.value); setPlace(0); }} onKeyDown=${key} /></label>
      <ul id="palette" role="listbox" aria-label="What was found" ref=${list}>${shown.map((item, i) => html`
        <li id="palette-${i}" role="option" aria-selected=${i === at} onClick=${() => pick(item)} onPointerMove=${() => setPlace(i)}><${Icon} name=${item.icon} /><span>${visible(item.text)}</span>${item.hint && html`<small>${item.hint}</small>`}</li>`)}</ul>
      ${!shown.length && html`<p class="quiet palette-none">Nothing is called that.</p>`}
    </div>
  <//>`;
}
