# Takes a parcel. BOOKED is as in book.sh.
order=$(sed 's/.*"order": *\([0-9]*\).*/\1/')
did=ship
[ -z "$BOOKED" ] || echo "$did $order $POLITY_KEY" >>"$BOOKED"
printf '{"order":%s,"shipped":true}\n' "$order"
