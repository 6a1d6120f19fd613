// The shell: navigation, the state of the connection, and the screen that the address names.
import { html, render, signal, useEffect } from "./html.js";
import { connection, held, paused, restart, setPaused, start, waitingForMe } from "./live.js";
import { href, listen as followLinks, route } from "./router.js";
import { JUMPS, helping, letters, listen as listenKeys, searching, setLetters, described } from "./keys.js";
import { Dialog, Empty, Icon, Page, Skeleton, Toast, Trouble, say } from "./ui.js";

const SCREENS = {
  overview: { title: "Overview", load: () => import("./overview.js") },
  runs: { title: "Runs", load: () => import("./runs.js") },
  run: { title: "Run", load: () => import("./run.js") },
  approvals: { title: "Approvals", load: () => import("./approvals.js") },
  orgs: { title: "Organizations", load: () => import("./orgs.js") },
  start: { title: "Start a run", load: () => import("./start.js") },
};

const loaded = signal({}); // name -> component, or an error

function load(name) {
  SCREENS[name].load().then(
    (m) => { loaded.value = { ...loaded.peek(), [name]: m.default }; },
    (e) => { loaded.value = { ...loaded.peek(), [name]: e }; },
  );
}

function Screen() {
  const { screen, id } = route.value;
  const name = screen === "runs" && id ? "run" : SCREENS[screen] && screen !== "run" ? screen : null;
  useEffect(() => {
    if (name && !(loaded.peek()[name] instanceof Function)) load(name);
    document.title = (name ? (name === "run" ? `Run ${id}` : SCREENS[name].title) : "Not found") + " · Polity";
  }, [name, id]);
  useEffect(() => { document.querySelector("h1")?.focus({ preventScroll: true }); }, [name]);
  if (!name) return html`<${Page} title="Not found"><${Empty} title="Nothing is here." icon="unknown">This console has no page at <code>${location.pathname}</code>. <a href=${href("overview")}>Go to the overview</a>.<//><//>`;
  const Found = loaded.value[name];
  if (Found instanceof Error) return html`<${Page} title=${SCREENS[name].title}><${Trouble} problem=${{ message: "This part of the console could not be loaded.", hint: "The node may have been replaced by another version." }} again=${() => location.reload()} /><//>`;
  if (!Found) return html`<${Page} title=${SCREENS[name].title}><${Skeleton} /><//>`;
  return html`<${Found} key=${name + id} />`;
}

const THEMES = ["light", "dark"];

function toggleTheme() {
  const next = THEMES[1 - THEMES.indexOf(document.documentElement.dataset.theme)];
  try { localStorage.setItem("polity.theme", next); } catch { /* then it holds for this page */ }
  dispatchEvent(new CustomEvent("polity-theme", { detail: next }));
}

function Live() {
  const state = connection.value;
  const on = !paused.value;
  const word = state === "lost" ? "Connecting again" : state === "connecting" ? "Connecting" : state === "signed out" ? "Signed out" : on ? "Live" : "Paused";
  return html`<button type="button" class="live" data-state=${on ? state : "paused"} aria-pressed=${on} title=${on ? "Pause updates" : "Resume updates"}
      onClick=${() => { setPaused(on); say(on ? "Updates are paused." : "Updates are live."); }}>
    <i aria-hidden="true"></i><span>${word}</span>${!on && held.value > 0 && html`<span class="count">${held.value > 999 ? "999+" : held.value}</span>`}
  </button>`;
}

function Navigation() {
  const { screen } = route.value;
  const link = (to, icon, text, count) => html`<a href=${href(to)} aria-current=${screen === to ? "page" : undefined}><${Icon} name=${icon} size=${18} /><span>${text}</span>${count > 0 && html`<b class="count" aria-label="${count} waiting">${count}</b>`}</a>`;
  return html`<nav aria-label="Main">
    ${link("overview", "overview", "Overview")}
    ${link("runs", "runs", "Runs")}
    ${link("approvals", "approvals", "Approvals", waitingForMe.value)}
    ${link("orgs", "orgs", "Organizations")}
    ${link("start", "start", "Start a run")}
  </nav>`;
}

function Keys() {
  const row = (keys, does) => html`<tr><td>${keys.split(" ").map((k) => html`<kbd>${k}</kbd>`)}</td><td>${does}</td></tr>`;
  return html`<${Dialog} title="Keys" onClose=${() => { helping.value = false; }}>
    <table class="plain keys"><caption class="unseen">Keys and what they do</caption><thead><tr><th scope="col">Key</th><th scope="col">Does</th></tr></thead><tbody>
      ${row("Ctrl K", "Search, or do something")}
      ${Object.entries(JUMPS).map(([k, [, text]]) => row(`g ${k}`, `Go to ${text}`))}
      ${described().map(([k, does]) => row(k, does))}
      ${row("?", "Show this")}
    </tbody></table>
    <label class="check"><input type="checkbox" checked=${letters.value} onChange=${(e) => setLetters(e.target.checked)} /> Single keys do something. Switch them off if they get in the way of speech input.</label>
  <//>`;
}

const palette = signal(null);

function Palette() {
  useEffect(() => { import("./palette.js").then((m) => { palette.value = m.default; }); }, []);
  return palette.value && html`<${palette.value} toggleTheme=${toggleTheme} />`;
}

const signIn = signal(null);

function SignIn() {
  useEffect(() => { import("./signin.js").then((m) => { signIn.value = m.default; }); }, []);
  return signIn.value && html`<${signIn.value} done=${restart} />`;
}

function App() {
  const state = connection.value;
  return html`
    <a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.querySelector("main").focus(); }}>Skip to the content</a>
    <header class="bar">
      <a class="brand" aria-label="Polity, overview" href=${href("overview")}><svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" class="brand-back"/><path d="M16 11v5M16 16H9v4M16 16h7v4" class="brand-lines"/><circle cx="16" cy="9" r="3.2"/><circle cx="9" cy="22" r="3.2"/><circle cx="23" cy="22" r="3.2"/></svg><span>Polity</span></a>
      <button type="button" class="find" onClick=${() => { searching.value = true; }}><${Icon} name="search" /><span>Search or jump to</span><kbd>Ctrl K</kbd></button>
      <div class="bar-end">
        <${Live} />
        <button type="button" class="bare" aria-label="Light or dark theme" title="Light or dark theme" onClick=${toggleTheme}><${Icon} name="theme" size=${18} /></button>
        <button type="button" class="bare wide-only" aria-label="Keys" title="Keys (?)" onClick=${() => { helping.value = true; }}><${Icon} name="help" size=${18} /></button>
      </div>
    </header>
    <${Navigation} />
    <main id="main" tabindex="-1">
      ${state === "lost" && html`<p class="banner" role="status">The connection to the node was lost. This page goes on by itself when the node is back.</p>`}
      ${state === "signed out" ? html`<${SignIn} />` : html`<${Screen} />`}
    </main>
    ${helping.value && html`<${Keys} />`}
    ${searching.value && html`<${Palette} />`}
    <${Toast} />`;
}

followLinks();
listenKeys();
start();
const page = document.getElementById("page");
page.textContent = "";
render(html`<${App} />`, page);
