// What helps to write filters for runs.
import { get } from "./api.js";

let asked;

/** The fields by which runs can be asked for, [{name, kind, choices, doc}], as the node knows them. */
export function fields() {
  asked ??= get("/v1/fields", { query: { of: "runs" } }).then((d) => d.items, () => { asked = undefined; return []; });
  return asked;
}

export const VIEWS = [
  ["All", ""],
  ["Active", "status:running"],
  ["Failed", "status:failed,exhausted"],
  ["Last hour", "started>-1h"],
  ["Costly", "cost>0.5"],
];

export const EXAMPLES = [
  ["status:failed,exhausted started>-24h", "ended badly, begun in the last day"],
  ["agent:review* took>5m", "agents whose name begins with review, longer than five minutes"],
  ["cost>=0.5 -status:cancelled", "cost half a dollar or more, and were not cancelled"],
  ["waiting:signal", "wait for a signal now"],
  ["\"refund\" tool:crm.*", "say refund somewhere, and called a tool of crm"],
];

/** The query with a term added at the end. */
export const withTerm = (q, term) => (q.trim() ? `${q.trim()} ${term}` : term);
