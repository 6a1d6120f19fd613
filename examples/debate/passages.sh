#!/bin/sh
# passages.sh MEMO NAME: reads out what the memo says, as far as it has to do with what was asked. It argues nothing: each argument is a
# line of the memo, quoted with the file NAME and its number. An opening takes the memo's reasons, a response its answers.
set -eu
asked=$(cat)
section=Answers
case $asked in *'"duty":"open"'*) section=Reasons ;; esac
printf '%s\n' "$asked" | awk -v section="$section" -v name="$2" '
	function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
	NR == FNR { sub(/"guidance":"[^"]*"/, ""); asked = asked tolower($0); next }
	/^## / { in_section = ($0 == "## " section); next }
	!in_section || !NF { next }
	{
		shared = 0
		n = split(tolower($0), words, /[^a-z]+/)
		for (i = 1; i <= n; i++) if (length(words[i]) > 3 && index(asked, words[i])) shared++
		if (shared < 1) next
		found = found (found == "" ? "" : ",") "{\"text\":" text($0) ",\"quotes\":[{\"file\":" text(name) ",\"line\":" FNR ",\"text\":" text($0) "}]}"
		count++
	}
	END { printf "{\"statement\":%s,\"arguments\":[%s]}\n", text("Read out of " name ", " section ": " count + 0 " of its lines."), found }
' - "$1"
