# after returns what follows the first occurrence of key in s, up to the next occurrence of end.
function after(s, key, end,    i) {
	i = index(s, key)
	if (i == 0) return ""
	s = substr(s, i + length(key))
	return substr(s, 1, index(s, end) - 1)
}

function said(reason, answer) { return "{\"reason\":\"" reason "\",\"answer\":" answer "}" }

{ input = input $0 }

END {
	n = split(ENVIRON["ORDER"], name, " ")
	duty = after(input, "\"duty\":\"", "\"")
	for (i = n; i >= 1; i--) if (!index(input, "\"speaker\":\"" name[i] "\"")) next_ = name[i]
	if (duty == "ledger") {
		for (i = 1; i <= n; i++) plan = plan (i > 1 ? "," : "") "\"" name[i] " looks\""
		printf "{\"given\":[\"a folder of source code\"],\"look_up\":[\"what speaks for and against it\"],\"derive\":[],\"guesses\":[],\"plan\":[%s]}\n", plan
	} else if (duty == "progress") {
		printf "{\"satisfied\":%s,\"in_loop\":%s,\"progress\":%s,\"next_speaker\":%s,\"instruction\":%s}\n",
			said(next_ == "" ? "all have looked" : next_ " has not looked", next_ == "" ? "true" : "false"),
			said("nobody is asked twice", "false"), said("each round somebody else looks", "true"),
			said("next in the order", "\"" next_ "\""), said("one instruction for all", "\"Say what speaks for and against relying on this code.\"")
	} else {
		facts = after(input, "\"verified\":[", "]")
		for (i = 1; (id = after(facts, "\"id\":\"", "\"")) != ""; i++) {
			if (i <= 5) {
				ids = ids ((i > 1) ? "," : "") "\"" id "\""
				shown = i
				text = text (i > 1 ? " " : "") after(facts, "\"text\":\"", "\",\"from\"")
			}
			facts = substr(facts, index(facts, "\"from\"") + 1)
		}
		printf "{\"text\":\"Verified, the first %d of %d: %s\",\"rests_on\":[%s]}\n", shown, i - 1, text, ids
	}
}
