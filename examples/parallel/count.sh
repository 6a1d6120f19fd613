#!/bin/sh
# Checks an answer against the books: has it looked at every entry? Whether the sum is right is not known here.
want=$(($(grep -c , "$POLITY_FOLDER/2026.csv") - 1))
got=$(sed -n 's/.*"candidate":{[^}]*"entries":\([0-9]*\).*/\1/p')
if [ "$got" = "$want" ]; then
	echo '{"valid":true}'
else
	printf '{"valid":false,"reason":"it has looked at %s entries; the books have %s"}\n' "${got:-no}" "$want"
fi
