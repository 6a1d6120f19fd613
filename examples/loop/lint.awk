function problem(kind, n, what) {
	if (!(kind in seen)) { seen[kind] = 1; kinds = kinds (kinds == "" ? "" : ", ") kind }
	if (!(n in bad)) { bad[n] = 1; badLines++ }
	if (found++ < 20) evidence = evidence (evidence == "" ? "" : ",") quoted("line " n ": " what)
}

{ input = input $0 }

END {
	candidate = text(input, "\"candidate\":{\"text\":\"")
	lines = split(candidate, line, "\n")
	if (line[lines] == "") lines--
	else problem("no-newline", lines, "the last line has no end")
	for (n = 1; n <= lines; n++) {
		if (line[n] ~ /\t/) problem("tabs", n, "a tab")
		if (length(line[n]) > 72) problem("long", n, length(line[n]) " characters; at most 72")
		if (line[n] ~ /[ \t]$/) problem("spaces", n, "white space at its end")
		if (n > 1 && line[n] == "" && line[n-1] == "") problem("blank", n, "a second blank line")
	}
	score = lines ? (lines - badLines) / lines : 0
	printf "{\"score\":%.3f,\"pass\":%s,\"critique\":%s,\"evidence\":[%s]}\n", score, found ? "false" : "true", quoted(kinds), evidence
}
