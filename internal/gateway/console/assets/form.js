// Forms made of JSON Schemas. What a form cannot say is written as JSON; the node checks everything again.
import { html } from "./html.js";
import { visible } from "./format.js";

const DEPTH_MOST = 4;

const typeOf = (s) => (Array.isArray(s?.type) ? s.type.find((t) => t !== "null") : s?.type);
const known = (s, depth) => {
  if (!s || depth > DEPTH_MOST || s.$ref || s.anyOf || s.oneOf || s.allOf) return false;
  if (s.enum) return s.enum.every((v) => ["string", "number"].includes(typeof v));
  const t = typeOf(s);
  return ["string", "number", "integer", "boolean"].includes(t) || (t === "object" && Object.keys(fieldsOf(s)).length > 0);
};
const text = (v) => (v === undefined ? "" : typeof v === "string" ? v : JSON.stringify(v));

/** The fields of an object: those that are described, and those that have to be there without it. */
const fieldsOf = (s) => ({ ...s.properties, ...Object.fromEntries((s.required ?? []).filter((k) => !s.properties?.[k]).map((k) => [k, {}])) });

/** What a form of a schema begins with: texts, as they are written, in objects like the schema's. */
export function initial(s, depth = 0) {
  if (!known(s, depth)) return text(s?.default ?? s?.examples?.[0]);
  if (s.enum) return text(s.default);
  const t = typeOf(s);
  if (t === "object") return Object.fromEntries(Object.entries(fieldsOf(s)).map(([k, p]) => [k, initial(p, depth + 1)]));
  if (t === "boolean") return s.default ?? false;
  return text(s.default);
}

/** The value that a form says. What is left empty and need not be there is left out. It throws for what is no JSON. */
export function gather(s, v, name = "the input", depth = 0) {
  if (!known(s, depth)) {
    if (v === "") return undefined;
    try { return JSON.parse(v); } catch (e) {
      if (!s || !typeOf(s)) return v; // whoever may write anything may write a text
      throw new Error(`${name}: ${e.message}`);
    }
  }
  const t = typeOf(s);
  if (s.enum) return s.enum.find((x) => text(x) === v);
  if (t === "boolean") return Boolean(v);
  if (t === "object") {
    const out = {};
    for (const [k, p] of Object.entries(fieldsOf(s))) {
      const x = gather(p, v[k], k, depth + 1);
      if (x !== undefined && (s.required?.includes(k) || !(typeof x === "object" && !Array.isArray(x) && Object.keys(x).length === 0))) out[k] = x;
    }
    return out;
  }
  if (v === "") return undefined;
  if (t === "string") return v;
  if (!Number.isFinite(Number(v))) throw new Error(`${name}: ${v} is no number`);
  return Number(v);
}

export function Fields({ schema: s, value, onChange, name, label, required = false, depth = 0 }) {
  const title = label ?? visible(s?.title ?? name);
  const about = s?.description && html`<small>${visible(s.description)}</small>`;
  const id = "f-" + name;
  if (!known(s, depth)) {
    return html`<label class="field"><span>${title}${!required && html` <em>${s && typeOf(s) ? "as JSON" : "as text or JSON"}</em>`}</span>${about}<textarea id=${id} class="mono" rows=${typeOf(s) === "array" ? 3 : depth ? 1 : 3} spellcheck=${false} required=${required} value=${value} onInput=${(e) => onChange(e.target.value)}></textarea></label>`;
  }
  const t = typeOf(s);
  if (t === "object" && !s.enum) {
    const inner = Object.entries(fieldsOf(s)).map(([k, p]) => html`<${Fields} key=${k} schema=${p} name=${`${name}.${k}`} label=${visible(p.title ?? k)} required=${s.required?.includes(k)} value=${value[k]} onChange=${(v) => onChange({ ...value, [k]: v })} depth=${depth + 1} />`);
    return depth === 0 ? html`<div>${inner}</div>` : html`<fieldset><legend>${title}</legend>${about}${inner}</fieldset>`;
  }
  if (t === "boolean") return html`<label class="check"><input type="checkbox" checked=${Boolean(value)} onChange=${(e) => onChange(e.target.checked)} />${title}${about}</label>`;
  const optional = !required && html` <em>optional</em>`;
  if (s.enum) return html`<label class="field"><span>${title}${optional}</span>${about}<select id=${id} required=${required} value=${value} onChange=${(e) => onChange(e.target.value)}><option value="">–</option>${s.enum.map((o) => html`<option value=${text(o)}>${visible(text(o))}</option>`)}</select></label>`;
  const number = t === "number" || t === "integer";
  const long = t === "string" && !s.maxLength && !s.format && !s.pattern;
  return html`<label class="field"><span>${title}${optional}</span>${about}${long
    ? html`<textarea id=${id} rows="2" required=${required} minlength=${s.minLength} value=${value} onInput=${(e) => onChange(e.target.value)}></textarea>`
    : html`<input id=${id} type=${number ? "number" : s.format === "date" ? "date" : "text"} step=${t === "integer" ? 1 : number ? "any" : undefined} min=${s.minimum} max=${s.maximum} minlength=${s.minLength} maxlength=${s.maxLength} pattern=${s.pattern} required=${required} value=${value} onInput=${(e) => onChange(e.target.value)} />`}</label>`;
}
