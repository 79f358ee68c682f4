"""Checks a built site: each link within it leads to a file, and each anchor to an element of that name.

Usage: check_site.py folder
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Collects the links of a page, and the names that links can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.names.add(value)
            if (tag, name) in (("a", "href"), ("img", "src"), ("link", "href"), ("script", "src")):
                self.links.append(value)


def broken_links(root: Path) -> list[str]:
    """Returns a line for each link that leads nowhere."""
    # The page that a web server shows for a path that is not there; its links begin at the root of the site.
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html")) if path.name != "404.html"}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{path}: {link} leads to no file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                found.append(f"{path}: {link} leads to no element")
    return found


def main() -> int:
    broken = broken_links(Path(sys.argv[1]))
    print("\n".join(broken) if broken else "all links of the site lead somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
