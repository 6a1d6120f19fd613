#!/usr/bin/env bash
# Fetches the console's libraries from npm, unchanged, and compares them with assets/vendor/SHA256SUMS.
# With -update it writes that file anew, for versions that were changed below: read the difference before it is committed.
set -euo pipefail
cd "$(dirname "$0")/assets/vendor"

# package@version  file in it  name here
libraries='
preact@11.2.0                dist/preact.mjs        preact.js
preact@11.2.0                hooks/dist/hooks.mjs   hooks.js
preact@11.2.0                LICENSE                preact.LICENSE
htm@3.1.1                    dist/htm.mjs           htm.js
htm@3.1.1                    LICENSE                htm.LICENSE
@preact/signals-core@1.14.5  dist/signals-core.mjs  signals-core.js
@preact/signals@2.11.4       dist/signals.mjs       signals.js
@preact/signals@2.11.4       LICENSE                signals.LICENSE
@dagrejs/dagre@3.1.3         dist/dagre.esm.js      dagre.js
@dagrejs/dagre@3.1.3         LICENSE                dagre.LICENSE
'

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
while read -r package file name; do
  [ -n "$package" ] || continue
  pack="$work/${package//[^a-z0-9.-]/_}"
  if [ ! -d "$pack" ]; then
    mkdir "$pack"
    tarball=$(npm pack --silent --pack-destination "$work" "$package")
    tar -xzf "$work/$tarball" -C "$pack" --strip-components 1
  fi
  cp "$pack/$file" "$name"
done <<<"$libraries"

if [ "${1-}" = -update ]; then
  sha256sum -- *.js *.LICENSE >SHA256SUMS
fi
sha256sum --check --quiet SHA256SUMS
echo "the libraries are those of SHA256SUMS"
