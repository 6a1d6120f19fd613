#!/bin/sh
# count.sh: judges as far as code can. It counts the quotes of each candidate that stand where they are said to stand, and weighs nothing.
set -eu
awk '
	{ asked = asked $0 }
	END {
		n = split(asked, parts, /\{"candidate":"/)
		for (i = 2; i <= n; i++) {
			letter = substr(parts[i], 1, 1)
			verified = gsub(/"status":"verified"/, "", parts[i])
			reasons = reasons (i == 2 ? "" : "; ") letter ": " verified " verified quotes"
			if (i == 2 || verified > most) { most = verified; best = letter; same = 0 } else if (verified == most) same = 1
		}
		if (most == 0) best = "insufficient"; else if (same) best = "tie"
		printf "{\"verdict\":\"%s\",\"reasons\":\"Counted, not weighed. %s.\"}\n", best, reasons
	}
'
