# Writes the letter. The request has the fields that the plan gives it: customer, owed and approved.
request=$(cat)
field() { printf '%s' "$request" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"; }
if [ "$(field approved)" = true ]; then
	printf '{"summary": "Dear %s, you owe us nothing any more."}\n' "$(field customer)"
else
	printf '{"summary": "Dear %s, please pay %s euros."}\n' "$(field customer)" "$(field owed)"
fi
