"""docs/mapping.md says what is so: its mappings are read, its events explained, its refusals told."""

from __future__ import annotations

import json
import re
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.explain import explain_events
from chroma_lifecycle.intake.explain_text import events_text
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.intake.records import StreamRecord, parse_stream_record

ARN = "arn:aws:dynamodb:eu-central-1:1:table/t/stream/2024-11-23T00:00:00.000"
ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```(\w+)( refused)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(f"{kind}{refused}", body) for kind, refused, body in BLOCK.findall((ROOT / "docs/mapping.md").read_text())]

MAPPINGS = [body for kind, body in BLOCKS if kind == "yaml" and body.startswith("mapping: 1")]
RULES = [body for kind, body in BLOCKS if kind == "yaml" and not body.startswith("mapping: 1")]
SOURCES = {
    "products": "examples/mappings/catalogue.yaml",
    "tenants": "examples/mappings/tenants.yaml",
    "receipts": "chroma_lifecycle/intake/mappings/receipts.yaml",
}


def record(text: str) -> StreamRecord:
    """Read one event, which the documentation shortens to what a mapping looks at."""
    event = json.loads(text)
    change = event["dynamodb"]
    place = {"SequenceNumber": "1", "ApproximateCreationDateTime": 1}
    return parse_stream_record({**event, "eventSourceARN": ARN, "dynamodb": {**change, **place}}, "source")


def events() -> list[tuple[str, str, str]]:
    """Each event, with the mapping that stands before it and the text that stands after it."""
    found, mapping = [], ""
    for (kind, body), (after, told) in pairwise(BLOCKS):
        if kind == "yaml" and body.startswith("mapping: 1"):
            mapping = body
        if kind == "json":
            assert after == "text"
            found.append((mapping, body, told))
    return found


@pytest.mark.parametrize(("shown", "source"), list(zip(MAPPINGS, SOURCES.values(), strict=True)), ids=SOURCES)
def test_the_examples_are_the_files(shown: str, source: str) -> None:
    """What the documentation shows is what is shipped, and it is a mapping."""
    assert (ROOT / source).read_text() == shown
    assert load_mapping(str(ROOT / source)).digest == parse_mapping(shown, "shown.yaml").digest


@pytest.mark.parametrize("rules", RULES)
def test_the_pieces_are_rules(rules: str) -> None:
    """What is shown in part is valid as rules of the tenants' mapping."""
    head = MAPPINGS[1].split("rules:")[0]

    parse_mapping(head + "rules:\n" + textwrap.indent(rules, "  "), "piece.yaml")


@pytest.mark.parametrize(("mapping", "event", "told"), events())
def test_each_event_does_what_is_said(mapping: str, event: str, told: str) -> None:
    """Under the mapping that stands before it, an event does what stands after it."""
    assert told == events_text(explain_events(parse_mapping(mapping, "shown.yaml"), [record(event)]))


def test_the_refusal_is_what_is_told() -> None:
    """The wrong mapping is refused with the lines that are shown."""
    (place,) = [number for number, (kind, _) in enumerate(BLOCKS) if kind == "yaml refused"]

    with pytest.raises(BadInput) as refused:
        parse_mapping(BLOCKS[place][1], "mapping.yaml")
    assert ("text", BLOCKS[place + 1][1]) == ("text", "\n".join(refused.value.message.split("\n")[1:]))


EVERY_PLACE = """\
mapping: 1
no: 1
table: {partition_key: PK, sort_key: SK, no: 1}
ordering: no
collections:
  notes: USER#{user}#NOTE#{note}
rules:
  run:
    no: 1
    item: {PK: "USER#{user}", SK: "RUN#{run}"}
    merge:
      notes: {delta: delta, state: state, no: 1}
  note:
    item: {PK: "USER#{user}", SK: "NOTE#{note}"}
    set:
      notes:
        title: {from: title, no: 1}
        folder: {from: folder, fold: no}
    when: {a: {no: 1}}
"""


def test_every_word_of_the_language_stands_on_the_page() -> None:
    """What the parser takes in each place, asked of itself by a word that it does not know."""
    page = (ROOT / "docs/mapping.md").read_text()
    with pytest.raises(BadInput) as refused:
        parse_mapping(EVERY_PLACE, "mapping.yaml")
    lists = re.findall(r"allowed: ([^;\n]+)", refused.value.message)
    words = {word for each in lists for word in re.findall(r"[a-z_]+", each)}

    assert {"finished_at", "members", "present", "shards", "removal_deletes", "to_the_second", "newest"} <= words
    assert [] == [word for word in sorted(words) if not re.search(rf"[`\s{{]{word}[`:,\s}}]", page)]
