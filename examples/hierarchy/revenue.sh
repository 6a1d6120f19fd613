#!/bin/sh
# Adds up orders, without those that the guidance leaves out.
out=$(sed -n 's/.*Leave out \([a-z]*\)\..*/\1/p')
awk -F, -v out="$out" 'NR > 1 && $3 == out { n++; next } NR > 1 { k++; sum += $4 }
	END { printf "{\"summary\":\"%d orders, %.2f in all; %d left out.\",\"results\":[\"orders of %.2f (orders.csv, %d lines)\"],\"left_out\":\"%s\"}\n", k, sum, n, sum, k, out }' "$POLITY_FOLDER/orders.csv"
