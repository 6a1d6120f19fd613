// How values are written.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const WHEN = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const number = (n) => NUMBER.format(n ?? 0);
export const short = (n) => (Math.abs(n ?? 0) < 10_000 ? number(n) : SHORT.format(n));
export const when = (t) => WHEN.format(new Date(t));
export const clock = (t) => CLOCK.format(new Date(t));
export const tokens = (u) => (u?.input_tokens ?? 0) + (u?.output_tokens ?? 0);

/** Millionths of a US dollar as dollars; small amounts keep their digits. */
export function money(micro) {
  if (!micro) return "$0";
  const usd = micro / 1e6;
  if (usd < 0.0001) return "< $0.0001";
  return "$" + (usd >= 1 ? usd.toFixed(2) : usd >= 0.01 ? usd.toFixed(3).replace(/0$/, "") : usd.toFixed(4));
}

/** A span of milliseconds, with two units at most. */
export function span(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0) ms = 0;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? s.toFixed(1).replace(".0", "") : Math.round(s)} s`;
  const whole = Math.round(s);
  const two = (big, unit, small, smaller) => `${Math.floor(whole / big)} ${unit}` + (Math.floor((whole % big) / small) ? ` ${Math.floor((whole % big) / small)} ${smaller}` : "");
  if (whole < 3600) return two(60, "m", 1, "s");
  if (whole < 86_400) return two(3600, "h", 60, "m");
  return two(86_400, "d", 3600, "h");
}

/** How long before or after now, in one unit. */
export function relative(ms) {
  const s = Math.abs(ms) / 1000;
  const [n, unit] = s < 60 ? [s, "s"] : s < 3600 ? [s / 60, "m"] : s < 86_400 ? [s / 3600, "h"] : [s / 86_400, "d"];
  if (s < 3) return "now";
  return ms < 0 ? `in ${Math.floor(n)} ${unit}` : `${Math.floor(n)} ${unit} ago`;
}

/** A Go duration, as "1h30m0.5s" or nanoseconds, in milliseconds. */
export function durationMs(d) {
  if (typeof d === "number") return d / 1e6;
  let ms = 0;
  for (const [, n, unit] of String(d ?? "").matchAll(/([\d.]+)(h|ms|m|s|µs|us|ns)/g)) {
    ms += Number(n) * { h: 3_600_000, m: 60_000, s: 1000, ms: 1, "µs": 1e-3, us: 1e-3, ns: 1e-6 }[unit];
  }
  return ms;
}

// Characters that are not seen, or turn around what stands after them.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]|[\u{e0000}-\u{e0fff}]/gu;

/** A text in which nothing is hidden: what is not seen, or changes how the rest is read, is written as its code. */
export const visible = (text) => String(text).replace(HIDDEN, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

/** An argument for a POSIX shell. */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`);

/** A request as a line for a shell. The token is not part of it. */
export function curl(path, { method = "GET", body, accept } = {}) {
  const parts = ["curl", "-sS"];
  if (accept) parts.push("-N", "-H", quote(`Accept: ${accept}`));
  parts.push("-H", '"Authorization: Bearer $POLITY_TOKEN"');
  if (method !== "GET") parts.push("-X", method, "-H", quote("Content-Type: application/json"), "-d", quote(JSON.stringify(body ?? {})));
  parts.push(quote(location.origin + path));
  return parts.join(" ");
}
