"""Deltas in S3: found, fetched, refused; and opened as those in directories are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.aws import deltas as s3_deltas
from chroma_lifecycle.aws.deltas import S3DeltaSource
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.deltas.addresses import BucketRoot, Place, Roots
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import DeltaFile, RootedDeltas
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from tests.support.deltas import write_delta
from tests.support.s3 import HASTY, FaultProxy, breaks_off, client, client_at, flips_a_bit, hangs, new_bucket, says


@pytest.fixture
def source(proxy: FaultProxy) -> S3DeltaSource:
    return S3DeltaSource(client_at("s3", proxy.url))


@pytest.fixture
def bucket() -> str:
    return new_bucket()


def put(bucket: str, **objects: bytes) -> None:
    for key, body in objects.items():
        client().put_object(Bucket=bucket, Key=key, Body=body)


def place(bucket: str, address: str, prefix: str = "deltas/") -> Place:
    return Roots((BucketRoot(bucket, prefix),)).locate(address)


def test_an_object_is_listed_by_the_empty_name(source: S3DeltaSource, bucket: str) -> None:
    """The address may be the object itself; what only begins with its name is another delta."""
    put(bucket, **{"deltas/a.parquet": b"12345", "deltas/a.parquet.old": b"1", "a.parquet": b"1"})

    assert [DeltaFile("", 5)] == source.list(place(bucket, "a.parquet"))


def test_objects_below_are_listed_by_name_and_neighbours_are_not(source: S3DeltaSource, bucket: str) -> None:
    """A delta at run/1 has nothing of run/10, run/1-old or another prefix."""
    names = ["deltas/run/1/b", "deltas/run/1/a/x", "deltas/run/1/", "deltas/run/10/c", "deltas/run/1-old", "run/1/d"]
    put(bucket, **dict.fromkeys(names, b"1"))

    assert [DeltaFile("", 1), DeltaFile("a/x", 1), DeltaFile("b", 1)] == source.list(place(bucket, "run/1/"))


def test_nothing_is_an_empty_list(source: S3DeltaSource, bucket: str) -> None:
    """What is missing is told by the list, also below an object."""
    put(bucket, **{"deltas/file": b""})

    assert [] == source.list(place(bucket, "absent"))
    assert [] == source.list(place(bucket, "fil"))
    assert [] == source.list(place(bucket, "file/below"))


def test_a_list_longer_than_a_page_is_whole_and_not_endless(
    source: S3DeltaSource, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: all pages are read, and no more than shows that they are too many."""
    put(bucket, **{f"deltas/run/{number:04}": b"" for number in range(12)})
    original = source._client.list_objects_v2
    monkeypatch.setattr(source._client, "list_objects_v2", lambda **what: original(**{"MaxKeys": 5, **what}))

    assert 12 == len(source.list(place(bucket, "run")))
    monkeypatch.setattr(s3_deltas, "MAX_FILES", 6)
    assert 7 == len(source.list(place(bucket, "run")))


@pytest.mark.parametrize("size", [0, 1, (2 << 20) + 1])
def test_an_object_is_fetched_whole(source: S3DeltaSource, bucket: str, tmp_path: Path, size: int) -> None:
    """Byte for byte, into a new file."""
    body = bytes(range(256)) * (size // 256 + 1)
    put(bucket, **{"deltas/run/part": body[:size]})

    source.fetch(place(bucket, "run"), DeltaFile("part", size), tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == body[:size]


@pytest.mark.parametrize("fault", [breaks_off(1), flips_a_bit(seen_by_s3=True)], ids=["breaks off", "flipped bit"])
def test_an_object_that_comes_damaged_is_fetched_again(
    source: S3DeltaSource, proxy: FaultProxy, bucket: str, tmp_path: Path, fault: Any
) -> None:
    """C2: a part is never taken for the whole."""
    put(bucket, **{"deltas/run/part": b"some bytes"})
    proxy.on("GET", "part", fault, fault)

    source.fetch(place(bucket, "run"), DeltaFile("part", 10), tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == b"some bytes"
    assert proxy.count("part")["GET"] == 3


def test_an_object_that_always_breaks_off_is_unavailable(
    source: S3DeltaSource, proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    """C2: it is S3 that failed, and not the delta: the message comes again."""
    put(bucket, **{"deltas/run/part": b"some bytes"})
    proxy.always("GET", "part", breaks_off(1))

    with pytest.raises(StoreUnavailable, match="'run'"):
        source.fetch(place(bucket, "run"), DeltaFile("part", 10), tmp_path / "out")


CALLS: dict[str, Callable[[S3DeltaSource, Place, Path], object]] = {
    "list": lambda source, at, to: source.list(at),
    "fetch": lambda source, at, to: source.fetch(at, DeltaFile("part", 10), to),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_never_answers_is_unavailable(proxy: FaultProxy, bucket: str, tmp_path: Path, call: str) -> None:
    """S11: a retryable error within the budget; the delta is not to blame."""
    proxy.always("GET", bucket, hangs)
    source = S3DeltaSource(client_at("s3", proxy.url, HASTY))
    start = SYSTEM_CLOCK.monotonic()

    with pytest.raises(StoreUnavailable, match="'run'"):
        CALLS[call](source, place(bucket, "run"), tmp_path / "out")
    assert SYSTEM_CLOCK.monotonic() - start < 20


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (403, "InvalidObjectState")])
def test_what_may_not_be_read_fails_alone(
    source: S3DeltaSource, proxy: FaultProxy, bucket: str, tmp_path: Path, call: str, status: int, code: str
) -> None:
    """L1: a forbidden or archived delta is its message's problem; the rest of the batch goes on."""
    proxy.always("GET", bucket, says(status, code))

    with pytest.raises(BadInput, match=rf"'run'.*{code}: as scripted.*s3:GetObject"):
        CALLS[call](source, place(bucket, "run"), tmp_path / "out")


@pytest.mark.parametrize("call", CALLS)
def test_credentials_that_expired_are_nobodys_delta(
    source: S3DeltaSource, proxy: FaultProxy, bucket: str, tmp_path: Path, call: str
) -> None:
    """L3: what concerns every request fails the batch, and not one message for good."""
    proxy.always("GET", bucket, says(400, "ExpiredToken"))

    with pytest.raises(StoreUnavailable, match="ExpiredToken"):
        CALLS[call](source, place(bucket, "run"), tmp_path / "out")


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_has_no_delta(source: S3DeltaSource, tmp_path: Path, call: str) -> None:
    """L1: the error names the address and the root."""
    with pytest.raises(
        BadInput, match="no bucket no-such-bucket-here, for 'run' below s3://no-such-bucket-here/deltas/"
    ):
        CALLS[call](source, place("no-such-bucket-here", "run"), tmp_path / "out")


def test_an_object_that_is_gone_after_the_listing_is_a_missing_delta(
    source: S3DeltaSource, bucket: str, tmp_path: Path
) -> None:
    """L1: its message fails alone."""
    with pytest.raises(BadInput, match="there is no delta at 'run'"):
        source.fetch(place(bucket, "run"), DeltaFile("part", 10), tmp_path / "out")


def rooted(source: S3DeltaSource, bucket: str) -> RootedDeltas:
    return RootedDeltas(Roots((BucketRoot(bucket, "deltas/"),)), {BucketRoot: source})


@pytest.mark.parametrize("address", ["run/7", "run/7/part.parquet", "s3://{bucket}/deltas/run/7/"])
def test_a_delta_in_s3_is_opened_like_any_other(
    source: S3DeltaSource, bucket: str, tmp_path: Path, address: str
) -> None:
    """L22: relative or absolute, a prefix or one object: its records are there, whatever lies beside it."""
    write_delta(tmp_path / "part.parquet", ["a", "b"])
    write_delta(tmp_path / "other.parquet", ["c"])
    client().upload_file(str(tmp_path / "part.parquet"), bucket, "deltas/run/7/part.parquet")
    client().upload_file(str(tmp_path / "other.parquet"), bucket, "deltas/run/70/part.parquet")
    (scratch := tmp_path / "scratch").mkdir()

    delta = open_delta(
        address.format(bucket=bucket), rooted(source, bucket), scratch, Expectation("words", 3, None, lambda _: True)
    )

    assert ("a", "b") == delta.ids


@pytest.mark.parametrize("address", ["s3://another-bucket/deltas/x", "s3://{bucket}/other/x", "../x", "/mnt/x", "a//b"])
def test_an_address_outside_the_roots_is_refused_without_a_request(
    source: S3DeltaSource, proxy: FaultProxy, bucket: str, address: str
) -> None:
    """L25: whoever writes items cannot make us read other buckets."""
    with pytest.raises(BadInput):
        rooted(source, bucket).locate(address.format(bucket=bucket))
    assert [] == proxy.seen
