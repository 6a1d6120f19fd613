#!/bin/sh
# Adds the entries up, one by one, in cents.
exec awk -F, 'NR > 1 && NF == 3 { split($3, p, "."); c = p[1] * 100; c = $3 ~ /^-/ ? c - p[2] : c + p[2]; sum += c; n++ }
END { printf "{\"entries\":%d,\"cents\":%d}\n", n, sum }' "$POLITY_FOLDER/2026.csv"
