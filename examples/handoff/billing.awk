# Billing: compares what was paid with the price. How many pieces were sent only the stock knows.
BEGIN {
	json()
	last = "history." (N["history"] - 1) ".work."
	order = V[last "order"]
	while ((getline line < ARGV[1]) > 0) { split(line, f, "\t"); if (f[1] == order) { price = f[4]; what = f[3] } }
	while ((getline line < ARGV[2]) > 0) { split(line, f, "\t"); if (f[1] == order) { paid += f[3]; times++ } }
	if (times == 1) answer(sprintf("Order %s was paid once, %.2f, which is its price.", order, paid))
	if (!((last "sent") in V)) {
		hand("stock", "it was paid " times " times; was it sent as often?", sprintf("order %s: price %.2f, paid %.2f", order, price, paid),
			sprintf("{\"order\":%s,\"paid\":%.2f,\"price\":%.2f}", text(order), paid, price))
	}
	sent = V[last "sent"] + 0
	if (paid > price * sent) answer(sprintf("Order %s was paid %d times and sent %d times: %.2f is refunded.", order, times, sent, paid - price * sent))
	answer(sprintf("Order %s was paid %d times, and the %s was sent %d times: nothing is to be refunded.", order, times, what, sent))
}
