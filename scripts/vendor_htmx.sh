#!/usr/bin/env bash
# Fetch the pinned HTMX from npm and lay it into etle/web/static/vendor, with its licence. Run it to renew the version:
# set VERSION and INTEGRITY (npm view htmx.org@VERSION dist.integrity), run, look at the change, commit.
set -euo pipefail
VERSION=2.0.11
INTEGRITY='sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA=='
target=$(cd "$(dirname "$0")/.." && pwd)/etle/web/static/vendor
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "htmx.org@$VERSION" >/dev/null
got="sha512-$(openssl dgst -sha512 -binary "htmx.org-$VERSION.tgz" | base64 -w0)"
[ "$got" = "$INTEGRITY" ] || { echo "htmx.org $VERSION is not what was pinned: $got" >&2; exit 3; }
tar xzf "htmx.org-$VERSION.tgz"
mkdir -p "$target"
install -m 644 package/dist/htmx.min.js "$target/htmx.min.js"
install -m 644 package/LICENSE "$target/htmx.LICENSE.txt"
echo "htmx $VERSION"
