"""The layout: which shard a record belongs to, its bytes, and its swap."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    HeadMoved,
    LifecycleError,
    NotInitialised,
    OutcomeUnknown,
    Sharded,
    StoreUnavailable,
)
from chroma_lifecycle.ports import StoredHead, SwapUnanswered
from chroma_lifecycle.publishing.head import decode_head, encode_head
from chroma_lifecycle.publishing.layout import decode_layout, encode_layout, publish_layout, read_layout
from chroma_lifecycle.publishing.shard import Shard, whole_of
from chroma_lifecycle.slots import SLOTS, even_slots, routing_key, slot_of
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.heads import COLLECTION, head_spec, write_id
from tests.support.layouts import layout_spec

DOC = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
VECTORS = re.findall(r"^\| `(\S+)` \| `([0-9a-f]{3})` \| (\d+) \| (\d) \|$", DOC, re.MULTILINE)
GOLDEN = Path(__file__).parent / "golden" / "layout-v1.json"

segments = st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"]), max_size=5)
ids = st.lists(segments, min_size=1, max_size=6).map("#".join)


@pytest.mark.parametrize(("key", "digits", "slot", "shard"), VECTORS)
def test_the_slots_are_those_of_the_document(key: str, digits: str, slot: str, shard: str) -> None:
    """The vectors were made by `sha256sum`; anybody can compute where a record lies."""
    assert len(VECTORS) == 7
    assert hashlib.sha256(key.encode()).hexdigest().startswith(digits)
    assert int(slot) == int(digits, 16) == slot_of(key)
    assert f"words.1-{shard}" == layout_spec().shard_of(f"{key}#x" if "#" in key else key).name


@given(ids, ids, st.integers(1, 4))
def test_what_lies_below_a_prefix_lies_in_its_shard(prefix: str, rest: str, count: int) -> None:
    """Records, their items, tombstones and prefixes route alike, as soon as the prefix has the segments that decide."""
    layout = layout_spec(segments=count)
    if prefix.count("#") >= count - 1:
        assert layout.shard_of(prefix) == layout.shard_of(f"{prefix}#{rest}")


@given(ids, st.integers(1, 6))
def test_a_routing_key_is_the_beginning_of_the_id(record_id: str, count: int) -> None:
    """It is made of whole segments."""
    key = routing_key(record_id, count)
    assert key == record_id or record_id.startswith(f"{key}#")
    assert key.count("#") <= count - 1


@given(st.integers(1, 256))
def test_equal_shards_cover_every_slot_once(shards: int) -> None:
    """They begin with 0, and none is larger than another by more than one slot."""
    begins = even_slots(shards)
    sizes = {after - before for before, after in zip(begins, [*begins[1:], SLOTS], strict=True)}
    assert begins[0] == 0 < min(sizes)
    assert max(sizes) - min(sizes) <= 1


def test_records_spread_over_the_shards() -> None:
    """Of 8,000 partitions each of 8 shards has about 1,000: within six standard deviations."""
    layout = layout_spec(8)
    found = Counter(layout.shard_of(f"IMAGE#{number}#WORD#1").name for number in range(8_000))
    assert len(found) == 8
    assert max(abs(count - 1_000) for count in found.values()) < 180


def test_doubling_splits_each_shard_in_two() -> None:
    """From N to 2 N no record meets one that it was not with before."""
    before, after = layout_spec(4), layout_spec(8)
    moves = {(before.shard_of(f"A#{n}").name, after.shard_of(f"A#{n}").name) for n in range(2_000)}
    assert len(moves) == 8


def test_a_golden_layout_is_read_and_written_back_byte_for_byte() -> None:
    """A layout of format version 1 can be read for ever, and has one spelling."""
    assert layout_spec(3) == decode_layout(GOLDEN.read_bytes(), COLLECTION)
    assert GOLDEN.read_bytes() == encode_layout(layout_spec(3))


def spoilt(**changes: object) -> bytes:
    return json.dumps(json.loads(encode_layout(layout_spec(2))) | changes, separators=(",", ":")).encode()


ONE, TWO = json.loads(encode_layout(layout_spec(2)))["shards"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (spoilt(collection="places"), "that of collection|has the name"),
        (spoilt(serial=0), "serial"),
        (spoilt(segments=0), "segments"),
        (spoilt(generation=2), "has the name"),
        (spoilt(swap_id="x"), "swap_id"),
        (spoilt(shards=[]), "0 shards"),
        (spoilt(shards=[TWO, ONE]), "do not begin with 0 and ascend"),
        (spoilt(shards=[ONE, ONE]), "ascend"),
        (spoilt(shards=[ONE, TWO | {"first_slot": 4096}]), "first_slot"),
        (spoilt(shards=[ONE | {"first_slot": 1}, TWO]), "do not begin with 0"),
        (spoilt(shards=[ONE, TWO | {"name": "places.1-1"}]), "has the name 'places.1-1'"),
        (spoilt(shards=[ONE, TWO | {"name": "../words.1-1"}]), "name"),
        (spoilt(shards=[ONE, TWO | {"lineage": ONE["lineage"]}]), "two shards have one lineage"),
        (spoilt(shards=[ONE] * 300), "at most 256"),
        (spoilt(newest_generation=0), "newest_generation"),
        (spoilt(coming=[ONE | {"lineage": "0" * 16}]), "has the name|newest generation"),
        (spoilt(newest_generation=2, coming=[ONE | {"name": "words.2-0"}]), "two shards have one lineage"),
        (spoilt(newest_generation=2, coming=[TWO | {"name": "words.2-0", "lineage": "0" * 16}]), "begin with 0"),
        (spoilt(newest_generation=2, coming=[ONE | {"name": "lines.2-0", "lineage": "0" * 16}]), "has the name"),
        (spoilt(vectors={"source": "s3://x/y"}), "dimension"),
        (spoilt(vectors={"source": "", "dimension": 3}), "source of the vectors"),
        (spoilt(vectors={"source": "s3://x/y", "dimension": 0}), "dimension"),
        (spoilt(vectors={"source": "s3://x/y", "dimension": 3, "more": 1}), "no such field"),
        (spoilt(writer="\u001b[2J"), "writer"),
        (spoilt(more=1), "no such field"),
        (encode_layout(layout_spec(2)) + b"\n", "not spelled"),
        (b"[]", "no layout"),
        (b"\xff", "no sound JSON"),
    ],
)
def test_a_hostile_layout_is_refused(body: bytes, told: str) -> None:
    """Whatever is not exactly a layout leads nowhere, least of all to another collection's records."""
    with pytest.raises(LifecycleError, match=told):
        decode_layout(body, COLLECTION)


def test_a_newer_layout_is_refused_with_both_versions() -> None:
    """C12: what a newer library wrote is refused, naming the version found and the one known."""
    newer = json.dumps({"format": "chroma-lifecycle layout", "format_version": 2, "all": "different"}).encode()
    with pytest.raises(BadInput, match=r"version 2 .* knows 1"):
        decode_layout(newer, COLLECTION)


def test_who_expects_a_plain_collection_is_told_of_the_shards() -> None:
    """A layout is no HEAD: nothing that works on one lineage can answer for a part as for the whole."""
    with pytest.raises(Sharded, match="is in shards"):
        decode_head(encode_layout(layout_spec()), COLLECTION)
    with pytest.raises(BadInput, match="not in shards"):
        decode_layout(encode_head(head_spec()), COLLECTION)


def test_names_of_shards_tell_the_collection() -> None:
    """And only names that a layout can have do."""
    assert (whole_of("words.1-0"), whole_of("a.2-1.12-30")) == ("words", "a.2-1")
    assert [None] * 5 == [whole_of(name) for name in ("words", "words.0-1", "words.1-01", "words.1-", ".1-1")]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "store").mkdir()
    return DirectoryStore(tmp_path / "store")


def test_a_layout_is_swapped_like_head(store: DirectoryStore) -> None:
    """The second of two that start from the same one is refused, and the first stays in force."""
    with pytest.raises(NotInitialised):
        read_layout(store, COLLECTION)
    first = publish_layout(store, layout_spec(), None)
    assert first == read_layout(store, COLLECTION)
    assert first is read_layout(store, COLLECTION, known=first)

    second = publish_layout(store, layout_spec(serial=2, swap_id=write_id(8)), first)
    for expected in (first, None):
        with pytest.raises(HeadMoved):
            publish_layout(store, layout_spec(serial=2, swap_id=write_id(9)), expected)
    assert second == read_layout(store, COLLECTION)


class Silent(DirectoryStore):
    """Swaps, or not, and does not answer; nor, perhaps, to what is asked then."""

    lands = answers = True

    def read_head(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
        if not self.answers:
            raise StoreUnavailable("away", hint="wait")
        return super().read_head(*arguments, **named)  # type: ignore[arg-type]

    def swap_head(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
        if self.lands:
            super().swap_head(*arguments, **named)  # type: ignore[arg-type]
        raise SwapUnanswered("no answer")


def test_a_swap_without_an_answer_is_read_back(tmp_path: Path) -> None:
    """What landed is found; what may land still is told as unknown."""
    store = Silent(tmp_path)
    store.lands = False
    with pytest.raises(OutcomeUnknown):
        publish_layout(store, layout_spec(), None)
    store.answers = False
    with pytest.raises(OutcomeUnknown, match="may or may not be in force: away"):
        publish_layout(store, layout_spec(), None)
    store.answers = store.lands = True
    assert layout_spec() == publish_layout(store, layout_spec(), None).layout
    assert StoredHead(encode_layout(layout_spec()), read_layout(store, COLLECTION).token) == store.read_head(COLLECTION)


def test_a_shard_has_one_place_in_the_order(store: DirectoryStore) -> None:
    """A layout that cannot be is not made either."""
    with pytest.raises(ValueError, match="has the name"):
        layout_spec(shards=(Shard("words.1-1", write_id(1), 0),))
    with pytest.raises(Corrupt):
        decode_layout(b"{", COLLECTION)
