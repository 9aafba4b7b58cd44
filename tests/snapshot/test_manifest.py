"""The manifest: one spelling, read strictly, and nothing that contradicts itself."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot.chain import PART_BYTES, SMALLEST_REBASE_BYTES, Base, Chain, PackRef, parts_of
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.files import FileEntry, content_digest, parse_path
from chroma_lifecycle.snapshot.manifest import Manifest, decode_manifest, encode_manifest, parse_manifest
from chroma_lifecycle.snapshot.manifest_object import manifest_object, pack_inside, said_by
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.values import Version, digest_of
from tests.support.versions import base_spec, digest, manifest_name, manifest_spec, object_name

GOLDEN = Path(__file__).parent / "golden" / "v1"

TEXTS = st.text(max_size=40)
NUMBERS = st.integers(0, 1 << 50)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    details = Details(
        Summary("rollback", *(draw(NUMBERS) for _ in range(4))),
        Counts(*(draw(NUMBERS) for _ in range(6))),
        ChromaVersion(draw(TEXTS), tuple(draw(st.lists(TEXTS, max_size=3)))),
        draw(st.integers(1, 5_000)),
        draw(st.sampled_from(["cosine", "l2", "ip"])),
        draw(st.sampled_from([None, digest("mapping")])),
        draw(st.booleans()),
        draw(st.dictionaries(st.text(max_size=20), NUMBERS, max_size=4)),
    )
    version = draw(st.integers(1, 1 << 60))
    return manifest_spec(
        version,
        inline=draw(st.binary(max_size=100)),
        details=details,
        stored_bytes=draw(NUMBERS),
        source=draw(st.sampled_from([None, ManifestRef(manifest_name(1), digest("source"))])),
        writer=draw(TEXTS),
        written_at=draw(st.datetimes(timezones=st.just(manifest_spec().written_at.tzinfo))),
    )


@settings(max_examples=100, deadline=None)
@given(manifests())
def test_a_manifest_is_read_back_as_it_was_written(manifest: Manifest) -> None:
    """Whatever its texts and numbers are, and with or without a pack inside."""
    data = encode_manifest(manifest)

    assert manifest == decode_manifest(data, ManifestRef(manifest.name, digest_of(data)))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("manifest-*")), ids=lambda path: path.name)
def test_a_golden_manifest_is_read_and_written_back_byte_for_byte(path: Path) -> None:
    """A manifest of format version 1 can be read for ever, and encoding is canonical."""
    assert path.read_bytes() == encode_manifest(parse_manifest(path.read_bytes()))


def test_the_golden_manifests_are_those_that_they_were() -> None:
    """Their meaning is pinned too, not only their spelling."""
    assert manifest_spec(inline=b"a pack\nin binary \0\xff") == parse_manifest(
        (GOLDEN / "manifest-inline").read_bytes()
    )
    assert manifest_spec() == parse_manifest((GOLDEN / "manifest-objects").read_bytes())


def test_the_first_line_names_the_format_first() -> None:
    """A reader that knows nothing else can tell format and version."""
    assert encode_manifest(manifest_spec()).startswith(b'{"format":"chroma-lifecycle manifest","format_version":1,')


def test_a_newer_manifest_is_refused_with_both_versions() -> None:
    """C12: whatever its other fields are."""
    newer = b'{"format":"chroma-lifecycle manifest","format_version":3,"everything":"else"}\n'

    with pytest.raises(BadInput, match="format version 3; this chroma-lifecycle knows versions up to 1"):
        parse_manifest(newer)


def test_bytes_that_are_not_those_of_the_reference_are_refused() -> None:
    """C3: HEAD's digest covers the manifest, the pack inside included."""
    manifest = manifest_spec(inline=b"pack")
    data = encode_manifest(manifest)
    ref = ManifestRef(manifest.name, digest_of(data))

    for place in (0, len(data) // 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(Corrupt, match="is not the manifest that was published"):
            decode_manifest(bytes(damaged), ref)


def test_a_manifest_under_the_name_of_another_is_refused() -> None:
    """A digest alone would let one version stand for another."""
    data = encode_manifest(manifest_spec(2))

    with pytest.raises(Corrupt, match="says that it is"):
        decode_manifest(data, ManifestRef(manifest_name(3), digest_of(data)))


def _change(path: str, value: object) -> bytes:
    """The bytes of a manifest with one field changed; DELETE takes it out."""
    fields: Any = json.loads(encode_manifest(manifest_spec()))
    *above, last = path.split(".")
    place = fields
    for step in above:
        place = place[int(step) if step.isdigit() else step]
    if value is DELETE:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


DELETE = object()
HOSTILE = {
    "another format": _change("format", "chroma-lifecycle head"),
    "a version of zero": _change("version", 0),
    "a version past 64 bits": _change("version", 1 << 64),
    "a version that is true": _change("version", True),
    "a number with a point": _change("version", 2.0),
    "a huge number": encode_manifest(manifest_spec()).replace(b'"version":2', b'"version":' + b"9" * 5_000),
    "an unknown field": _change("hint", "x"),
    "a missing field": _change("writer", DELETE),
    "a missing detail": _change("details.counts.facts", DELETE),
    "an unknown detail": _change("details.counts.more", 1),
    "a path above": _change("files.0.path", "../chroma.sqlite3"),
    "an absolute path": _change("files.0.path", "/chroma.sqlite3"),
    "a hidden path": _change("files.0.path", "chroma/.ssh"),
    "a path beside": _change("files.0.path", "notes.txt"),
    "a path with a backslash": _change("files.0.path", "chroma\\x"),
    "the same path twice": _change("files.0.path", "ledger.sqlite3"),
    "a path in the base above": _change("base.files.0.path", "chroma/../../x"),
    "a size below nothing": _change("files.0.size", -1),
    "another content": _change("content", digest("another")),
    "another content of the base": _change("base.content", digest("another")),
    "an object of another collection": _change(
        "base.files.2.parts.0.object", object_name(digest("x")).replace("words/", "other/")
    ),
    "an object above": _change("base.files.2.parts.0.object", "words/objects/../../HEAD"),
    "a part of another length": _change("base.files.2.parts.0.size", 1),
    "a part that is too long": _change("base.files.2.parts.0.size", PART_BYTES + 1),
    "a pack from another content": _change("packs.0.before", digest("another")),
    "a pack to another content": _change("packs.0.after", digest("another")),
    "a pack under another digest": _change("packs.0.digest", digest("another")),
    "a pack in HEAD": _change("packs.0.carrier", "words/HEAD"),
    "a pack said to be inside": _change("packs.0.carrier", manifest_name(2)),
    "a parent that is a text": _change("parent", manifest_name(1)),
    "a parent of another collection": _change("parent.name", manifest_name(1).replace("words/", "other/")),
    "a parent that is not the version before": _change("parent.name", manifest_name(7)),
    "no parent": _change("parent", None),
    "an action of two words": _change("details.summary.action", "roll back"),
    "an unknown space": _change("details.space", "hamming"),
    "a dimension of nothing": _change("details.dimension", 0),
    "a migration that is no text": _change("details.chroma.migrations.0", 7),
    "a time without a zone": _change("written_at", "2026-01-31T12:00:00.000000"),
    "an era of its own making": _change("era", "00000000000000aa.00"),
    "files that are no list": _change("files", {}),
    "bytes after the line": encode_manifest(manifest_spec()) + b"x",
    "no newline": encode_manifest(manifest_spec())[:-1],
    "spaces": encode_manifest(manifest_spec()).replace(b'"version":2', b'"version": 2'),
    "another order": json.dumps(json.loads(encode_manifest(manifest_spec())), sort_keys=True).encode() + b"\n",
    "a field twice": encode_manifest(manifest_spec()).replace(b'"version":2', b'"version":2,"version":2'),
    "a list": b"[]\n",
    "a deep list": b"[" * 100_000 + b"\n",
    "not ASCII": b'{"format":"\xff"}\n',
    "nothing": b"",
    "an empty line": b"\n",
}


def test_the_builder_of_hostile_manifests_builds_sound_ones_too() -> None:
    """A change that changes nothing is accepted, so each refusal is about its change."""
    assert manifest_spec() == parse_manifest(_change("version", 2))


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused(what: str) -> None:
    """With an error that says so, and no other."""
    with pytest.raises(Corrupt):
        parse_manifest(HOSTILE[what])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_a_byte_makes_the_decoder_fail_otherwise(data: st.DataObject) -> None:
    """Nobody but HEAD's digest vouches for a manifest, so the decoder must stand anything."""
    sound = bytearray(encode_manifest(manifest_spec(inline=b"pack")))
    for _ in range(data.draw(st.integers(1, 3))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_manifest(bytes(sound))
    except (Corrupt, BadInput):
        return


def test_a_pack_inside_that_is_damaged_is_refused() -> None:
    """C3: also where nobody knows the digest of the whole manifest."""
    data = bytearray(encode_manifest(manifest_spec(inline=b"pack")))
    data[-1] ^= 1

    with pytest.raises(Corrupt, match="the pack inside is damaged"):
        parse_manifest(bytes(data))


# Values.


@pytest.mark.parametrize(
    "path",
    ["ledger.sqlite3", "chroma/chroma.sqlite3", "chroma/0f-9/data_level0.bin", "chroma/a/b/c/d/e/f/g"],
)
def test_the_paths_of_a_version_are_accepted(path: str) -> None:
    """The ledger, and files below chroma/."""
    assert path == parse_path(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "chroma",
            "chroma/",
            "chroma//x",
            "chroma/./x",
            "chroma/a b",
            "chroma/\u00e4",
            "chroma/x\n",
            "chroma/x\0",
        ),
        *("Chroma/x", "./ledger.sqlite3", "ledger.sqlite3/x", "chroma/a/b/c/d/e/f/g/h", "chroma/" + "x" * 129, None, 7),
    ],
)
def test_any_other_path_is_refused(path: object) -> None:
    """C11: a path from a manifest or a pack can lead nowhere else."""
    with pytest.raises(ValueError, match="a path must be"):
        parse_path(path)


def test_the_content_digest_covers_path_size_and_digest_and_not_the_order() -> None:
    """Two copies are the same when their content digests are."""
    one, two = FileEntry("chroma/a", 1, digest("1")), FileEntry("ledger.sqlite3", 2, digest("2"))

    assert content_digest([one, two]) == content_digest([two, one])
    for other in (replace(one, path="chroma/b"), replace(one, size=2), replace(one, digest=digest("3"))):
        assert content_digest([one, two]) != content_digest([other, two])


def test_a_copy_is_brought_forward_from_the_last_place_of_its_content_on_the_chain() -> None:
    """A content that came back is not walked through twice."""
    base = base_spec(("ledger.sqlite3", 5))
    contents = [base.content, digest("b"), digest("c"), digest("b"), digest("d")]
    packs = tuple(
        PackRef(before, after, 1, digest(f"p{n}"), object_name(digest(f"p{n}")))
        for n, (before, after) in enumerate(pairwise(contents))
    )
    chain = Chain(base, packs)

    assert packs == chain.after(base.content)
    assert packs[3:] == chain.after(digest("b"))
    assert packs[3:] == chain.after(contents[3])
    assert chain.after(digest("d")) == ()
    assert None is chain.after(digest("elsewhere"))


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_parts_cover_a_file_without_gaps(size: int) -> None:
    """Each but the last has the full length."""
    place = 0
    for offset, length in parts_of(size):
        assert place == offset
        assert length == min(PART_BYTES, size - offset)
        place += length
    assert size == place


def test_a_chain_wants_a_new_base_when_its_packs_are_many_or_large() -> None:
    """More than half of the base and not tiny, or 64 of them."""
    one = base_spec(("ledger.sqlite3", 5)).files[0]

    def chain(packs: int, stored_bytes: int, base_bytes: int) -> Chain:
        base = Base((replace(one, parts=(replace(one.parts[0], stored_bytes=base_bytes),)),))
        return Chain(
            base, tuple(PackRef(digest("a"), digest("a"), stored_bytes, digest("p"), "x") for _ in range(packs))
        )

    large = 2 * SMALLEST_REBASE_BYTES
    assert not chain(0, 0, 77).wants_rebase
    assert not chain(2, large // 2, 2 * large).wants_rebase
    assert chain(2, large // 2 + 1, 2 * large).wants_rebase
    assert not chain(1, SMALLEST_REBASE_BYTES, 77).wants_rebase, "a tiny collection"
    assert chain(1, SMALLEST_REBASE_BYTES + 1, 77).wants_rebase
    assert not chain(63, 1, 77).wants_rebase
    assert chain(64, 1, 77).wants_rebase


def test_versions_start_at_one_without_a_parent() -> None:
    """And only the first has none."""
    assert None is manifest_spec(1).parent
    with pytest.raises(ValueError, match="does not follow"):
        replace(manifest_spec(1), version=Version(2))


# What is stored.


@settings(max_examples=50, deadline=None)
@given(manifests())
def test_an_object_says_what_its_manifest_says(manifest: Manifest) -> None:
    """Whatever the pack inside is: it may look like anything."""
    stored = manifest_object(manifest)

    assert encode_manifest(manifest) == said_by(stored, manifest.name)
    assert manifest.inline == pack_inside(stored, manifest.name)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("stored-*")), ids=lambda path: path.name)
def test_a_golden_object_is_read_for_ever(path: Path) -> None:
    """As another zstd may have written it; what it says is golden too."""
    said = (GOLDEN / path.name.replace("stored", "manifest")).read_bytes()

    assert said == said_by(path.read_bytes(), path.name)


def test_the_line_of_a_long_chain_takes_less_than_half_of_itself() -> None:
    """Its digests and prefixes stand there twice."""
    content, packs = manifest_spec().chain.base.content, []
    for number in range(30):
        pack = digest(f"pack {number}")
        name = f"words/objects/0123456789abcdef.0/{pack[:2]}/{pack}"
        packs.append(PackRef(content, digest(str(number)), 7, pack, name))
        content = packs[-1].after
    last = manifest_spec().chain.packs[-1]
    chain = Chain(manifest_spec().chain.base, (*packs, replace(last, before=content)))
    manifest = manifest_spec(chain=chain)

    assert len(manifest_object(manifest)) < len(encode_manifest(manifest)) // 2


_OBJECT = manifest_object(manifest_spec(inline=b"pack"))
_HEADER, _, _REST = _OBJECT.partition(b"\n")
HOSTILE_OBJECTS = {
    "empty": b"",
    "no header": encode_manifest(manifest_spec()),
    "another kind": _OBJECT.replace(b"manifest", b"manifold", 1),
    "a long header": b"chroma-lifecycle manifest 1 " + b"1" * 100 + b"\n" + _REST,
    "a longer frame": b"chroma-lifecycle manifest 1 999999\n" + _REST,
    "no frame": b"chroma-lifecycle manifest 1 1\n" + _REST,
    "cut off": _OBJECT[: len(_HEADER) + 20],
    "bytes after the frame": b"chroma-lifecycle manifest 1 %d\n%s" % (len(_REST), _REST),
    "a bomb": b"chroma-lifecycle manifest 1 %d\n%s"
    % (len(bomb := zstandard.ZstdCompressor().compress(bytes(32 << 20))), bomb),
    "no size": b"chroma-lifecycle manifest 1 %d\n%s"
    % (len(bare := zstandard.ZstdCompressor(write_content_size=False).compress(b"{}\n")), bare),
}


@pytest.mark.parametrize("what", HOSTILE_OBJECTS)
def test_a_hostile_object_is_refused(what: str) -> None:
    """C11: it is named, and no more memory is asked for than a manifest may have."""
    with pytest.raises(Corrupt, match=r"^the-name is not the manifest that was published"):
        said_by(HOSTILE_OBJECTS[what], "the-name")


def test_a_newer_object_is_refused_with_both_versions() -> None:
    """C12: whatever follows its first line."""
    with pytest.raises(BadInput, match=r"a manifest has format version 2; .*up to 1"):
        said_by(b"chroma-lifecycle manifest 2 7\nwhatever", "the-name")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_of_a_byte_makes_the_opening_of_an_object_fail_otherwise(data: st.DataObject) -> None:
    """Objects come from anywhere; what they say is then compared with a digest."""
    changed = bytearray(_OBJECT)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        said_by(bytes(changed), "the-name")
    except (Corrupt, BadInput):
        return
