# Reserves what was ordered, but no unicorn, or gives it back. BOOKED is as in book.sh.
input=$(cat)
order=$(echo "$input" | sed 's/.*"order": *\([0-9]*\).*/\1/')
case $input in
*'"duty":"undo"'*) did=release ;;
*unicorn*) echo "out of stock" >&2; exit 1 ;;
*) did=reserve ;;
esac
[ -z "$BOOKED" ] || echo "$did $order $POLITY_KEY" >>"$BOOKED"
printf '{"order":%s}\n' "$order"
