#!/bin/sh
# Counts the requests of a log by path and kind of status. The question is not read: what is counted is always the same.
exec awk '
	{ path = $3; sub(/\/[0-9]+$/, "/N", path); all[path]++; if ($4 >= 500) bad[path]++; if ($5 > slowest[path]) slowest[path] = $5 }
	END {
		n = 0
		for (p in all) names[++n] = p
		for (i = 2; i <= n; i++) for (j = i; j > 1 && names[j-1] > names[j]; j--) { t = names[j]; names[j] = names[j-1]; names[j-1] = t }
		printf "{\"requests\":%d,\"paths\":[", NR
		for (i = 1; i <= n; i++) { p = names[i]; printf "%s{\"path\":\"%s\",\"requests\":%d,\"failed\":%d,\"slowest_ms\":%d}", (i > 1 ? "," : ""), p, all[p], bad[p], slowest[p] }
		print "]}"
	}' "$POLITY_FOLDER/access.log"
