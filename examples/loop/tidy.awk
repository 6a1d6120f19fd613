function whole(file,    s, l, n) {
	while ((getline l < file) > 0) s = s (n++ ? "\n" : "") l
	return s # whether the last line had an end is not known: that it has none is the careful guess
}

# wrapped breaks a line at spaces so that no part is longer than 72.
function wrapped(s,    out, i) {
	while (length(s) > 72) {
		for (i = 73; i > 1 && substr(s, i, 1) != " "; i--) ;
		if (i <= 1) break
		out = out substr(s, 1, i - 1) "\n"
		s = substr(s, i + 1)
	}
	return out s
}

function expanded(s,    out, i, c) {
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		if (c != "\t") { out = out c; continue }
		do out = out " "; while (length(out) % 8)
	}
	return out
}

{ input = input $0 }

END {
	best = text(input, "\"best\":{\"text\":\"")
	if (best == "") { printf "{\"text\":%s}\n", quoted(whole(letter)); exit }
	kinds = split(text(input, "\"critique\":\""), kind, ", ")
	what = kind[index(input, "\"tried\":\"") ? kinds : 1]
	lines = split(best, line, "\n")
	blank = 0
	for (n = 1; n <= lines; n++) {
		s = line[n]
		if (what == "tabs") s = expanded(s)
		if (what == "long") s = wrapped(s)
		if (what == "spaces") sub(/[ \t]+$/, "", s)
		if (what == "blank" && s == "" && blank && n < lines) continue
		blank = s == ""
		out = out (n > 1 ? "\n" : "") s
	}
	if (what == "no-newline") out = out "\n"
	printf "{\"text\":%s}\n", quoted(out)
}
