# Looks up the orders of whoever sent a mail.
BEGIN {
	json()
	printf "{\"orders\":["
	while ((getline line < ARGV[1]) > 0) {
		split(line, f, "\t")
		if (f[2] != V["from"]) continue
		printf "%s{\"number\":%s,\"what\":%s,\"status\":%s}", sep, text(f[1]), text(f[3]), text(f[4] " since " f[5])
		sep = ","
	}
	print "]}"
}
