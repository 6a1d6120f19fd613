# The little that these programs need of JSON: the text of a string, and a text as a string.

# text returns the string that follows the first occurrence of key in s, decoded; "" if there is none.
function text(s, key,    i, c, out) {
	i = index(s, key)
	if (i == 0) return ""
	for (i += length(key); (c = substr(s, i, 1)) != "\""; i++) {
		if (c == "") return ""
		if (c != "\\") { out = out c; continue }
		c = substr(s, ++i, 1)
		if (c == "n") c = "\n"
		if (c == "t") c = "\t"
		out = out c
	}
	return out
}

# quoted returns s as a JSON string.
function quoted(s) {
	gsub(/\\/, "\\\\", s)
	gsub(/"/, "\\\"", s)
	gsub(/\n/, "\\n", s)
	gsub(/\t/, "\\t", s)
	return "\"" s "\""
}
