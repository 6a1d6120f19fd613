# Enters an order into the book, or strikes it out. BOOKED, if it is set, is a file of the shop's: a line for each request, with its key.
input=$(cat)
order=$(echo "$input" | sed 's/.*"order": *\([0-9]*\).*/\1/')
case $input in *'"duty":"undo"'*) did=strike ;; *) did=enter ;; esac
[ -z "$BOOKED" ] || echo "$did $order $POLITY_KEY" >>"$BOOKED"
euros=$(echo "$input" | sed 's/.*"euros": *\([0-9]*\).*/\1/')
item=$(echo "$input" | sed 's/.*"item": *"\([^"]*\)".*/\1/')
printf '{"order":%s,"item":"%s","euros":%s}\n' "$order" "$item" "$euros"
