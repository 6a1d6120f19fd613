# Books seat 12A, or gives it back: what it is asked to undo it is told by its skill's undo.
case "$(cat)" in
*'"cancel"'*) echo '{"given_back": "12A"}' ;;
*) echo '{"seat": "12A"}' ;;
esac
