"""Copies the licences of all crates that packages of the workspace are linked with; reads `cargo metadata` from standard input.

Usage: licences.py folder package ...
"""

import json
import shutil
import sys
from pathlib import Path

NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")


def linked(metadata: dict, names: list[str]) -> set[str]:
    """Returns the ids of what the packages depend on, but for what only builds or tests them."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    ahead = [package["id"] for package in metadata["packages"] if package["name"] in names]
    seen: set[str] = set()
    while ahead:
        package = ahead.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                ahead.append(dependency["pkg"])
    return seen


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    metadata = json.load(sys.stdin)
    ids = linked(metadata, names)
    lines = []
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        # What has no source is of this workspace.
        if package["id"] not in ids or package["source"] is None:
            continue
        home = Path(package["manifest_path"]).parent
        texts = [path for path in sorted(home.iterdir()) if path.is_file() and path.name.upper().startswith(NAMES)]
        target = folder / f"{package['name']}-{package['version']}"
        target.mkdir(parents=True, exist_ok=True)
        for path in texts:
            shutil.copyfile(path, target / path.name)
        lines.append(f"{package['name']} {package['version']}: {package['license'] or 'see its files'}")
    (folder / "README").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
