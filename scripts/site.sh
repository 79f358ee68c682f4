#!/usr/bin/env bash
# Builds the site of docs/ with mdBook, and checks its links. Builds mdBook with cargo if it is missing.
# Usage: scripts/site.sh [folder]
set -euo pipefail

cd "$(dirname "$0")/.."
site=$(realpath -m "${1:-${CARGO_TARGET_DIR:-target}/site}")

command -v mdbook >/dev/null || cargo install --locked mdbook --no-default-features --features search

rm -rf "$site"
mdbook build --dest-dir "$site/docs"
# Pages link to files of the tree, such as examples: these stand beside the pages, as they do in the tree.
grep -rhoE "\]\((\.\./)+(examples|include|scripts|src|deploy)/[^)#]+" docs --include='*.md' | sed -E 's|\]\((\.\./)+||' | sort -u |
    while read -r file; do install -D -m 644 "$file" "$site/$file"; done
python3 scripts/check_site.py "$site/docs"
echo "the site begins at $site/docs/index.html"
