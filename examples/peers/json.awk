# Reads JSON from standard input: json() fills V with the values by path, as in V["request.subject"], and N with how many
# items a list has. text(s) writes a text as JSON. It reads what polity writes; it is no checker.
function json(    line) {
	while ((getline line < "-") > 0) TEXT = TEXT line " "
	AT = 1
	value("")
}
function value(path,    c, i, key, start) {
	blanks()
	c = substr(TEXT, AT, 1)
	if (c == "{") {
		AT++; blanks()
		while (substr(TEXT, AT, 1) != "}" && AT <= length(TEXT)) {
			blanks(); key = string(); blanks(); AT++ # the colon
			value(path == "" ? key : path "." key)
			blanks(); if (substr(TEXT, AT, 1) == ",") AT++
			blanks()
		}
		AT++
	} else if (c == "[") {
		AT++; blanks()
		for (i = 0; substr(TEXT, AT, 1) != "]" && AT <= length(TEXT); i++) {
			value(path == "" ? i : path "." i)
			blanks(); if (substr(TEXT, AT, 1) == ",") AT++
			blanks()
		}
		N[path] = i
		AT++
	} else if (c == "\"") {
		V[path] = string()
	} else {
		start = AT
		while (AT <= length(TEXT) && substr(TEXT, AT, 1) !~ /[],} \t]/) AT++
		V[path] = substr(TEXT, start, AT - start)
	}
}
function blanks() { while (substr(TEXT, AT, 1) ~ /[ \t]/) AT++ }
function string(    c, out) {
	for (AT++; AT <= length(TEXT); AT++) {
		c = substr(TEXT, AT, 1)
		if (c == "\"") { AT++; return out }
		if (c == "\\") {
			c = substr(TEXT, ++AT, 1)
			if (c == "n" || c == "t" || c == "r") c = " "
			if (c == "u") { c = "?"; AT += 4 }
		}
		out = out c
	}
	return out
}
function text(s) {
	gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[\t\n\r]/, " ", s)
	return "\"" s "\""
}
