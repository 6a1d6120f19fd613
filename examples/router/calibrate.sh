#!/bin/sh
# Says how often the classifier is right about each past mail when it knows only the others: for the calibration in polity.yaml.
cd "$(dirname "$0")" || exit 1
others=$(mktemp) || exit 1
trap 'rm -f "$others"' EXIT
n=0
while IFS='	' read -r route mail; do
	n=$((n + 1))
	sed "${n}d" past/mails.tsv > "$others"
	printf '%s\t' "$route"
	printf '{"request":{"text":"%s"}}' "$mail" | awk -f json.awk -f classify.awk "$others"
done < past/mails.tsv | awk -F'"' '
	{ split($1, f, "\t"); sub(/:/, "", $7); said = $7 + 0; band = said < 0.6 ? 1 : 2; n[band]++; sum[band] += said; if ($4 == f[1]) right[band]++ }
	END { for (b = 1; b <= 2; b++) printf "said %.2f on average, right %d of %d\n", sum[b] / n[b], right[b], n[b] }'
