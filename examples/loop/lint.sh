#!/bin/sh
# Looks a text over: tabs, long lines, white space at ends, several blank lines, no end of the last line. The score is the part of
# lines that are good; the critique names the kinds of problems, and the evidence where they are.
exec awk -f json.awk -f lint.awk
