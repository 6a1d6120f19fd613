# Ships an order: says by whom it is carried.
input=$(cat)
case $input in
*'"carrier":"collect"'*) by=collect ;;
*) by=van ;;
esac
printf '{"shipped":true,"by":"%s"}\n' "$by"
