#!/bin/sh
# Adds up customer by customer, with the arithmetic of the shell.
cents=0 entries=0
for customer in $(tail -n +2 "$POLITY_FOLDER/2026.csv" | cut -d, -f2 | sort -u); do
	for amount in $(grep ",$customer," "$POLITY_FOLDER/2026.csv" | cut -d, -f3); do
		sign= digits=$(printf %s "${amount#-}" | tr -d . | sed 's/^0*//')
		case $amount in -*) sign=- ;; esac
		cents=$((cents + ${sign}${digits:-0}))
		entries=$((entries + 1))
	done
done
printf '{"entries":%d,"cents":%d}\n' "$entries" "$cents"
