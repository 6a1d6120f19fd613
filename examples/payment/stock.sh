# Reserves what was ordered: what it was asked, and that it is reserved. Asked to undo, it says that it is free again.
input=$(cat)
case $input in
*'"duty":"undo"'*) printf '{"released":true}\n' ;;
*) printf '%s,"reserved":true}\n' "${input%\}}" ;;
esac
