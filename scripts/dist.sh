#!/usr/bin/env bash
# Puts the built module and rmr-proxy, stripped, into a tarball with licences and examples of configuration, and writes the
# SHA-256 sums. With `deb` makes a Debian package of the same files.
# Usage: scripts/dist.sh folder-of-the-release-build [deb]
set -euo pipefail

release=$(realpath "$1")
cd "$(dirname "$0")/.."
dist=${CARGO_TARGET_DIR:-target}/dist
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
machine=$(uname -m)
name=rmr-$version-$machine-linux-gnu
stage=$dist/$name
# Files in the archives are of this time, so that the same build gives the same bytes.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

rm -rf "$stage"
mkdir -p "$stage/lib" "$stage/bin" "$stage/include"
for file in librmr.so librg.so; do strip --strip-unneeded -o "$stage/lib/$file" "$release/$file"; done
strip -o "$stage/bin/rmr-proxy" "$release/rmr-proxy"
# A server loads no file that nobody may execute.
chmod 755 "$stage"/lib/*.so
chmod 755 "$stage/bin/rmr-proxy"
install -m 644 include/rmr.h "$stage/include/"
install -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE deploy/redis/rmr.conf deploy/rmr-proxy.toml \
    deploy/systemd/rmr-proxy.service "$stage/"

# The licences of the crates that are linked in, one folder each.
cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
    python3 scripts/licences.py "$stage/licences" rmr-module rmr-rg rmr-proxy

archive() {
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -C "$dist" -cf - "$name" | gzip -n9 >"$dist/$name.tar.gz"
}

# Makes a package of the staged files.
debian() {
    local root=$dist/deb architecture package needs
    architecture=$(dpkg --print-architecture)
    package=rmr_${version}_$architecture.deb
    rm -rf "$root"
    install -D -m 755 -t "$root/usr/lib/redis/modules" "$stage"/lib/*.so
    install -D -m 755 -t "$root/usr/bin" "$stage/bin/rmr-proxy"
    install -D -m 644 -t "$root/usr/include" include/rmr.h
    install -D -m 644 -t "$root/usr/share/doc/rmr" README.md CHANGELOG.md LICENSE-MIT deploy/redis/rmr.conf
    # Debian has this licence in one place for all packages.
    cp -r "$stage/licences" "$root/usr/share/doc/rmr/licences"
    cat >"$root/usr/share/doc/rmr/copyright" <<-END
		Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
		Upstream-Name: rmr

		Files: *
		Copyright: the authors of rmr
		License: MIT or Apache-2.0
		 The MIT licence stands in LICENSE-MIT beside this file, the other in
		 /usr/share/common-licenses/Apache-2.0. The licences of the crates that
		 are linked in are in the folder licences.
	END
    install -D -m 644 -t "$root/etc/rmr-proxy" deploy/rmr-proxy.toml
    mkdir -p "$root/lib/systemd/system" "$root/DEBIAN"
    sed 's|/usr/local/bin/|/usr/bin/|' deploy/systemd/rmr-proxy.service >"$root/lib/systemd/system/rmr-proxy.service"
    echo /etc/rmr-proxy/rmr-proxy.toml >"$root/DEBIAN/conffiles"
    # The newest version of the C library that a symbol asks for.
    needs=$(objdump -T "$stage"/lib/*.so "$stage/bin/rmr-proxy" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1)
    # The service is neither enabled nor started: its configuration names nodes that have to be there.
    cat >"$root/DEBIAN/control" <<-END
		Package: rmr
		Version: $version
		Architecture: $architecture
		Section: database
		Priority: optional
		Maintainer: the authors of rmr <rmr@example.org>
		Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
		Depends: libc6 (>= $needs), libgcc-s1
		Recommends: redis-server (>= 5:7.0) | valkey-server
		Suggests: python3, python3-cloudpickle
		Description: map/reduce inside Redis
		 A module that has any node of a Redis Cluster answer for all shards, and
		 rmr-proxy, one address of a cluster for clients of a single Redis.
		 .
		 The module is /usr/lib/redis/modules/librmr.so; a server loads it with the
		 line in /usr/share/doc/rmr/rmr.conf. The service rmr-proxy reads
		 /etc/rmr-proxy/rmr-proxy.toml.
	END
    cat >"$root/DEBIAN/postinst" <<-'END'
		#!/bin/sh
		set -e
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	END
    cat >"$root/DEBIAN/prerm" <<-'END'
		#!/bin/sh
		set -e
		if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now rmr-proxy.service || true; fi
	END
    cp "$root/DEBIAN/postinst" "$root/DEBIAN/postrm"
    chmod 755 "$root"/DEBIAN/{postinst,prerm,postrm}
    find "$root" -type d -exec chmod 755 {} +
    SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group --build "$root" "$dist/$package" >/dev/null
    rm -rf "$root"
    echo "$dist/$package: $(stat -c %s "$dist/$package") bytes"
}

if [ "${2:-}" = deb ]; then
    debian
else
    archive
    (cd "$dist" && sha256sum "$name.tar.gz" "$name"/lib/*.so "$name/bin/rmr-proxy" >SHA256SUMS)
    stat -c '%n: %s bytes' "$stage"/lib/*.so "$stage/bin/rmr-proxy" "$dist/$name.tar.gz"
fi
