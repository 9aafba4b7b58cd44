"""The digest of a mapping's meaning: layout does not change it, and everything else does."""

from __future__ import annotations

import json

import pytest

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.intake.meaning import differences
from chroma_lifecycle.intake.remembered import recall
from chroma_lifecycle.planning.ledger_rows import to_json
from tests.model.changed import CHANGED

TEXT = """\
mapping: 1
ordering: to_the_second
table: {partition_key: PK, sort_key: SK}
collections:
  docs: TENANT#{tenant}#DOC#{doc}
  chunks: TENANT#{tenant}#DOC#{doc}#CHUNK#{n:06d}
rules:
  doc:
    item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}"}
    set:
      docs, chunks: [title]
      chunks:
        kind: {from: kind, values: {1: one, two: "2"}, otherwise: none}
        is_{member}: {from: tags, members: [new, old]}
    when: {status: [live, 1]}
    removal_deletes: [docs, chunks]
  tag:
    item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#TAG#{tag}"}
    set: {docs: {level: {from: level, values: {a: high, b: low}, fold: {first: [high, low]}}}}
  run:
    item: {PK: "TENANT#{tenant}", SK: "RUN#{run}"}
    merge: {docs: {delta: delta, state: state, error: error}}
flat_messages:
  DOC: {rule: doc, image_from: [record_snapshot, changes]}
  RUN: {rule: run, delta_from: prefix}
"""
MAPPING = parse_mapping(TEXT, "test.yaml")

SAME = {
    "another layout": (
        "    when: {status: [live, 1]}",
        "    when:\n      # lively ones\n      status:\n        - live\n        - 1",
    ),
    "quotes": ("docs: TENANT#{tenant}#DOC#{doc}", "docs: 'TENANT#{tenant}#DOC#{doc}'"),
    "another order of conditions": ("[live, 1]", "[1, live]"),
    "another order of members": ("[new, old]", "[old, new]"),
    "another order of values": ('{1: one, two: "2"}', '{two: "2", 1: one}'),
    "a number written otherwise": ("{1: one,", "{1.0: one,"),
    "another order of collections": ("[docs, chunks]", "[chunks, docs]"),
    "a list as a table": ("docs, chunks: [title]", "docs, chunks: {title: title}"),
}

ANOTHER = {
    "ordering": ("ordering: to_the_second\n", "", ['ordering: was "to_the_second", is "exact"']),
    "the table": (
        "SK",
        "S",
        ['table: sort_key: was "SK", is "S"'],
    ),
    "ids": ("{n:06d}", "{n:07d}", ["collections: chunks: was"]),
    "an attribute": ("docs, chunks: [title]", "docs, chunks: {title: name}", ["rules: doc: set: docs: title: from: "]),
    "the type of a value": ('two: "2"', "two: 2", ['rules: doc: set: chunks: kind: values: "two": was "2", is 2']),
    "the type of a key": ("{1: one,", '{"1": one,', ['rules: doc: set: chunks: kind: values: 1: was "one", is gone']),
    "otherwise": (", otherwise: none", "", ['rules: doc: set: chunks: kind: otherwise: was "none", is gone']),
    "a member": ("[new, old]", "[new]", ["rules: doc: set: chunks: is_old: was "]),
    "a condition": ("[live, 1]", "[live]", ['rules: doc: when: status: was ["live", 1], is ["live"]']),
    "a fold": (
        "first: [high, low]",
        "first: [low, high]",
        ['rules: tag: set: docs: level: fold: first: was ["high", "low"], is ["low", "high"]'],
    ),
    "a deletion": (
        "[docs, chunks]\n",
        "[docs]\n",
        ['rules: doc: removal_deletes: was ["chunks", "docs"], is ["docs"]'],
    ),
    "an attribute of a run": (", error: error", "", ['rules: run: merge: docs: error: was "error", is gone']),
    "the order of places": (
        "[record_snapshot, changes]",
        "[changes, record_snapshot]",
        ["flat_messages: DOC: image_from: was "],
    ),
    "the name of a rule": ("  run:\n", "  job:\n", ["rules: run: was ", "rules: job: is new: "]),
}


@pytest.mark.parametrize("case", SAME)
def test_layout_is_no_meaning(case: str) -> None:
    """What is written differently and says the same has the same digest."""
    old, new = SAME[case]
    other = parse_mapping(TEXT.replace(old, new), "other.yaml")

    assert old in TEXT
    assert MAPPING.digest == other.digest
    assert [] == differences(MAPPING.meaning, other.meaning)


@pytest.mark.parametrize("case", ANOTHER)
def test_another_meaning_has_another_digest_and_is_told(case: str) -> None:
    """A mapping that says something else is told apart, with the place and both sayings."""
    old, new, told = ANOTHER[case]
    text = TEXT.replace(old, new).replace("rule: run", "rule: job" if "job:" in new else "rule: run")
    other = parse_mapping(text, "test.yaml")
    found = differences(MAPPING.meaning, other.meaning)

    assert old in TEXT
    assert MAPPING.digest != other.digest
    assert found
    for each in told:
        assert any(line.startswith(each) for line in found), found


def test_the_meaning_is_json() -> None:
    """The meaning can stand in a manifest, and come back from it."""
    assert MAPPING.meaning == json.loads(json.dumps(MAPPING.meaning))


@pytest.mark.parametrize("text", [TEXT, CHANGED, TEXT.replace("[live, 1]", "{not: [live, 1]}, x: {present: true}")])
def test_a_mapping_is_recalled_from_what_it_said(text: str) -> None:
    """The ledger's JSON is enough: every rule, key, fold and condition means the same."""
    mapping = parse_mapping(text, "test.yaml")

    assert mapping.meaning == recall(json.loads(to_json(mapping.meaning)), mapping.digest).meaning


@pytest.mark.parametrize("name", ["receipts", "examples/mappings/catalogue.yaml", "examples/mappings/tenants.yaml"])
def test_a_mapping_that_comes_along_is_recalled(name: str) -> None:
    """The same of each that is shipped or an example."""
    mapping = load_mapping(name)

    assert mapping.meaning == recall(json.loads(to_json(mapping.meaning)), mapping.digest).meaning


def test_what_is_no_meaning_is_no_mapping() -> None:
    """A ledger that says something else, or nothing that can be read, is damaged."""
    said = json.loads(to_json(MAPPING.meaning))
    for damaged in (said | {"rules": {}}, said | {"ordering": "any"}, {}, said | {"collections": {"docs": "{"}}):
        with pytest.raises(Corrupt, match="not what the ledger remembers"):
            recall(damaged, MAPPING.digest)
