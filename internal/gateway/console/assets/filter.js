// The fields by which runs can be asked for. A test compares the list with the node's own.
export const FIELDS = [
  ["agent", "whose run it is"],
  ["team", "the agent that asked for it; at a root its own"],
  ["skill", "what was asked for"],
  ["status", "where it stands"],
  ["fault", "the kind of its fault, as in timeout"],
  ["started", "when it was opened"],
  ["ended", "when it ended"],
  ["took", "how long it took, if it ended"],
  ["cost", "US dollars, with everything below"],
  ["tokens", "of input and output, with everything below"],
  ["turns", "commands done, with everything below"],
  ["id", "its ID"],
  ["release", "hex digest of what it was opened with"],
  ["fork", "of which run it is a fork"],
  ["conversation", "the key of the conversation that it is part of"],
  ["paused", "whether it is paused"],
  ["undoing", "whether it was cancelled and has not ended: it undoes what it did"],
  ["waiting", "what it waits for now, as signal, \"signal paid\", topic or time"],
  ["signal", "a signal that it, or a run below it, was told"],
  ["published", "a topic on which it, or a run below it, published"],
  ["tool", "a tool that it, or a run below it, called"],
  ["model", "a model that it, or a run below it, asked"],
  ["with", "an agent whose run stands below it"],
];

export const STATUSES = ["running", "completed", "exhausted", "failed", "cancelled"];

export const VIEWS = [
  ["All", ""],
  ["At work", "status:running"],
  ["Failed", "status:failed,exhausted"],
  ["Last hour", "started>-1h"],
  ["Dear", "cost>0.5"],
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
