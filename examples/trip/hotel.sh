# Has room 7, or takes it back.
case "$(cat)" in
*'"duty":"undo"'*) echo '{"left": 7}' ;;
*) echo '{"room": 7}' ;;
esac
