"""What the site needs beyond ``docs/``: pages of the repository's root, and links that lead out of the pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parents[1]
_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s:]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand at the root."""
    for source, page in _PAGES.items():
        text = within_docs((_ROOT / source).read_text("utf-8"), "")
        files.append(File.generated(config, page, content=text))
    adrs = sorted((_ROOT / "docs" / "adr").glob("*.md"))
    lines = [f"- [{path.read_text('utf-8').splitlines()[0].lstrip('# ')}]({path.name})" for path in adrs]
    files.append(File.generated(config, "adr/index.md", content="\n".join(["# Decisions", "", *lines])))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links out of ``docs/`` to the page that stands for them, or make them plain text."""
    directory = posixpath.dirname(page.file.src_uri)
    return markdown if page.file.generated_by else within_docs(markdown, posixpath.join("docs", directory))


def within_docs(markdown: str, directory: str) -> str:
    """Return *markdown*, a page of the repository's *directory*, with links as the site has them."""

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path:
            return found[0]
        place = posixpath.normpath(posixpath.join(directory, path))
        if place == "docs/adr":
            place = "docs/adr/index.md"
        if place in _PAGES:
            place = f"docs/{_PAGES[place]}"
        if not place.startswith("docs/"):
            return text  # a file of the repository, which the site does not have
        here = directory if directory.startswith("docs") else "docs"
        return f"[{text}]({posixpath.relpath(place, here)}{hash_sign}{anchor})"

    pieces = _FENCE.split(markdown)
    return "".join(piece if at % 2 else _LINK.sub(link, piece) for at, piece in enumerate(pieces))
