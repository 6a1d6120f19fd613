#!/bin/sh
# Tidies a text, one kind of problem a round: the first that the critique names, or the last if the first made nothing better.
# The first candidate is the letter as it lies in the folder.
exec awk -f json.awk -v letter="$POLITY_FOLDER/letter.txt" -f tidy.awk
