# The whole ledger of an order, for somebody who writes about it.
BEGIN {
	json()
	order = V["history." (N["history"] - 1) ".work.order"]
	while ((getline line < ARGV[1]) > 0) { split(line, f, "\t"); if (f[1] == order) { price = f[4]; what = f[3] } }
	while ((getline line < ARGV[2]) > 0) { split(line, f, "\t"); if (f[1] == order) { paid += f[3]; times++ } }
	while ((getline line < ARGV[3]) > 0) { split(line, f, "\t"); if (f[1] == order) sent++ }
	if (what == "") answer("There is no order " order ".")
	hand("writer", "the figures are there", "order " order ": paid " times + 0 " times, sent " sent + 0 " times",
		sprintf("{\"order\":%s,\"what\":%s,\"price\":%.2f,\"paid\":%.2f,\"sent\":%d,\"owed_to_customer\":%.2f}", text(order), text(what), price, paid, sent, paid - price * sent))
}
