"""`mapping check`: what a mapping owns, and what an event would do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from textwrap import dedent

from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.explain import explain_events, explain_mapping
from chroma_lifecycle.intake.explain_text import events_text, mapping_text
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.records import EventName, StreamRecord
from chroma_lifecycle.values import Position
from tests.support.mappings import DOC, HEAD, TAG, mapping_of

RULES = f"""
doc:
  {DOC}
  set:
    docs, chunks: [title]
  when: {{status: [live, 1], draft: {{not: [true]}}, title: {{present: true}}}}
  removal_deletes: [chunks]
tag:
  {TAG}
  set:
    docs:
      tag_{{tag}}: {{from: weight}}
      tags: {{value: true, fold: count}}
      level: {{from: level, values: {{1: high, a: low}}, otherwise: none, fold: {{first: [high, low, none]}}}}
run:
  item: {{PK: "TENANT#{{tenant}}", SK: "RUN#{{run}}"}}
  merge:
    docs: {{delta: docs_delta, state: docs_state}}
    chunks: {{delta: chunks_delta, state: chunks_state}}
"""
MAPPING = mapping_of(RULES)
LIVE: Image = {"status": {"S": "live"}, "title": {"S": "On “quotes”"}}
PENDING: Image = {"docs_state": {"S": "PENDING"}, "docs_delta": {"S": "runs/1"}}


def record(name: EventName, sort: str, new: Image | None, old: Image | None = None) -> StreamRecord:
    """A stream record of tenant t."""
    keys: Image = {"PK": {"S": "TENANT#t"}, "SK": {"S": sort}}
    return StreamRecord("source", name, keys, new, old, Position.of_stream("s", 1, 0))


def told(*records: StreamRecord, mapping: TableMapping = MAPPING) -> str:
    """What is told of these records, to people; the same must be JSON for programs."""
    explained = explain_events(mapping, records)
    json.dumps([asdict(each) for each in explained])
    return events_text(explained)


def test_a_mapping_tells_what_it_owns() -> None:
    """For each rule: its items, what it reaches, and for each key one or several feeders."""
    explained = explain_mapping(MAPPING)

    assert mapping_text(explained).partition("\n")[2] == dedent(
        """\
        collection docs: TENANT#{tenant}#DOC#{doc}
        collection chunks: TENANT#{tenant}#DOC#{doc}#CHUNK#{n:06d}
        rule doc (line 8): PK=TENANT#{tenant}, SK=DOC#{doc}
          when {status: [live, 1], draft: {not: [true]}, title: {present: true}}
          docs: keys on TENANT#{tenant}#DOC#{doc}
            title: from title; one item
          chunks: REMOVE deletes TENANT#{tenant}#DOC#{doc}#…
          chunks: keys on TENANT#{tenant}#DOC#{doc}#…
            title: from title; one item
        rule tag (line 14): PK=TENANT#{tenant}, SK=DOC#{doc}#TAG#{tag}
          docs: keys on TENANT#{tenant}#DOC#{doc}
            tag_{tag}: from weight; one item
            tags: value true; several items (one for each tag), fold count
            level: from level, values {1: high, a: low}, otherwise none; several items (one for each tag), """
        """fold {first: [high, low, none]}
        rule run (line 21): PK=TENANT#{tenant}, SK=RUN#{run}
          docs: merges the delta in docs_delta when docs_state is PENDING; ids TENANT#{tenant}#…
          chunks: merges the delta in chunks_delta when chunks_state is PENDING; ids TENANT#{tenant}#…
        """
    )
    assert mapping_text(explained).startswith(f"mapping {MAPPING.digest[:12]}, ordering exact\n")
    json.dumps(asdict(explained))


def test_an_item_tells_its_keys() -> None:
    """Rule, line, placeholder values, ids, and each owned key with what it gets."""
    assert told(record("MODIFY", "DOC#d#TAG#red", {"weight": {"N": "5"}})) == dedent(
        """\
        MODIFY PK=TENANT#t, SK=DOC#d#TAG#red
          rule tag (line 14): tenant=t, doc=d, tag=red
          docs: keys on TENANT#t#DOC#d
            tag_red: 5
            tags: true, fold count
            level: "none", fold {first: [high, low, none]}
        """
    )


def test_an_item_that_fails_the_conditions_gives_nothing() -> None:
    """The keys stay owned, and are told with nothing."""
    assert told(record("MODIFY", "DOC#d", {**LIVE, "draft": {"BOOL": True}})) == dedent(
        """\
        MODIFY PK=TENANT#t, SK=DOC#d
          rule doc (line 8): tenant=t, doc=d
          docs: keys on TENANT#t#DOC#d
            title: nothing
          chunks: keys on TENANT#t#DOC#d#…
            title: nothing
        """
    )


def test_a_removed_item_tells_what_is_deleted() -> None:
    """REMOVE withdraws the keys, and deletes where the rule says so."""
    assert told(record("REMOVE", "DOC#d", None, LIVE)) == dedent(
        """\
        REMOVE PK=TENANT#t, SK=DOC#d
          rule doc (line 8): tenant=t, doc=d
          docs: keys on TENANT#t#DOC#d
            title: nothing
          chunks: deletes TENANT#t#DOC#d#…
          chunks: keys on TENANT#t#DOC#d#…
            title: nothing
        """
    )


def test_a_run_tells_where_it_begins() -> None:
    """A pending run tells its delta and the ids that it may hold; our own status write begins none."""
    begun = record("INSERT", "RUN#r", PENDING)
    own = record("MODIFY", "RUN#r", {**PENDING, "docs_state": {"S": "COMPLETED"}}, PENDING)

    assert told(begun, own) == dedent(
        """\
        INSERT PK=TENANT#t, SK=RUN#r
          rule run (line 21): tenant=t, run=r
          docs: begins a run of the delta runs/1; ids TENANT#t#…
          chunks: nothing
        MODIFY PK=TENANT#t, SK=RUN#r
          rule run (line 21): tenant=t, run=r
          docs: nothing
          chunks: nothing
        """
    )


def test_in_any_order_a_run_may_hold_any_id() -> None:
    """Without exact ordering a delta is not bound to a partition."""
    mapping = mapping_of(RULES, head=HEAD + "ordering: to_the_second\n")

    assert "begins a run of the delta runs/1; ids any\n" in told(record("INSERT", "RUN#r", PENDING), mapping=mapping)
    assert "when docs_state is PENDING; ids any\n" in mapping_text(explain_mapping(mapping))


def test_an_item_of_no_rule_is_ignored() -> None:
    """What is ignored is told with its key; a binary key fits nothing."""
    other = record("INSERT", "NOTE#n", {})
    binary = replace(other, keys={"PK": {"B": "AP8="}, "SK": {"S": "x"}})

    assert told(other, binary) == dedent(
        """\
        INSERT PK=TENANT#t, SK=NOTE#n
          ignored: no rule's item fits PK=TENANT#t, SK=NOTE#n
        INSERT ?
          ignored: no rule's item fits a binary key
        """
    )


def test_bad_input_is_told_where_it_belongs() -> None:
    """An event of another table is bad as a whole, a value that no record takes in its collections."""
    foreign = replace(record("INSERT", "DOC#d", LIVE), keys={"id": {"S": "x"}})
    spoiled = record("MODIFY", "DOC#d", {**LIVE, "title": {"SS": ["a"]}})

    text = told(foreign, spoiled)
    assert "INSERT ?\n  bad input: the item's key attributes are id, but the mapping's table has PK, SK (hint: " in text
    for collection in ("docs", "chunks"):
        assert (
            f"  {collection}: bad input: rule 'doc', item PK=TENANT#t, SK=DOC#d: "
            "attribute 'title' is a set of text, which no record can hold (hint: " in text
        )


def test_a_flat_message_tells_what_it_moves() -> None:
    """A message for one collection acts there alone; a partial image moves the attributes that it names."""
    message = replace(record("MODIFY", "DOC#d", LIVE), partial=True, collection="docs")

    assert told(message) == dedent(
        """\
        MODIFY PK=TENANT#t, SK=DOC#d
          rule doc (line 8): tenant=t, doc=d
          docs: keys on TENANT#t#DOC#d, by status, title alone (a partial image)
        """
    )
