#!/bin/sh
# Looks up what customs wants. Without the list it says so: a guess would be worse.
if [ ! -f "$POLITY_FOLDER/customs.csv" ]; then
	echo '{"summary":"Nothing was looked up.","escalate":"customs.csv is not there: who has it?"}'
	exit
fi
awk -F, 'NR > 1 { sum += $2 } END { printf "{\"summary\":\"Customs wants %.2f.\",\"results\":[\"customs of %.2f (customs.csv)\"]}\n", sum, sum }' "$POLITY_FOLDER/customs.csv"
