// The keyboard. A screen says what its keys do while it is shown; single letters can be switched off.
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { go, href } from "./router.js";

const PREFIX_MS = 1200;
const stored = (() => { try { return localStorage.getItem("polity.keys"); } catch { return null; } })();

/** Whether single letters do something. */
export const letters = signal(stored !== "off");
/** Whether the list of keys is shown, and the palette. */
export const helping = signal(false);
export const searching = signal(false);

export const JUMPS = { o: ["overview", "Overview"], r: ["runs", "Runs"], a: ["approvals", "Approvals"], n: ["orgs", "Organizations"], s: ["start", "Start a run"] };

export function setLetters(on) {
  letters.value = on;
  try { localStorage.setItem("polity.keys", on ? "on" : "off"); } catch { /* then it holds for this page */ }
}

const screens = [];

/** Has keys do something while a screen is shown: keys is {key: {does, run}}, as it was drawn last: a key that is held down loses no step. */
export function useKeys(keys) {
  const drawn = useRef(keys);
  drawn.current = keys;
  useEffect(() => {
    screens.push(drawn);
    return () => { screens.splice(screens.indexOf(drawn), 1); };
  }, []);
}

/** Everything that keys do now, for the list. */
export const described = () => screens.flatMap((keys) => Object.entries(keys.current).map(([key, { does }]) => [key, does]));

let prefix = 0;

export function listen() {
  addEventListener("keydown", (e) => {
    if ((e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === "k") {
      e.preventDefault();
      searching.value = !searching.value;
      return;
    }
    const writing = e.target.closest?.("input, textarea, select, [contenteditable]");
    if (e.ctrlKey || e.metaKey || e.altKey || writing || !letters.value || document.querySelector("dialog[open]")) return;
    if (e.timeStamp - prefix < PREFIX_MS && JUMPS[e.key]) {
      prefix = 0;
      e.preventDefault();
      go(href(JUMPS[e.key][0]));
      return;
    }
    prefix = 0;
    if (e.key === "g") { prefix = e.timeStamp; return; }
    if (e.key === "?") { e.preventDefault(); helping.value = true; return; }
    for (const keys of [...screens].reverse()) {
      const found = keys.current[e.key];
      if (!found || (e.key === "Enter" && e.target.closest?.("a, button, summary"))) continue;
      e.preventDefault();
      found.run();
      return;
    }
  });
}
