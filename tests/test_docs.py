"""The documents point to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NOT_WRITTEN_YET: set[str] = set()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return [link for link in found if f"docs/{Path(link).name}" not in NOT_WRITTEN_YET]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that exists, and to a heading that it has."""
    assert [] == broken(page)


def test_what_is_not_written_yet_is_not_there() -> None:
    """The list of pages that are still to come shrinks when they come."""
    assert [] == [name for name in NOT_WRITTEN_YET if (ROOT / name).exists()]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """The check itself can fail."""
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[1](#a-heading) [2](#another) [3](nowhere.md)\n```\n[4](in-code.md)\n```\n")

    assert ["#another", "nowhere.md"] == broken(page)


def test_the_readme_names_targets_that_exist() -> None:
    """Every `make` command of the README is a target with a line of help."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))

    assert {"demo", "invoke"} <= named
    assert set() == {name for name in named if not re.search(rf"^{name}:.*## ", makefile, re.MULTILINE)}
