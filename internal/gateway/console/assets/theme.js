// Before the first paint: the theme that was chosen, or else the system's.
"use strict";
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("polity.theme"); } catch { /* storage may be switched off */ }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = () => { document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", set);
  addEventListener("polity-theme", (e) => { chosen = e.detail; set(); });
  set();
})();
