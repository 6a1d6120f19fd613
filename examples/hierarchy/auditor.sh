#!/bin/sh
# The auditor advises from the rules of the books, and accepts only what kept them.
asked=$(cat)
rule=$(sed -n 's/^revenue: leave out //p' "$POLITY_FOLDER/rules.txt")
case $(printf '%s\n' "$asked" | awk -v name=duty -f field.awk) in
advise) printf '{"guidance":"Leave out %s."}\n' "$rule" ;;
review)
	case $asked in
	*"\"left_out\":\"$rule\""*) echo '{"decisions":[{"report":"revenue","accept":true}]}' ;;
	*) printf '{"decisions":[{"report":"revenue","accept":false,"remarks":"Leave out %s."}]}\n' "$rule" ;;
	esac ;;
esac
