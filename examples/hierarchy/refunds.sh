#!/bin/sh
# Adds up refunds, and looks up the order of each.
awk -F, 'FNR == 1 { file++; next } file == 1 { known[$1] = 1; next } { k++; sum += $3; if (!known[$2]) gaps = gaps (gaps == "" ? "" : ",") "\"refund " $1 " names order " $2 ", which is not in orders.csv\"" }
	END { printf "{\"summary\":\"%d refunds, %.2f in all.\",\"results\":[\"refunds of %.2f (refunds.csv)\"],\"gaps\":[%s]}\n", k, sum, sum, gaps }' "$POLITY_FOLDER/orders.csv" "$POLITY_FOLDER/refunds.csv"
