"""The golden files are read by what docs/format.md says, and by nothing of the library."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3

from tests.support.versions import manifest_spec

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "v1"
DOC = (ROOT / "docs" / "format.md").read_text()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_digest(data: bytes) -> str:
    return sha(b"".join(blake3(data[start : start + 16_384]).digest() for start in range(0, len(data), 16_384)))


def unframed(stored: bytes) -> tuple[str, bytes]:
    """Name and content of an object."""
    assert bytes.fromhex("502A4D18") == stored[:4]
    (length,) = struct.unpack("<I", stored[4:8])
    return stored[8 : 8 + length].decode(), zstandard.ZstdDecompressor().decompress(stored[8 + length :])


def beside(frame: bytes, before: bytes) -> bytes:
    """What a frame holds, given the pages before."""
    if not before:
        return zstandard.ZstdDecompressor().decompress(frame)
    dictionary = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(frame)


def applied(raw: bytes, files: dict[str, bytes]) -> dict[str, bytes]:
    """What a pack makes of *files*."""
    (length,) = struct.unpack("<I", raw[:4])
    table, rest = json.loads(raw[4 : 4 + length]), raw[4 + length :]
    total = sum(row["pages"] for row in table["files"])
    steps = struct.unpack(f"<{total}I", rest[: 4 * total])
    groups = sum(-(-row["pages"] // 64) for row in table["files"])
    lengths, frames = struct.unpack(f"<{groups}I", rest[4 * total : 4 * (total + groups)]), rest[4 * (total + groups) :]
    after = {path: data for path, data in files.items() if path not in table["removed"]}
    place, group, at = 0, 0, 0
    for row in table["files"]:
        old, size = files.get(row["path"], b""), row["after"]["size"]
        assert (row["before"] or {"digest": file_digest(b"")})["digest"] == file_digest(old)
        new = bytearray(old[:size].ljust(size, b"\0"))
        numbers = list(accumulate(steps[place : place + row["pages"]]))
        for first in range(0, len(numbers), 64):
            some = numbers[first : first + 64]
            body = beside(frames[at : at + lengths[group]], b"".join(old[4_096 * n : 4_096 * (n + 1)] for n in some))
            for n in some:
                end = min(size, 4_096 * (n + 1))
                new[4_096 * n : end], body = body[: end - 4_096 * n], body[end - 4_096 * n :]
            assert body == b""
            at += lengths[group]
            group += 1
        place += row["pages"]
        assert row["after"]["digest"] == file_digest(bytes(new))
        after[row["path"]] = bytes(new)
    assert len(frames) == at
    return after


def test_the_golden_pack_is_what_the_document_says() -> None:
    """Header, table, numbers, frames, pages, and the digests before and after."""
    name, raw = unframed((GOLDEN / "pack").read_bytes())
    before = {"chroma/chroma.sqlite3": b"a" * 40_000, "chroma/s/gone.bin": b"gone"}

    assert "chroma-lifecycle pack 1\n" == name
    assert {
        "chroma/chroma.sqlite3": b"a" * 36_864 + b"b" * 20_000,
        "ledger.sqlite3": b"new",
    } == applied(raw, before)


def test_the_golden_manifests_are_what_the_document_says() -> None:
    """One line, then the pack; content digests made as described; a chain that joins."""
    for path in GOLDEN.glob("manifest-*"):
        line, _, inline = path.read_bytes().partition(b"\n")
        manifest = json.loads(line)
        table = "".join(f"{f['digest']} {f['size']} {f['path']}\n" for f in manifest["files"])
        assert manifest["content"] == sha(table.encode()) == manifest["packs"][-1]["after"]
        assert manifest["base"]["content"] == manifest["packs"][0]["before"]
        assert not inline or manifest["packs"][-1]["digest"] == sha(inline)
        assert line.decode() == json.dumps(manifest, separators=(",", ":"))


def test_the_golden_objects_of_manifests_are_what_the_document_says() -> None:
    """A first line with the length of the frame, the frame, the pack."""
    for path in GOLDEN.glob("stored-*"):
        header, _, rest = path.read_bytes().partition(b"\n")
        name, version, length = header.decode().rsplit(" ", 2)
        said = (GOLDEN / path.name.replace("stored", "manifest")).read_bytes()
        line = zstandard.ZstdDecompressor().decompress(rest[: int(length)], allow_extra_data=False)
        assert ("chroma-lifecycle manifest", "1") == (name, version)
        assert said == line + rest[int(length) :]


def _fields(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_fields, value.values()))
    return set().union(*map(_fields, value)) if isinstance(value, list) else set()


def test_every_field_is_described() -> None:
    """A field that is stored and not in the document would be a secret."""
    head = json.loads((ROOT / "tests/publishing/golden/head-v1-full.json").read_bytes())
    layout = json.loads((ROOT / "tests/publishing/golden/layout-v1.json").read_bytes())
    manifest = json.loads((GOLDEN / "manifest-inline").read_bytes().partition(b"\n")[0])
    described = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]+`", DOC))))

    assert set() == (_fields(head) | _fields(layout) | _fields(manifest)) - described


def test_numbers_in_the_document_are_those_of_the_code() -> None:
    """Limits are part of the format."""
    from chroma_lifecycle.snapshot import chain, manifest, pack, pages

    numbers = {pages.PAGE_BYTES, pages.LEAF_BYTES, chain.PART_BYTES, pack.LARGEST_RAW_BYTES, manifest.INLINE_BYTES}
    assert {f"{number:,}" for number in numbers} <= set(re.findall(r"[\d,]*\d", DOC))
    assert manifest.LARGEST_BYTES == 16 << 20
    assert manifest_spec().name.endswith(".json")
