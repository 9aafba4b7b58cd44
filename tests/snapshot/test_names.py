"""The names of objects: one spelling, and nothing else is ever read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.snapshot.names import ManifestName, ManifestRef, Names, ObjectName
from chroma_lifecycle.values import Digest, Era, Version

NAMES = Names("words.v1")
LINEAGE = "0123456789abcdef"
WRITE = "fedcba9876543210"
DIGEST = Digest("ab" * 32)

ids = st.text("0123456789abcdef", min_size=16, max_size=16)
eras = st.builds(Era, ids, st.integers(0, 10**19 - 1))
versions = st.builds(Version, st.integers(1, 2**64 - 1))
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(Digest)


def test_the_layout_is_that_of_format_1() -> None:
    """The names are those that the format's description shows."""
    era = Era(LINEAGE, 7)

    assert NAMES.head == "words.v1/HEAD"
    assert NAMES.lock == "words.v1/.lock"
    assert NAMES.heads(18) == "words.v1/heads/0000000000000012"
    assert (
        NAMES.manifest(Version(255), era, WRITE)
        == "words.v1/manifests/00000000000000ff-0123456789abcdef.7-fedcba9876543210.json"
    )
    assert NAMES.object(era, DIGEST) == f"words.v1/objects/0123456789abcdef.7/ab/{DIGEST}"


@given(versions, eras, ids)
def test_a_manifest_name_says_what_it_was_made_of(version: Version, era: Era, write_id: str) -> None:
    """Parsing a manifest's name after making it is the identity."""
    name = NAMES.manifest(version, era, write_id)

    assert ManifestName(version, era, write_id) == NAMES.parse_manifest_name(name)


@given(eras, digests)
def test_an_object_name_says_what_it_was_made_of(era: Era, digest: Digest) -> None:
    """Parsing a block's name after making it is the identity."""
    assert ObjectName(era, digest) == NAMES.parse_object_name(NAMES.object(era, digest))


@given(st.integers(1, 2**64 - 1))
def test_a_head_name_says_its_serial(serial: int) -> None:
    """Parsing the name of a file in heads/ after making it is the identity."""
    assert serial == NAMES.parse_head_name(NAMES.heads(serial))


GOOD_MANIFEST = NAMES.manifest(Version(1), Era(LINEAGE, 0), WRITE)
GOOD_OBJECT = NAMES.object(Era(LINEAGE, 0), DIGEST)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "words.v1/HEAD",
        "words.v1/heads/0000000000000000",
        "words.v1/heads/00000000000000012",
        "words.v1/heads/000000000000001G",
        f"words.v1/heads/{'0' * 15}1\n",
        "../words.v1/heads/0000000000000001",
        GOOD_MANIFEST.replace("words.v1", "other"),
        GOOD_MANIFEST.replace("words.v1/", "words.v1/../words.v1/"),
        GOOD_MANIFEST.replace(".0-", ".00-"),
        GOOD_MANIFEST.replace(".0-", ".-1-"),
        GOOD_MANIFEST.replace(".json", ""),
        GOOD_MANIFEST.replace(".json", ".json.json"),
        GOOD_MANIFEST.replace("manifests", "objects"),
        GOOD_MANIFEST.upper(),
        GOOD_MANIFEST + "\n",
        GOOD_MANIFEST.replace("0000000000000001", "0000000000000000"),
        GOOD_OBJECT.replace("words.v1", "other"),
        GOOD_OBJECT.replace("/ab/", "/cd/"),
        GOOD_OBJECT.replace("/ab/", "/../"),
        GOOD_OBJECT.replace("/ab/", "//"),
        GOOD_OBJECT + "0",
        GOOD_OBJECT.replace(".0/", ".0/./"),
        f"/{GOOD_OBJECT}",
    ],
)
def test_any_other_name_is_unknown(name: str) -> None:
    """A name that this module would not spell for the same collection is nobody's object."""
    assert NAMES.parse_manifest_name(name) is None
    assert NAMES.parse_object_name(name) is None
    assert NAMES.parse_head_name(name) is None


@given(st.text(max_size=120))
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Hostile text is unknown, never an exception."""
    for name in (text, f"words.v1/objects/{text}", f"words.v1/manifests/{text}", f"words.v1/heads/{text}"):
        NAMES.parse_manifest_name(name)
        NAMES.parse_object_name(name)
        NAMES.parse_head_name(name)


@pytest.mark.parametrize("collection", ["", "ab", "a/b", "../x", "..abc", "a..b", "-abc", "a" * 513, "abc\n"])
def test_a_collection_that_cannot_be_part_of_a_name_is_refused(collection: str) -> None:
    """Only names that Chroma takes, and that cannot climb, are collections."""
    with pytest.raises(ValueError, match="collection"):
        Names(collection)


def test_a_reference_to_a_manifest_tells_version_and_write_id() -> None:
    """The chain of parents can be judged by references alone."""
    ref = ManifestRef(GOOD_MANIFEST, DIGEST)

    assert ("words.v1", Version(1), Era(LINEAGE, 0), WRITE) == (ref.collection, ref.version, ref.era, ref.write_id)


@pytest.mark.parametrize("name", ["words.v1/HEAD", f"../{GOOD_MANIFEST}", GOOD_OBJECT, "x"])
def test_a_reference_to_anything_else_is_refused(name: str) -> None:
    """A manifest is never read under another name."""
    with pytest.raises(ValueError, match=r"manifest|collection"):
        ManifestRef(name, DIGEST)
