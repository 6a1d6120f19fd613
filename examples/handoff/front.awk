# The front desk: finds the order that a call is about, and who is to look into it.
BEGIN {
	json()
	asked = V["request.question"]
	if (!match(asked, /[0-9][0-9][0-9][0-9]/)) answer("Which order is it about? Please name its number of four digits.")
	order = substr(asked, RSTART, 4)
	while ((getline line < ARGV[1]) > 0) { split(line, f, "\t"); if (f[1] == order) who = f[2] }
	if (who == "") answer("There is no order " order ".")
	work = "{\"order\":" text(order) "}"
	if (tolower(asked) ~ /paid|pay|charge|money|refund|bill/) hand("billing", "it is about money", "order " order " of " who, work)
	if (tolower(asked) ~ /where|parcel|arrive|sent|deliver/) hand("stock", "it is about a parcel", "order " order " of " who, work)
	answer("Is it about the payment of order " order ", or about its delivery?")
}
