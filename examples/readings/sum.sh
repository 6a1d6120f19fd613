# Each reading of the batch is on a line of its own; its temperature is a whole number.
tr '{' '\n' | sed -n 's/.*"celsius": *\([0-9]*\).*/\1/p' | sort -n |
	awk '{ highest = $1; n++ } END { printf "{\"readings\":%d,\"highest\":%d}\n", n, highest }'
