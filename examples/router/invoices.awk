# Looks up the invoices whose numbers stand in a mail.
BEGIN {
	json()
	all = V["subject"] " " V["text"]
	printf "{\"invoices\":["
	while (match(all, /INV-[0-9]+/)) {
		number = substr(all, RSTART, RLENGTH)
		all = substr(all, RSTART + RLENGTH)
		if (number in told) continue
		told[number] = 1
		status = "unknown"; owed = "null"
		while ((getline line < ARGV[1]) > 0) {
			split(line, f, "\t")
			if (f[1] == number) { status = f[4] " since " f[5]; owed = f[4] == "open" ? f[3] : "0.00" }
		}
		close(ARGV[1])
		printf "%s{\"number\":%s,\"status\":%s,\"owed\":%s}", sep, text(number), text(status), owed
		sep = ","
	}
	print "]}"
}
