# Says which route a mail belongs to, by how the words of past mails are spread over the routes (multinomial naive Bayes with add-one
# smoothing), and how sure that is: the route's share of the probability. A mail of which fewer than two words were ever seen belongs nowhere.
function words(s, into,    n, i, parts, count) {
	s = tolower(s)
	gsub(/[^a-z]+/, " ", s)
	n = split(s, parts, " ")
	for (i = 1; i <= n; i++) if (length(parts[i]) > 2) into[++count] = parts[i]
	return count
}
BEGIN {
	while ((getline line < ARGV[1]) > 0) {
		split(line, part, "\t")
		if (!(part[1] in mails)) order[++routes] = part[1]
		mails[part[1]]++; all++
		n = words(part[2], seen)
		for (i = 1; i <= n; i++) {
			count[part[1], seen[i]]++; total[part[1]]++
			if (!(seen[i] in known)) { known[seen[i]] = 1; vocabulary++ }
		}
	}
	json()
	n = words(V["request.subject"] " " V["request.text"], asked)
	for (i = 1; i <= n; i++) if (asked[i] in known) { used++; why = why " " asked[i] }
	if (used < 2) {
		print "{\"route\":\"none\",\"confidence\":1,\"reason\":\"fewer than two of its words stand in past mails\"}"
		exit
	}
	for (r = 1; r <= routes; r++) {
		name = order[r]
		score[r] = log(mails[name] / all)
		for (i = 1; i <= n; i++) if (asked[i] in known) score[r] += log((count[name, asked[i]] + 1) / (total[name] + vocabulary))
		if (r == 1 || score[r] > score[best]) best = r
	}
	for (r = 1; r <= routes; r++) sum += exp(score[r] - score[best])
	printf "{\"route\":%s,\"confidence\":%.3f,\"reason\":%s}\n", text(order[best]), 1 / sum, text("words of past mails:" why)
}
