#!/bin/sh
# Says which paths break the rule: at most 20 of 100 requests may fail, and none may take longer than 2 seconds.
tr '{' '\n' | awk -F'[:,}"]+' '
	/^"path"/ {
		for (i = 1; i < NF; i++) { if ($i == "path") p = $(i+1); if ($i == "requests") n = $(i+1); if ($i == "failed") f = $(i+1); if ($i == "slowest_ms") s = $(i+1) }
		why = ""
		if (f * 100 > n * 20) why = f " of " n " requests failed"
		if (s > 2000) why = why (why == "" ? "" : ", ") "the slowest took " s " ms"
		if (why != "") { out = out (k++ ? "," : "") "{\"path\":\"" p "\",\"why\":\"" why "\"}" }
	}
	END { printf "{\"broken\":[%s]}\n", out }'
