# Prints the first text that a field has in JSON on one line: awk -v name=duty -f field.awk
match($0, "\"" name "\":\"[^\"]*\"") {
	print substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
	exit
}
