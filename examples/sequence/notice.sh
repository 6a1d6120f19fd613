#!/bin/sh
# Words a notice for the people on call, or says that all is well.
tr '{' '\n' | awk -F'"' '
	/"why"/ { for (i = 1; i <= NF; i++) { if ($i == "path") p = $(i+2); if ($i == "why") w = $(i+2) } text = text "\\n- " p ": " w; n++ }
	END {
		if (n == 0) print "{\"page\":false,\"text\":\"All paths keep the rule.\"}"
		else printf "{\"page\":true,\"text\":\"Look at these paths:%s\"}\n", text
	}'
