# What a member sends. say() collects messages, end(state, rest) writes the answer.
function say(to, kind, reply, body, conversation) {
	SEND = SEND (SEND == "" ? "" : ",") "{\"kind\":" text(kind)
	if (to != "") SEND = SEND ",\"to\":" text(to)
	if (reply != "") SEND = SEND ",\"in_reply_to\":" text(reply)
	if (conversation != "") SEND = SEND ",\"conversation\":" text(conversation)
	SEND = SEND ",\"body\":" body "}"
}
function end(state, rest) {
	print "{\"send\":[" SEND "],\"state\":" state rest "}"
	exit
}
