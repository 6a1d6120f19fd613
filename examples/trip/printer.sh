# Prints the ticket, if there is paper for it.
case "$(cat)" in
*Rome*) echo '{"ticket": "printed"}' ;;
*) echo "no paper" >&2; exit 1 ;;
esac
