# Finds the customer in the request, and what they owe in the folder that the run may read: a file for each, "owed: 42".
request=$(cat)
for file in "$POLITY_FOLDER"/*.txt; do
	name=$(basename "$file" .txt)
	case $request in
	*"$name"*)
		printf '{"customer": "%s", "owed": %s}\n' "$name" "$(sed -n 's/^owed: *//p' "$file")"
		exit
		;;
	esac
done
echo "no customer is named in the request" >&2
exit 1
