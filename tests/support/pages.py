"""The code blocks of the documents, and what is shown in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INFO = re.compile(r'(?P<language>\w*)(?P<refused> refused)?(?: title="(?P<title>[^"]+)")?')
_CHANGES_EVERY_TIME = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r"by .* process \d+", "WRITER"),
    (r"\d+ (s|min|h|d) ago", "AGE"),
    (r"\b[0-9a-f]{8}…", "SEGMENT"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
    (r"lineage   [0-9a-f]{16}", "LINEAGE"),
    (r"\d+\.\d kB", "SIZE"),
    (r"[▁-█]+", "BARS"),
    (r"chromadb [0-9.]+", "CHROMADB"),
    (r"\d+ files differ, in \d+ pages", "FILES"),
    (r"(?m)(added|changed) +\d+( +\d+ +[\d,]+ +[\d,]+)$", r"\1  PAGES\2"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block.

    Attributes:
        page: Where it stands, from the root of the repository.
        line: Of its fence.
        language: The word after the fence.
        title: The file that it is to be, if it says so.
        text: What is in it.
        refused: Whether it is shown because it is wrong.
    """

    page: str
    line: int
    language: str
    title: str | None
    text: str
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every document."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page, in their order."""
    text = page.read_text("utf-8")
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        info = _INFO.fullmatch(found[2].strip())
        assert info, f"{name}:{line}: a fence is followed by a language and perhaps a title, got {found[2]!r}"
        inner = re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE)
        yield Block(name, line, info["language"], info["title"], inner, bool(info["refused"]))


def examples(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the console blocks in *text*, with what is shown of its output."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for each in re.split(r"^\$ ", block, flags=re.MULTILINE):
            if each:
                line, _, shown = each.partition("\n")
                yield line, shown


def settled(text: str) -> list[str]:
    """Return lines without what differs from run to run."""
    for pattern, word in _CHANGES_EVERY_TIME:
        text = re.sub(pattern, word, text)
    return [re.sub(r"  +", "  ", line).rstrip() for line in text.splitlines()]
