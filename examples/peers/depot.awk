# The depot: a contract net. For each parcel it calls for proposals, waits for a word of everybody whom it asked, and only then accepts
# the cheapest bid (the first name of equal ones) and rejects the others. If nobody can take a parcel it invites who is not there yet. Bids are sealed: on a star nobody but the depot sees them.
function call_next(    m) {
	while (next_parcel <= parcels) {
		got = 0; bids = 0; want = 0
		for (m = 0; m < N["members"]; m++) if (invited || V["members." m ".absent"] != "true") want++
		say("*", "cfp", "", sprintf("{\"parcel\":%s,\"x\":%d,\"y\":%d,\"weight\":%d}", text(p[next_parcel]), px[next_parcel], py[next_parcel], pw[next_parcel]), p[next_parcel])
		return
	}
	say("", "response", ask, "{\"parcels\":[" given "],\"total\":" sprintf("%.2f", total) "}")
	ask = ""
}
function absent(    m) { for (m = 0; m < N["members"]; m++) if (V["members." m ".absent"] == "true") return 1; return 0 }
function decide(    i, best) {
	if (!bids && !invited && absent()) { # nobody can: those are invited who are not there yet, and all are asked again
		invited = 1
		say("*", "invite", "", "{}")
		call_next()
		return
	}
	for (i = 1; i <= bids; i++) if (!best || cost[i] + 0 < cost[best] + 0 || cost[i] + 0 == cost[best] + 0 && from[i] < from[best]) best = i
	for (i = 1; i <= bids; i++) say("", i == best ? "accept" : "reject", bid[i], "{}")
	given = given (given == "" ? "" : ",") "{\"parcel\":" text(p[next_parcel]) (best ? ",\"carrier\":" text(from[best]) ",\"cost\":" cost[best] : ",\"carrier\":null") ",\"bids\":" bids "}"
	if (best) total += cost[best]
	next_parcel++
	call_next()
}
BEGIN {
	while ((getline line < ARGV[1]) > 0) { split(line, f, "\t"); p[++parcels] = f[1]; px[parcels] = f[2]; py[parcels] = f[3]; pw[parcels] = f[4] }
	json()
	ask = V["state.ask"]; next_parcel = V["state.next"] + 0; want = V["state.want"] + 0; got = V["state.got"] + 0; total = V["state.total"] + 0; invited = V["state.invited"] + 0
	for (i = 0; i < N["state.given"]; i++) { # as it was
		g = "state.given." i "."
		given = given (given == "" ? "" : ",") "{\"parcel\":" text(V[g "parcel"]) ",\"carrier\":" (V[g "carrier"] == "null" ? "null" : text(V[g "carrier"])) (((g "cost") in V) ? ",\"cost\":" V[g "cost"] : "") ",\"bids\":" V[g "bids"] "}"
	}
	bids = N["state.bids"] + 0
	for (i = 1; i <= bids; i++) { b = "state.bids." (i - 1) "."; from[i] = V[b "from"]; bid[i] = V[b "id"]; cost[i] = V[b "cost"] }
	for (m = 0; m < N["messages"]; m++) {
		at = "messages." m "."; kind = V[at "kind"]
		if (kind == "request") { ask = V[at "id"]; next_parcel = 1; call_next(); continue }
		if (ask == "" || V[at "conversation"] != p[next_parcel]) continue # a late word about an earlier parcel
		if (kind == "propose") { bids++; from[bids] = V[at "from"]; bid[bids] = V[at "id"]; cost[bids] = V[at "body.cost"]; got++ }
		else if (kind == "refuse" || kind == "failure" || kind == "undeliverable" || kind == "no_answer") got++
		if (got == want) decide()
	}
	kept = ""
	for (i = 1; i <= bids && ask != ""; i++) kept = kept (i > 1 ? "," : "") "{\"from\":" text(from[i]) ",\"id\":" text(bid[i]) ",\"cost\":" cost[i] "}"
	end("{\"ask\":" text(ask) ",\"next\":" next_parcel ",\"want\":" want ",\"got\":" got ",\"total\":" sprintf("%.2f", total) ",\"invited\":" invited ",\"bids\":[" kept "],\"given\":[" given "]}", ask == "" ? ",\"done\":true" : "")
}
