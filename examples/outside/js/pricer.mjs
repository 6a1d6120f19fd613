// An agent in a process of its own, in JavaScript: it knows what things cost. It speaks docs/spec/bus.md with the npm client of NATS.
//
//   polity bus creds pricer && npm install && node pricer.mjs pricer.creds
import { readFileSync } from "node:fs";
import { connect, headers, nkeyAuthenticator, nkeys, StringCodec } from "nats";

const creds = JSON.parse(readFileSync(process.argv[2], "utf8"));
const self = creds.agent;
const text = StringCodec();
const cents = { apple: 40, pear: 55 };

const nc = await connect({
  servers: creds.url.replace(/^(nats|tls):\/\//, ""),
  authenticator: nkeyAuthenticator(text.encode(creds.seed)),
  inboxPrefix: `_INBOX_${self}`,
  tls: creds.ca ? { ca: creds.ca } : undefined,
  maxReconnectAttempts: -1,
});

// Answers that were given, for whoever asks again: the same ID is the same question.
const given = new Map();

// say sends an answer to whoever asked, until it is taken.
async function say(question, performative, data) {
  const from = question.headers.get("ce-source"); // agent:NAME
  const h = headers();
  h.set("ce-specversion", "1.0");
  h.set("ce-id", `${question.headers.get("ce-id")}.${performative}`);
  h.set("ce-source", `agent:${self}`);
  h.set("ce-recipients", from);
  h.set("ce-type", "run.polity.result");
  h.set("ce-performative", performative);
  h.set("ce-correlationid", question.headers.get("ce-id"));
  const subject = `msg.${self}.${from.slice("agent:".length)}.${performative}`;
  for (;;) {
    try {
      const taken = await nc.request(subject, text.encode(data), { headers: h, timeout: 5000 });
      const { error } = JSON.parse(text.decode(taken.data));
      if (error) console.error(`not taken: ${error.text}`);
      return;
    } catch (e) {
      if (nc.isClosed()) throw e; // else nobody took it yet
    }
  }
}

function price({ item, count }) {
  if (!(item in cents)) throw new Error(`there are no ${item}s`);
  return { cents: cents[item] * count };
}

async function answer(question) {
  const id = question.headers.get("ce-id");
  if (!given.has(id)) {
    try {
      given.set(id, ["inform", JSON.stringify(price(JSON.parse(text.decode(question.data))))]);
    } catch (e) {
      given.set(id, ["failure", JSON.stringify({ kind: "not-found", text: e.message })]);
    }
  }
  await say(question, ...given.get(id));
}

// A live question is answered once, where it wants to be: nothing of it is kept.
function answerLive(err, question) {
  if (err) return console.error(err);
  try {
    question.respond(text.encode(JSON.stringify(price(JSON.parse(text.decode(question.data))))));
  } catch (e) {
    const h = headers();
    h.set("ce-performative", "failure");
    question.respond(text.encode(JSON.stringify({ kind: "not-found", text: e.message })), { headers: h });
  }
}

const here = (state) => nc.publish(`ctl.${self}.here`, text.encode(JSON.stringify({ instance: `js-${process.pid}`, state, version: "1.0.0" })));

// nats micro asks for this.
const service = await nc.services.add({ name: self, version: "1.0.0", queue: "agents" });
service.addEndpoint("request", { subject: `box.${self}.request`, handler: (err, m) => (err ? console.error(err) : answer(m).catch(console.error)) });
service.addEndpoint("live", { subject: `box.${self}.live`, handler: answerLive });

await nc.flush();
here("serving");
const beat = setInterval(() => here("serving"), 10_000);
// When half of their time is over the credentials get new time, with the same key.
const renew = setInterval(async () => {
  if (Date.parse(creds.until) - Date.now() > (Date.parse(creds.until) - Date.parse(creds.since)) / 2) return;
  const taken = JSON.parse(text.decode((await nc.request(`ctl.${self}.renew`, text.encode(JSON.stringify({ key: publicKey() })), { timeout: 5000 })).data));
  if (taken.admission) Object.assign(creds, { since: taken.admission.since, until: taken.admission.until });
}, 10_000);

function publicKey() {
  return nkeys.fromSeed(text.encode(creds.seed)).getPublicKey();
}

process.on("SIGINT", async () => {
  clearInterval(beat);
  clearInterval(renew);
  here("gone");
  await nc.drain();
});
console.log(`${self} answers`);
await nc.closed();
