# A carrier: bids for a parcel what it costs to put it into its tour where that is cheapest, and drives there once the bid is accepted.
# ARGV[1] is the tour, ARGV[2] how much it can load.
function distance(a, b) { return sqrt((x[a] - x[b]) ^ 2 + (y[a] - y[b]) ^ 2) }
function read_tour(    i, n, parts, xy) {
	if ("state.tour" in V) {
		stops = split(V["state.tour"], parts, " ")
		for (i = 1; i <= stops; i++) { split(parts[i], xy, ","); x[i] = xy[1]; y[i] = xy[2] }
		load = V["state.load"] + 0
		return
	}
	while ((getline line < ARGV[1]) > 0) { split(line, xy, "\t"); x[++stops] = xy[1]; y[stops] = xy[2] }
}
function cheapest(px, py,    i, extra) { # the tour ends at its last stop
	x[0] = px; y[0] = py
	for (i = 1; i <= stops; i++) {
		extra = distance(i, 0) + (i < stops ? distance(0, i + 1) - distance(i, i + 1) : 0)
		if (i == 1 || extra < cost) { cost = extra; after = i }
	}
}
function insert(px, py,    i) {
	for (i = stops; i > after; i--) { x[i + 1] = x[i]; y[i + 1] = y[i] }
	x[after + 1] = px; y[after + 1] = py; stops++
}
function tour(    i, out) { for (i = 1; i <= stops; i++) out = out (i > 1 ? " " : "") x[i] "," y[i]; return text(out) }
BEGIN {
	json(); read_tour()
	bid = "state.bid."
	pid = V[bid "parcel"]; px = V[bid "x"]; py = V[bid "y"]; pw = V[bid "weight"]
	for (m = 0; m < N["messages"]; m++) {
		at = "messages." m "."; kind = V[at "kind"]; id = V[at "id"]
		if (kind == "accept" && pid != "") {
			cheapest(px, py); insert(px, py); load += pw; pid = ""
		} else if (kind == "reject") {
			pid = ""
		} else if (kind == "cfp") {
			pid = V[at "body.parcel"]; px = V[at "body.x"]; py = V[at "body.y"]; pw = V[at "body.weight"]
			if (load + pw > ARGV[2]) {
				say("", "refuse", id, "{\"why\":\"capacity\"}"); pid = ""
			} else {
				cheapest(px, py)
				say("", "propose", id, sprintf("{\"parcel\":%s,\"cost\":%.2f}", text(pid), cost))
			}
		}
	}
	state = "{\"tour\":" tour() ",\"load\":" load + 0
	if (pid != "") state = state sprintf(",\"bid\":{\"parcel\":%s,\"x\":%d,\"y\":%d,\"weight\":%d}", text(pid), px, py, pw)
	end(state "}", "")
}
