"""Small mappings for tests, and the lines that a refused one must answer with."""

from __future__ import annotations

import textwrap

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import parse_mapping

HEAD = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  docs: TENANT#{tenant}#DOC#{doc}
  chunks: TENANT#{tenant}#DOC#{doc}#CHUNK#{n:06d}
"""
"""Tenants with documents, documents with chunks: two collections, both in the tenant's partition."""

DOC = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}"}'
CHUNK = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#CHUNK#{n:06d}"}'
TAG = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#TAG#{tag}"}'


def rules(body: str, *, head: str = HEAD) -> str:
    """Return a mapping of tenants with these rules."""
    return head + "rules:\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "  ") + "\n"


def mapping(body: str, *, head: str = HEAD) -> TableMapping:
    """Return the same, read."""
    return parse_mapping(rules(body, head=head), "test.yaml")


def problems(text: str) -> list[str]:
    """Return the problems of a mapping that must be refused, as it tells them."""
    with pytest.raises(BadInput) as refused:
        parse_mapping(text, "test.yaml")
    first, *lines, last = refused.value.message.split("\n")
    assert (first, last) == ("the mapping cannot be used:", "")
    return lines


def expected(text: str, *problems: str) -> list[str]:
    """Return *problems* with the file, and the lines that *text* marks with ``# !`` in their order."""
    marked = [number for number, line in enumerate(text.split("\n"), 1) if line.endswith("# !")]
    assert len(marked) in (1, len(problems)), "mark one line, or one for each problem"
    lines = marked if len(marked) == len(problems) else marked * len(problems)
    return [f"test.yaml:{line}: {problem}" for line, problem in zip(lines, problems, strict=True)]
