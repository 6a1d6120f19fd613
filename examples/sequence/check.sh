#!/bin/sh
# Lets a notice pass that names a path, and fails for one that names none.
notice=$(cat)
case $notice in
*/orders* | */prices*) printf '%s\n' "$notice" ;;
*) echo "the notice names no path" >&2; exit 1 ;;
esac
