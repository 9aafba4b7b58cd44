"""Where deltas may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.deltas.addresses import BucketRoot, DirectoryRoot, Place, Roots
from chroma_lifecycle.errors import BadInput

A, B = BucketRoot("a", "deltas/"), DirectoryRoot(Path("/mnt/deltas"))
ROOTS = Roots((A, B))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("s3://bucket", BucketRoot("bucket", "")),
        ("s3://bucket/", BucketRoot("bucket", "")),
        ("s3://bucket/x/y", BucketRoot("bucket", "x/y/")),
        ("s3://bucket/x/y/", BucketRoot("bucket", "x/y/")),
        ("/mnt/x", DirectoryRoot(Path("/mnt/x"))),
        ("/mnt/x/", DirectoryRoot(Path("/mnt/x"))),
    ],
)
def test_a_root_is_a_prefix_of_a_bucket_or_a_directory(text: str, root: object) -> None:
    """Roots mean the same with and without the last slash."""
    assert Roots((root,)) == Roots.parse([text])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "s3://", "s3://B/x", "s3://bucket//x", "s3://bucket/../x", "gs://bucket/x", "/mnt/../x", "file:///x"]
)
def test_what_is_no_root_is_refused_with_the_setting(text: str) -> None:
    """A mistyped root is found when the settings are read."""
    with pytest.raises(BadInput, match="CHROMA_LIFECYCLE_DELTAS"):
        Roots.parse([text])


def test_no_root_at_all_is_refused() -> None:
    """Deltas need at least one root, since relative addresses start at the first."""
    with pytest.raises(BadInput, match="names no root"):
        Roots.parse([])


@pytest.mark.parametrize(
    ("address", "root", "path"),
    [
        ("run/1", A, "run/1"),
        ("run/1/", A, "run/1"),
        ("s3://a/deltas/run/1/", A, "run/1"),
        ("/mnt/deltas/run/1", B, "run/1"),
    ],
)
def test_an_address_names_a_place_below_a_root(address: str, root: DirectoryRoot, path: str) -> None:
    """Relative addresses start at the first root; full ones name their root."""
    assert Place(address, root, path) == ROOTS.locate(address)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_nested_roots_the_inner_one_is_taken(order: tuple[int, int]) -> None:
    """How roots are listed decides nothing but where relative addresses start."""
    nested = (BucketRoot("a", ""), BucketRoot("a", "x/"))

    assert Place("s3://a/x/1", nested[1], "1") == Roots(tuple(nested[at] for at in order)).locate("s3://a/x/1")


def test_an_address_outside_is_refused_with_the_roots() -> None:
    """Whoever writes items cannot make us read any bucket."""
    with pytest.raises(BadInput) as refused:
        Roots((A,)).locate("s3://b/x")

    assert "delta 's3://b/x' lies outside CHROMA_LIFECYCLE_DELTAS (s3://a/deltas/)" == refused.value.message


@pytest.mark.parametrize(
    "address",
    ["s3://a/deltas2/x", "s3://ab/deltas/x", "s3://a", "/etc/passwd", "/mnt/deltas2/x", "http://a/x", "file:/x"],
)
def test_a_neighbour_of_a_root_is_outside(address: str) -> None:
    """A root's name is matched whole, up to its slash."""
    with pytest.raises(BadInput, match="lies outside"):
        ROOTS.locate(address)


@pytest.mark.parametrize(
    "address",
    [
        "../x",
        "x/../../y",
        "./x",
        "x//y",
        "x//",
        "s3://a/deltas/../other/x",
        "s3://a/deltas//x",
        "/mnt/deltas/../x",
        "x\ny",
        "x\x00y",
        "x\x7f",
        "x\ud800",
    ],
)
def test_segments_that_lead_elsewhere_are_refused(address: str) -> None:
    """No spelling of an address leaves its root, or forges a line of a log."""
    with pytest.raises(BadInput, match=r"segment|character"):
        ROOTS.locate(address)


@pytest.mark.parametrize("address", ["", "s3://a/deltas/", "s3://a/deltas", "/mnt/deltas"])
def test_a_whole_root_is_no_delta(address: str) -> None:
    """A delta lies below a root."""
    with pytest.raises(BadInput, match=r"is empty|names a whole root"):
        ROOTS.locate(address)


def test_a_very_long_address_is_refused_and_cut_in_the_message() -> None:
    """An address of a megabyte does not fill the log."""
    with pytest.raises(BadInput, match="longer than") as refused:
        ROOTS.locate("x" * 1_000_000)

    assert len(str(refused.value)) < 500
