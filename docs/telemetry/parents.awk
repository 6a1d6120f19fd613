# Reads what the debug exporter of an OpenTelemetry collector printed (verbosity: detailed) and says of each trace how many spans, roots and missing parents it has:
#
#	awk -f docs/telemetry/parents.awk collector.log
#
# Exit code 1 if a parent is missing, or if there is no span at all. A span that is told twice counts once. A caller's span counts as missing if the caller sends elsewhere.

$1 == "Trace" && $2 == "ID" { trace = $4; parent = "" }
$1 == "Parent" && $2 == "ID" { parent = $4 }
$1 == "ID" && $2 == ":" { id = $3 }
$1 == "Name" && $2 == ":" && trace != "" {
	span = trace "/" id
	if (!(span in name)) {
		sub(/^[^:]*: /, "")
		name[span] = $0
		up[span] = parent
		of[span] = trace
		spans[trace]++
		all++
	}
	trace = ""
}

END {
	for (span in name) {
		trace = of[span]
		if (up[span] == "") {
			roots[trace]++
		} else if (!(trace "/" up[span] in name)) {
			missing[trace]++
			lost++
			print "missing: parent " up[span] " of " name[span] " (" span ")"
		}
	}
	for (trace in spans)
		printf "trace %s: %d spans, %d roots, %d missing parents\n", trace, spans[trace], roots[trace], missing[trace]
	if (all == 0)
		print "no spans"
	exit (lost > 0 || all == 0)
}
