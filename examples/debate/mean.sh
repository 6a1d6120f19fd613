#!/bin/sh
# mean.sh: answers with the mean of the second column of deploys.tsv.
set -eu
cat >/dev/null
awk -F '\t' '
	/^#/ { next }
	{ sum += $2; n++ }
	END {
		if (n == 0) print "{\"answer\":\"\"}"
		else printf "{\"answer\":\"%.1f\",\"arguments\":[{\"text\":\"The mean of %d months in deploys.tsv.\"}]}\n", sum / n, n
	}
' "$POLITY_FOLDER/deploys.tsv"
