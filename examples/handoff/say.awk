# What whoever is in control says: an answer, or to whom it hands over.
function answer(s) { print "{\"answer\":" text(s) "}"; exit }
function hand(to, reason, summary, work) {
	print "{\"handoff\":{\"to\":" text(to) ",\"reason\":" text(reason) ",\"summary\":" text(summary) ",\"work\":" work "}}"
	exit
}
