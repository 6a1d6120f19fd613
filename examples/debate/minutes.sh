#!/bin/sh
# minutes.sh DOCUMENT NAME: answers with the number of minutes a month that the document states, and quotes the line. It abstains where
# the document states none.
set -eu
cat >/dev/null
awk -v name="$2" '
	function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
	match($0, /[0-9]+ minutes a month/) {
		split(substr($0, RSTART, RLENGTH), words, " ")
		printf "{\"answer\":%s,\"arguments\":[{\"text\":%s,\"quotes\":[{\"file\":%s,\"line\":%d,\"text\":%s}]}]}\n", text(words[1]), text("It is written in " name "."), text(name), FNR, text($0)
		found = 1
		exit
	}
	END { if (!found) print "{\"answer\":\"\"}" }
' "$1"
