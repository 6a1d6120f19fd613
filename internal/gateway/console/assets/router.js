// Where the reader is. Everything that can be seen has an address: a path below /console/ and parameters.
import { signal } from "@preact/signals";

const ROOT = "/console/";

function read() {
  const [screen = "", ...rest] = location.pathname.slice(ROOT.length).split("/").filter(Boolean).map(decodeURIComponent);
  return { screen: screen || "overview", id: rest.join("/"), query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/** What is shown: {screen, id, query}. */
export const route = signal(read());

/** The address of a screen, of one thing in it, and of a state of that. */
export function href(screen, id = "", query = {}) {
  const q = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== "")).toString();
  return ROOT + (screen === "overview" ? "" : screen) + (id ? "/" + encodeURIComponent(id) : "") + (q ? "?" + q : "");
}

/** Goes to an address of this page. */
export function go(to, { replace = false } = {}) {
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  route.value = read();
}

/** Changes parameters of where the reader is. What is only looked at, as a selected step, is no new place to come back to. */
export function setQuery(change, { replace = true } = {}) {
  const { screen, id, query } = route.peek();
  go(href(screen, id, { ...query, ...change }), { replace });
}

/** Starts to follow links and the browser's buttons. */
export function listen() {
  addEventListener("popstate", () => { route.value = read(); });
  addEventListener("click", (e) => {
    const a = e.target.closest?.("a[href]");
    if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.target || !a.href.startsWith(location.origin + ROOT)) return;
    e.preventDefault();
    go(a.getAttribute("href"));
    scrollTo(0, 0);
  });
}
