#!/usr/bin/env bash
# Fetches clients that real programs in JavaScript use, for the tests: the directory given gets node_modules. Does nothing if
# they are there. Needs npm, and its registry to ask once.
# Usage: scripts/node.sh directory package@version ...
set -eu

dir=$1
shift
packages=$*
done_with=$dir/.made-with
[ "$(cat "$done_with" 2>/dev/null)" = "$packages" ] && exit 0

# Two may come at the same time: each makes its own, and the first to be ready is kept.
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --no-audit --no-fund --silent "$@" >&2 || {
    echo "node: $packages cannot be had; npm's registry has to be in reach once" >&2
    exit 1
}
printf '%s' "$packages" >"$work/.made-with"
[ "$(cat "$done_with" 2>/dev/null)" = "$packages" ] && exit 0
rm -rf "$dir"
mv -T "$work" "$dir"
