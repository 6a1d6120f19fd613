# The stock: knows what was sent.
BEGIN {
	json()
	last = "history." (N["history"] - 1) ".work."
	order = V[last "order"]
	while ((getline line < ARGV[1]) > 0) {
		split(line, f, "\t")
		if (f[1] == order) { sent++; all = all (sent > 1 ? "; " : "") "sent " f[2] ", " f[3] }
	}
	if (V["from"] == "billing") hand("billing", "that is how often it was sent", "order " order " was sent " sent " times", "{\"order\":" text(order) ",\"sent\":" sent + 0 "}")
	answer(sent == 0 ? "Order " order " was not sent yet." : "Order " order ": " all ".")
}
