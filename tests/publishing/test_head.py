"""HEAD as bytes: golden files, the strict decoder, and what a HEAD may say."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES
from chroma_lifecycle.publishing.head import Expiry, Head, Unpinned, decode_head, encode_head
from chroma_lifecycle.publishing.shard import Successors, even_shards
from chroma_lifecycle.values import Era, Version
from tests.support.heads import COLLECTION, LINEAGE, NOON, head_spec, manifest_ref, write_id

GOLDEN = Path(__file__).parent / "golden"

FULL = head_spec(
    9,
    published_by=7,
    serial=42,
    sweeps=3,
    floor=Version(4),
    manifest=manifest_ref(9, 7, sweeps=3),
    expiries=(Expiry(Version(6), NOON), Expiry(Version(8), NOON + timedelta(microseconds=1))),
    pins={"release-1": manifest_ref(2, 5), "audit": manifest_ref(3, 6)},
    unpinned=(Unpinned(manifest_ref(1, 4), NOON),),
    came_from=("00000000000000bb",),
    moved_to="s3://another-bucket/words",
    closed_for=2,
    holds=manifest_ref(9, 7, sweeps=3).digest,
    successors=Successors(2, 2, even_shards(COLLECTION, 2, ["00000000000000a0", "00000000000000a1"])),
    writer="function words-compactor, request 1",
)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("head-v1-*.json")), ids=lambda path: path.stem)
def test_a_golden_head_is_read_and_written_back_byte_for_byte(path: Path) -> None:
    """A HEAD of format version 1 can be read for ever, and has one spelling."""
    assert path.read_bytes() == encode_head(decode_head(path.read_bytes(), COLLECTION))


def test_the_golden_heads_say_what_they_were_made_to_say() -> None:
    """Reading is more than the inverse of writing: every field arrives where it belongs."""
    assert head_spec() == decode_head((GOLDEN / "head-v1-first.json").read_bytes(), COLLECTION)
    assert decode_head((GOLDEN / "head-v1-full.json").read_bytes(), COLLECTION) == FULL


def test_the_format_comes_first() -> None:
    """Whoever looks at the first bytes of a HEAD sees what it is."""
    assert encode_head(FULL).startswith(b'{"format":"chroma-lifecycle head","format_version":1,')


times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))  # noqa: DTZ001
versions = st.integers(1, 9).map(Version)
refs = st.builds(manifest_ref, st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 9))
heads = st.builds(
    lambda **changes: head_spec(9, **changes),
    serial=st.integers(1, 2**64 - 1),
    sweeps=st.integers(0, 10**19 - 1),
    floor=versions,
    written_at=times,
    writer=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
    expiries=st.lists(st.builds(Expiry, versions, times), max_size=3).map(tuple),
    pins=st.dictionaries(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), refs, max_size=3),
    unpinned=st.lists(st.builds(Unpinned, refs, times), max_size=3).map(tuple),
    came_from=st.lists(st.integers(0, 2**64 - 1).map(write_id), max_size=3).map(tuple),
    moved_to=st.none() | st.just("s3://elsewhere/x"),
    closed_for=st.none() | st.integers(1, 10**9 - 1),
    holds=st.none() | refs.map(lambda ref: ref.digest),
    successors=st.none()
    | st.builds(
        lambda generation, segments, lineages: Successors(
            generation, segments, even_shards(COLLECTION, generation, lineages)
        ),
        st.integers(1, 10**9 - 1),
        st.integers(1, 64),
        st.lists(st.integers(0, 2**64 - 1).map(write_id), max_size=4),
    ),
)


@given(heads)
def test_decoding_undoes_encoding(head: Head) -> None:
    """Every HEAD that can be made can be read back, equal."""
    assert head == decode_head(encode_head(head), COLLECTION)


def test_the_next_head_carries_everything_over() -> None:
    """Whoever swaps HEAD keeps what it decides: only serial, swap id, time and writer are new."""
    later = FULL.next(swap_id=write_id(99), written_at=NOON + timedelta(days=1), writer="somebody else")

    changed = {field.name for field in fields(Head) if getattr(FULL, field.name) != getattr(later, field.name)}
    assert {"serial", "swap_id", "written_at", "writer"} == changed
    assert FULL.serial + 1 == later.serial


def test_a_head_tells_its_version_write_id_and_era() -> None:
    """Version and write id are those of the manifest; the era is lineage and sweeps."""
    assert (Version(9), write_id(7), Era(LINEAGE, 3)) == (FULL.version, FULL.write_id, FULL.era)


def test_a_head_that_has_moved_is_refused_with_the_new_address() -> None:
    """A writer that comes to a store which was moved learns where to go."""
    with pytest.raises(BadInput, match="s3://another-bucket/words"):
        FULL.require_here()
    replace(FULL, moved_to=None).require_here()


def test_a_newer_format_is_refused_with_both_versions() -> None:
    """C12: what a newer library wrote is refused, naming the version found and the one known."""
    newer = json.dumps({"format": "chroma-lifecycle head", "format_version": 2, "all": "different"}).encode()

    with pytest.raises(BadInput, match=r"version 2 .* knows 1"):
        decode_head(newer, COLLECTION)


def test_the_head_of_another_collection_is_refused() -> None:
    """A HEAD copied to another collection's place is not taken for its own."""
    with pytest.raises(Corrupt, match="collection words"):
        decode_head(encode_head(FULL), "places")


def spoilt(**changes: object) -> bytes:
    return json.dumps(json.loads(encode_head(FULL)) | changes, separators=(",", ":")).encode()


REF = {"name": manifest_ref(9, 7, sweeps=3).name, "digest": "0" * 64}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        encode_head(FULL)[:-1],
        encode_head(FULL) + b"\n",
        encode_head(FULL).replace(b":", b": ", 1),
        b"[" * 100_000,
        b'{"format":' + b"9" * 10_000 + b"}",
        b"x" * (HEAD_LIMIT_BYTES + 1),
        encode_head(FULL).replace(b'"serial":42', b'"serial":42,"serial":42'),
        spoilt(format="something else"),
        spoilt(format_version=0),
        spoilt(format_version=True),
        spoilt(format_version="1"),
        spoilt(unknown_field=1),
        spoilt(serial=0),
        spoilt(serial=1 << 64),
        spoilt(serial=1.0),
        spoilt(serial=True),
        spoilt(sweeps=-1),
        spoilt(sweeps=10**19),
        spoilt(version=8),
        spoilt(write_id=write_id(8)),
        spoilt(lineage="zz"),
        spoilt(swap_id=7),
        spoilt(floor=10),
        spoilt(floor=0),
        spoilt(manifest={**REF, "name": "words/HEAD"}),
        spoilt(manifest={**REF, "name": "../" + REF["name"]}),
        spoilt(manifest={**REF, "name": REF["name"].replace("words", "places")}),
        spoilt(manifest={**REF, "digest": "0"}),
        spoilt(manifest={**REF, "more": 1}),
        spoilt(manifest=None),
        spoilt(expiries=[{"bound": 10, "time": "2026-01-31T12:00:00.000000Z"}]),
        spoilt(expiries=[{"bound": 6, "time": "2026-01-31T12:00:00Z"}]),
        spoilt(expiries=[{"bound": 6}]),
        spoilt(expiries={}),
        spoilt(pins=[{"pin": "a/b", "manifest": REF}]),
        spoilt(pins=[{"pin": "", "manifest": REF}]),
        spoilt(pins=[{"pin": "a", "manifest": REF}, {"pin": "a", "manifest": REF}]),
        spoilt(pins=[{"pin": "b", "manifest": REF}, {"pin": "a", "manifest": REF}]),
        spoilt(unpinned=[{"manifest": REF, "time": 7}]),
        spoilt(came_from=["x"]),
        spoilt(moved_to=""),
        spoilt(moved_to="\n"),
        spoilt(closed_for=0),
        spoilt(closed_for="2"),
        spoilt(closed_for=True),
        spoilt(holds="0"),
        spoilt(writer="\ud800"),
        spoilt(writer="x" * 3_000),
        spoilt(written_at="now"),
        spoilt(collection="../x"),
    ],
)
def test_hostile_bytes_are_corrupt(body: bytes) -> None:
    """Whatever stands in HEAD's place, the answer is one clear error that names HEAD."""
    with pytest.raises(Corrupt, match="HEAD of words"):
        decode_head(body, COLLECTION)


@given(st.data())
def test_no_change_of_a_byte_makes_the_decoder_fail_otherwise(data: st.DataObject) -> None:
    """A byte changed, cut out or put in: a HEAD, or one clear error; and what is read is spelled the same again."""
    body = bytearray(encode_head(data.draw(st.sampled_from([head_spec(), FULL]))))
    at = data.draw(st.integers(0, len(body) - 1))
    put = st.binary(max_size=3) | st.sampled_from([b" ", b"0", b"9", b"-", b"null", b"[]", b"{}", b"1e9"])
    body[at : at + data.draw(st.integers(0, 3))] = data.draw(put)
    try:
        found = decode_head(bytes(body), COLLECTION)
    except (Corrupt, BadInput):
        return
    assert bytes(body) == encode_head(found)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (spoilt(from_the_future=1), "field from_the_future: no such field"),
        (spoilt(version=8), r"says version 0{15}8, and names .*/0{15}9-"),
        (spoilt(serial=0), "field serial: not a whole number from 1"),
        (spoilt(floor=10), "floor 0{15}a is above version 0{15}9"),
        (spoilt(writer=" ".join(["x"] * 9) + "\n"), "field writer: not a printable text"),
        (encode_head(FULL) + b" ", "not spelled as the format has it"),
    ],
)
def test_what_is_wrong_is_told(body: bytes, words: str) -> None:
    """Whoever made the damage finds the field in the message, and beside it the way out."""
    with pytest.raises(Corrupt, match=words) as caught:
        decode_head(body, COLLECTION)
    assert "chroma-lifecycle" in caught.value.hint


@given(st.data())
def test_no_damage_goes_unseen_or_unexplained(data: st.DataObject) -> None:
    """Bytes changed anywhere make an error of ours, or another HEAD that is spelled as it should be."""
    body = bytearray(encode_head(FULL))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    try:
        head = decode_head(bytes(body), COLLECTION)
    except (Corrupt, BadInput):
        return
    assert bytes(body) == encode_head(head)


def test_a_head_that_would_be_too_long_is_not_written() -> None:
    """The bound of the reader is the writer's, and the error says what to do."""
    pins = {f"pin-{number}": manifest_ref(1, number) for number in range(8_000)}

    with pytest.raises(BadInput, match="unpin"):
        encode_head(head_spec(pins=pins))


def test_a_head_that_could_not_be_read_is_not_written() -> None:
    """Nor with more expiries than the reader takes: after years without a sweep the next one is refused."""
    most = head_spec(expiries=(Expiry(Version(1), NOON),) * 10_000)

    assert most == decode_head(encode_head(most), COLLECTION)
    with pytest.raises(BadInput, match=r"10,001 expiries.*10,000 are read"):
        encode_head(replace(most, expiries=(*most.expiries, most.expiries[0])))
