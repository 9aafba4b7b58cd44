"""Small mappings for tests: tenants with documents, documents with chunks."""

from __future__ import annotations

import textwrap

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import parse_mapping

HEAD = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  docs: TENANT#{tenant}#DOC#{doc}
  chunks: TENANT#{tenant}#DOC#{doc}#CHUNK#{n:06d}
"""
"""Two collections, both in the tenant's partition."""

DOC = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}"}'
CHUNK = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#CHUNK#{n:06d}"}'
TAG = 'item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#TAG#{tag}"}'


def mapping_of(rules: str, *, head: str = HEAD) -> TableMapping:
    """Return the mapping with these rules."""
    return parse_mapping(head + "rules:\n" + textwrap.indent(textwrap.dedent(rules), "  "), "test.yaml")
