#!/usr/bin/env bash
# Makes a Python of the tests' own, with the Redis client that real programs use: the directory given gets bin/python3.
# Does nothing if it is there. Needs python3 with venv, which scripts/setup.sh installs, and a package index to ask once.
# Usage: scripts/python.sh directory [package ...]; the client, if no packages are given. PYTHON=/path/to/python3 makes it of
# another interpreter than the first one on PATH.
set -eu

dir=$1
shift
[ $# -gt 0 ] || set -- redis==6.4.0
packages=$*
python=${PYTHON:-python3}
done_with=$dir/.made-with
[ "$(cat "$done_with" 2>/dev/null)" = "$packages" ] && exit 0

fail() {
    echo "python: $*" >&2
    exit 1
}
command -v "$python" >/dev/null 2>&1 || fail "there is no $python; make setup-test, or install python3 and python3-venv"
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv; make setup-test, or install python3-venv"

# Two may come at the same time: each makes its own, and the first to be ready is kept.
mkdir -p "$(dirname "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work" || fail "$python -m venv failed"
"$work/bin/python3" -m pip install --quiet --disable-pip-version-check "$@" ||
    fail "$packages cannot be had; a package index has to be in reach once"
printf '%s' "$packages" >"$work/.made-with"
[ "$(cat "$done_with" 2>/dev/null)" = "$packages" ] && exit 0
rm -rf "$dir"
mv -T "$work" "$dir"
