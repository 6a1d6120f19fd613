// What changes on the node, told to whoever shows it: one stream for the page, held only while the page is seen.
import { signal, computed } from "@preact/signals";
import { at, follow, get } from "./api.js";

/** "connecting", "live", "lost" or "signed out". */
export const connection = signal("connecting");
/** Whether changes are held back. What is shown then stays as it is. */
export const paused = signal(false);
/** How many changes were held back. */
export const held = signal(0);
/** What people are asked, as the node's API says it, the earliest first; null before the first answer. */
export const questions = signal(null);
/** Why questions cannot be shown, if so. */
export const questionsProblem = signal(null);
/** The time, for what is relative to it. */
export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 1000);

export const waitingForMe = computed(() => questions.value?.length ?? 0);

const listeners = new Set();
let close = null;
let last; // the newest event that was seen

/**
 * Calls f with each change of a run, {run, status, ...}, and with null when anything may have changed: after a break, or when updates go on.
 * @returns {() => void} stops it
 */
export function onChange(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}

function tell(change) {
  if (paused.peek()) { held.value++; return; }
  for (const f of [...listeners]) f(change);
}

/** Calls f soon after it was asked for, once for all who ask meanwhile. */
export function throttled(f, ms = 300) {
  let timer = null, again = false, busy = false;
  const run = async () => {
    timer = null; busy = true; again = false;
    try { await f(); } finally { busy = false; if (again) ask(); }
  };
  const ask = () => { if (busy) again = true; else timer ??= setTimeout(run, ms); };
  return Object.assign(ask, { stop() { clearTimeout(timer); timer = null; } });
}

export async function refreshQuestions() {
  try {
    const found = await get("/v1/questions", { exact: true });
    questions.value = found.items ?? [];
    questionsProblem.value = null;
  } catch (e) {
    if (e.name !== "AbortError") questionsProblem.value = e;
  }
}

const askSoon = throttled(refreshQuestions, 200);

function connect() {
  if (close) return;
  close = follow("/v1/events", {
    after: last,
    each(change, { id, type }) {
      last = id ?? last;
      if (type === "position") return; // nothing has happened for a while
      tell(change);
      askSoon();
    },
    state(s, why) {
      if (why?.status === 401) connection.value = "signed out";
      else if (s === "open") {
        const back = connection.peek() === "lost";
        connection.value = "live";
        if (back) tell(null);
        askSoon();
      } else connection.value = "lost";
    },
  });
}

function disconnect() {
  close?.();
  close = null;
}

/** Begins to follow the node. A page that is not seen holds no connection, so that many may be open; it catches up when it is seen. */
export function start() {
  addEventListener("polity-signed-out", () => { connection.value = "signed out"; disconnect(); });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else { connect(); tell(null); }
  });
  refreshQuestions();
  if (!document.hidden) connect();
}

/** Follows again after signing in. */
export function restart() {
  disconnect();
  connection.value = "connecting";
  connect();
  refreshQuestions();
  tell(null);
}

/**
 * Follows one run from a place in the log until it has ended: f is called for what happens to it, and, which the node's stream does not tell, for what only
 * began, but not while changes are held back. A page that is not seen holds no connection.
 * @returns {{open: boolean, close: () => void}} whether it is connected, and what stops it
 */
export function followRun(id, place, f) {
  const stream = { open: false, close() { document.removeEventListener("visibilitychange", turn); leave(); } };
  let stop = null, last = place;
  const leave = () => { stop?.(); stop = null; stream.open = false; };
  const turn = () => {
    if (document.hidden) leave();
    else stop ??= follow(at("runs", id, "events"), {
      after: last,
      each(_, e) { last = e.id ?? last; if (!paused.peek()) f(); },
      state(s) { stream.open = s === "open"; },
    });
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return stream;
}

export function setPaused(on) {
  paused.value = on;
  if (!on) { held.value = 0; tell(null); }
}
