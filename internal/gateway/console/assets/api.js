// Speaks with the node: requests, their problems, and streams that go on where they stopped.

/** A refusal, as the API says it (RFC 9457). Its kind is one of package fault's, or "offline" if nothing answered. */
export class Problem extends Error {
  constructor(status, kind, detail, hint = "") {
    super(detail);
    Object.assign(this, { status, kind, hint });
  }
}

/** A number that JavaScript cannot hold: what was written is shown, never what was rounded. */
export class Exact {
  constructor(source) { this.source = source; }
  toString() { return this.source; }
  toJSON() { return JSON.rawJSON ? JSON.rawJSON(this.source) : this.source; }
}

/** Reads JSON such that no digit of a number is lost. */
export function parseExact(text) {
  return JSON.parse(text, (_, v, context) => {
    if (typeof v !== "number") return v;
    if (!context) throw new Problem(0, "unsupported", "This browser cannot read numbers exactly.", "Use a newer one, or the command polity approvals.");
    return String(v) === context.source ? v : new Exact(context.source);
  });
}

/** The path of one thing below a collection; an ID is one segment. */
export const at = (...segments) => "/v1/" + segments.map(encodeURIComponent).join("/");

/** A path with those parameters that say something. */
export function withQuery(path, query = {}) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) if (v !== undefined && v !== null && v !== "") q.set(k, v);
  const text = q.toString();
  return text ? `${path}?${text}` : path;
}

async function problemOf(response) {
  let body = {};
  try { body = await response.json(); } catch { /* whoever stands between may answer with something else */ }
  const e = body.error ?? {};
  return new Problem(response.status, body.kind ?? e.kind ?? "", body.detail ?? e.text ?? body.title ?? `The node answered ${response.status}.`, body.hint ?? e.hint ?? "");
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Problem(0, "offline", "The node does not answer.");
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401) dispatchEvent(new CustomEvent("polity-signed-out"));
  throw problem;
}

/** Asks, and gives what was answered. exact keeps each digit of numbers. */
export async function get(path, { query, signal, exact = false } = {}) {
  const response = await request(withQuery(path, query), { signal, headers: { Accept: "application/json" } });
  const text = await response.text();
  return exact ? parseExact(text) : JSON.parse(text);
}

/** Has something done, and gives what was answered, if anything. */
export async function post(path, body = {}, headers = {}) {
  const response = await request(path, { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json", ...headers }, body: JSON.stringify(body) });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

const RETRY_FIRST = 250, RETRY_MOST = 5_000; // ms between attempts to connect
const SILENCE_MOST = 40_000; // ms; a stream that says nothing for longer, not even that it is alive, is taken for dead

/**
 * Follows a stream of server-sent events until it is closed or the node ends it with an event "end". After a break it connects again and says
 * what it has seen last, so that nothing is missed and nothing comes twice.
 * @param {{query?: object, after?: string|number, each: (data: any, event: {id: string, type: string}) => void, state?: (s: "open"|"lost"|"end", why?: Problem) => void}} o
 * @returns {() => void} closes it
 */
export function follow(path, { query, after, each, state = () => {} }) {
  const closed = new AbortController();
  let last = after === undefined || after === null ? "" : String(after);
  let wait = RETRY_FIRST;

  async function once() {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    closed.signal.addEventListener("abort", stop);
    let alarm = setTimeout(stop, SILENCE_MOST);
    try {
      const headers = { Accept: "text/event-stream" };
      if (last !== "") headers["Last-Event-ID"] = last;
      const response = await request(withQuery(path, query), { headers, signal: attempt.signal });
      state("open");
      wait = RETRY_FIRST;
      if (response.status === 204) return true; // it has ended, and all of it is known
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return false;
        clearTimeout(alarm);
        alarm = setTimeout(stop, SILENCE_MOST);
        const blocks = (rest + value).split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const block of blocks) if (take(block)) return true;
      }
    } finally {
      clearTimeout(alarm);
      attempt.abort();
      closed.signal.removeEventListener("abort", stop);
    }
  }

  /** Takes one event; true if it was the last one. */
  function take(block) {
    let id = null, type = "message";
    const data = [];
    for (const line of block.split(/\r?\n/)) {
      const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "data") data.push(text);
      else if (field === "event") type = text;
      else if (field === "id") id = text;
    }
    if (data.length) each(JSON.parse(data.join("\n")), { id, type });
    if (id !== null) last = id; // only now: what was not taken comes again
    return type === "end";
  }

  (async () => {
    while (!closed.signal.aborted) {
      try {
        if (await once()) { state("end"); return; }
        state("lost");
      } catch (e) {
        if (closed.signal.aborted) return;
        state("lost", e instanceof Problem ? e : new Problem(0, "offline", String(e)));
        if (e.status === 401 || e.status === 403 || e.status === 404 || e.status === 410) return;
      }
      await new Promise((done) => setTimeout(done, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(wait * 2, RETRY_MOST);
    }
  })();
  return () => closed.abort();
}
