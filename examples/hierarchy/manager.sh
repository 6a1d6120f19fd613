#!/bin/sh
# A manager that is a program. What it is asked for stands in "duty"; $1 is the unit that it leads.
asked=$(cat)
ask() { printf '%s\n' "$asked" | awk -v name="$1" -f field.awk; }

case $(ask duty) in
assign)
	case $1 in
	chief) echo '{"assignments":[
		{"report":"sales","objective":"What did we sell, and what did we give back?"},
		{"report":"stock","objective":"Is there what the books say?"}]}' ;;
	sales) echo '{"assignments":[
		{"report":"revenue","objective":"Add up the orders.","acceptance":["says how many orders were read"]},
		{"report":"refunds","objective":"Add up the refunds."}]}' ;;
	stock) echo '{"assignments":[
		{"report":"count","objective":"Compare each item that was counted with the books.","acceptance":["no line is left unclear"]},
		{"report":"imports","objective":"What do we owe to customs?"}]}' ;;
	esac ;;
review)
	# Accepted is what leaves nothing unclear.
	printf '%s\n' "$asked" | awk '{
		n = split($0, part, /{"report":"/)
		printf "{\"decisions\":["
		for (i = 2; i <= n; i++) {
			name = part[i]; sub(/".*/, "", name)
			unclear = part[i] ~ /"unclear":[1-9]/
			printf "%s{\"report\":\"%s\",\"accept\":%s", (i > 2 ? "," : ""), name, (unclear ? "false" : "true")
			if (unclear) printf ",\"remarks\":\"Take what has no number for zero, and name these items.\""
			printf "}"
		}
		print "]}"
	}' ;;
decide)
	case $1 in
	chief) echo '{"action":"drop"}' ;; # nobody is above
	*) echo '{"action":"escalate"}' ;;
	esac ;;
*)
	# Put together: the texts of all lists of results, and advice by rule.
	printf '%s\n' "$asked" | awk -v unit="$1" '{
		while (match($0, /"results":\["[^]]*\]/)) {
			list = list (list == "" ? "" : ",") substr($0, RSTART + 11, RLENGTH - 12)
			$0 = substr($0, RSTART + RLENGTH)
			n++
		}
		if (list ~ /fewer than the books/) advice = "\"Look for what is missing in the stock.\""
		if (list ~ /refunds of/) advice = advice (advice == "" ? "" : ",") "\"Read why customers gave goods back.\""
		printf "{\"summary\":\"%s of %s with results.\",\"results\":[%s],\"recommendations\":[%s]}\n", (n == 1 ? "One report" : n " reports"), unit, list, advice
	}' ;;
esac
