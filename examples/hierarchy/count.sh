#!/bin/sh
# Compares what was counted with the books. An item without a number is unclear, unless the remarks say what to take it for.
zero=$(sed -n 's/.*"remarks":\[".*no number for zero.*/yes/p')
awk -F, -v zero="$zero" 'function add(text) { found = found (found == "" ? "" : ",") "\"" text "\"" }
	FNR == 1 { file++; next }
	file == 1 { booked[$1] = $2; next }
	$2 == "" && zero == "" { unclear++; next }
	$2 == "" { add($1 ": no number, taken for zero") }
	$2 + 0 < booked[$1] { add($1 ": " booked[$1] - $2 " fewer than the books say (counted.csv)") }
	END { printf "{\"summary\":\"%d of %d items compared.\",\"results\":[%s],\"unclear\":%d}\n", FNR - 1 - unclear, FNR - 1, found, unclear }' "$POLITY_FOLDER/stock.csv" "$POLITY_FOLDER/counted.csv"
