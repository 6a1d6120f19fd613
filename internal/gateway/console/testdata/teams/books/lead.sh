#!/bin/sh
# Whoever leads a unit ($1): assigns, accepts everything, and puts together what came back.
asked=$(cat)
case $asked in
*'"duty":"assign"'*)
	case $1 in
	chief) echo '{"assignments":[{"report":"sales","objective":"What did we sell, and what did we give back?"},{"report":"cash","objective":"Pay what is due this month."}]}' ;;
	sales) echo '{"assignments":[{"report":"revenue","objective":"Add up the orders of May."},{"report":"refunds","objective":"Add up the refunds of May."}]}' ;;
	cash) echo '{"assignments":[{"report":"invoices","objective":"List the open invoices."},{"report":"bank","objective":"Pay invoice 4711 of Nordwind: 1250.00 EUR."}]}' ;;
	esac ;;
*'"duty":"review"'*)
	printf '%s\n' "$asked" | awk '{
		n = split($0, part, /{"report":"/)
		printf "{\"decisions\":["
		for (i = 2; i <= n; i++) { name = part[i]; sub(/".*/, "", name); printf "%s{\"report\":\"%s\",\"accept\":true}", (i > 2 ? "," : ""), name }
		print "]}"
	}' ;;
*'"duty":"decide"'*) echo '{"action":"drop"}' ;;
*)
	printf '%s\n' "$asked" | awk -v unit="$1" '{
		while (match($0, /"results":\["[^]]*\]/)) { list = list (list == "" ? "" : ",") substr($0, RSTART + 11, RLENGTH - 12); $0 = substr($0, RSTART + RLENGTH) }
		printf "{\"summary\":\"%s is done.\",\"results\":[%s],\"recommendations\":[]}\n", unit, list
	}' ;;
esac
