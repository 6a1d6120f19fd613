#!/bin/sh
# Adds up each month, then the months. Amounts are read without their point.
awk -F, 'NR > 1 && NF == 3 { sub(/\./, "", $3); m = substr($1, 1, 7); sum[m] += $3; n[m]++ }
END { for (m in sum) print sum[m], n[m] }' "$POLITY_FOLDER/2026.csv" |
	awk '{ c += $1; n += $2 } END { printf "{\"entries\":%d,\"cents\":%d}\n", n, c }'
