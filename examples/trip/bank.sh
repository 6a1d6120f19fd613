# Pays, and pays back; but what went to Atlantis does not come back.
case "$(cat)" in
*'"duty":"undo"'*Atlantis*) echo "nobody answers there" >&2; exit 1 ;;
*'"duty":"undo"'*) echo '{"refunded": true}' ;;
*) echo '{"receipt": "r-1"}' ;;
esac
