# Pays up to 500 euros, or pays back; but what was paid for order 13 does not come back. BOOKED is as in book.sh.
input=$(cat)
order=$(echo "$input" | sed 's/.*"order": *\([0-9]*\).*/\1/')
euros=$(echo "$input" | sed 's/.*"euros": *\([0-9]*\).*/\1/')
item=$(echo "$input" | sed 's/.*"item": *"\([^"]*\)".*/\1/')
case $input in
*'"duty":"undo"'*) did=refund; [ "$order" != 13 ] || { echo "the account is closed" >&2; exit 1; } ;;
*) did=pay; [ "$euros" -le 500 ] || { echo "no cover" >&2; exit 1; } ;;
esac
[ -z "$BOOKED" ] || echo "$did $order $POLITY_KEY" >>"$BOOKED"
printf '{"order":%s,"item":"%s","receipt":"r-%s"}\n' "$order" "$item" "$order"
