"""C11: unpacking what an enemy packed."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chroma_lifecycle.deltas import archive
from chroma_lifecycle.deltas.archive import unpack
from chroma_lifecycle.errors import BadInput, NoRoom
from chroma_lifecycle.intake.json_text import shorten

Member = tuple[tarfile.TarInfo, bytes]


def file(name: str, data: bytes = b"data") -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def special(name: str, kind: bytes, target: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def packed(path: Path, *members: Member) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def everything_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_plain_files_and_directories_are_unpacked(tmp_path: Path) -> None:
    """What `tar -C DIRECTORY -czf delta.tar.gz .` makes is unpacked byte for byte, whatever the sizes."""
    source = tmp_path / "source"
    contents = {
        "chroma.sqlite3": os.urandom(1_000),
        "seg/data.bin": os.urandom(2_100_000),
        "seg/deep/x": b"",
        "b": b"1" * 512,
    }
    for name, data in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    subprocess.run(["tar", "-C", str(source), "-czf", str(tmp_path / "d.tar.gz"), "."], check=True)

    names = unpack(tmp_path / "d.tar.gz", tmp_path / "out", "delta 'd'")

    assert contents == everything_below(tmp_path / "out")
    assert sorted(contents) == sorted(names)


def test_long_names_and_names_beyond_ascii_are_unpacked(tmp_path: Path) -> None:
    """Names that need an extended header are plain files too."""
    names = ["a/" + "x" * 200, "ä/ö"]

    assert tuple(names) == unpack(packed(tmp_path / "d", *map(file, names)), tmp_path / "out", "delta 'd'")


HOSTILE: dict[str, Member] = {
    "..": file("../outside"),
    ".. inside": file("a/../../outside"),
    "absolute": file("/tmp/outside"),
    "empty segment": file("a//b"),
    "control character": file("a\nb"),
    "no name": file("."),
    "not utf-8": file("a\udcff"),
    "long segment": file("x" * 256),
    "long path": file("/".join(["abcdefghi"] * 120)),
    "symbolic link": special("link", tarfile.SYMTYPE, "/etc"),
    "hard link": special("link", tarfile.LNKTYPE, "/etc/passwd"),
    "character device": special("device", tarfile.CHRTYPE),
    "block device": special("device", tarfile.BLKTYPE),
    "pipe": special("pipe", tarfile.FIFOTYPE),
    "directory outside": special("../outside", tarfile.DIRTYPE),
    "old sparse file": special("sparse", tarfile.GNUTYPE_SPARSE),
    "unknown type": special("unknown", b"Z"),
    "twice": file("first"),
    "below a file": file("first/x"),
    "in the place of a directory": file("deep"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_members_are_named_and_nothing_is_written_outside(tmp_path: Path, hostile: str) -> None:
    """C11: the member is in the message, and what lies outside the directory is as before."""
    member, data = HOSTILE[hostile]
    path = packed(tmp_path / "d.tar.gz", file("first"), file("deep/x"), (member, data))
    before = everything_below(tmp_path)

    with pytest.raises(BadInput, match="delta 'd' is refused: its member") as refused:
        unpack(path, tmp_path / "out", "delta 'd'")

    assert shorten(member.name) in refused.value.message
    assert before == {name: data for name, data in everything_below(tmp_path).items() if not name.startswith("out/")}
    assert not (tmp_path.parent / "outside").exists()


def test_a_sparse_file_of_the_newer_kind_is_refused(tmp_path: Path) -> None:
    """A file whose holes cost nothing in the archive would fill the disk."""
    info, data = file("sparse", b"x")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 50), "GNU.sparse.realsize": str(1 << 50)}

    with pytest.raises(BadInput, match="'sparse' is neither a plain file"):
        unpack(packed(tmp_path / "d", (info, data)), tmp_path / "out", "delta 'd'")


def test_a_bomb_is_refused_at_the_limit(tmp_path: Path) -> None:
    """C11: 64 MB of zeros pack into 64 KB; no more than the limit is ever written."""
    path = packed(tmp_path / "d", file("first"), file("bomb", bytes(64 << 20)))

    with pytest.raises(BadInput, match="unpacks to more than 10,000,000 bytes"):
        unpack(path, tmp_path / "out", "delta 'd'", limit_bytes=10_000_000)

    assert path.stat().st_size < 100_000
    assert sum(map(len, everything_below(tmp_path / "out").values())) <= 10_000_000


def test_a_bomb_behind_the_end_of_the_archive_is_refused(tmp_path: Path) -> None:
    """What follows the last member counts too."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        tar.addfile(file("a")[0], io.BytesIO(b"data"))
    with gzip.open(tmp_path / "d", "wb") as packed_file:
        packed_file.write(inner.getvalue() + bytes(20_000_000))

    with pytest.raises(BadInput, match="unpacks to more than"):
        unpack(tmp_path / "d", tmp_path / "out", "delta 'd'", limit_bytes=10_000_000)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header_is_refused_without_memory_for_it(tmp_path: Path, kind: bytes) -> None:
    """An extended header says how much to read: 3 GB of zeros are not taken into memory."""
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 3 << 30
    zeros = bytes(1 << 20)
    with gzip.open(tmp_path / "d", "wb", compresslevel=1) as packed_file:
        packed_file.write(header.tobuf())
        for _ in range(300):
            packed_file.write(zeros)
    script = f"""
from pathlib import Path
from chroma_lifecycle.deltas.archive import unpack
from chroma_lifecycle.errors import BadInput
from tests.support.memory import forget_peak, peak_megabytes
before = forget_peak()
try:
    unpack(Path({str(tmp_path / "d")!r}), Path({str(tmp_path / "out")!r}), "delta 'd'")
except BadInput as problem:
    print(peak_megabytes() - before, problem.message)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    megabytes, _, message = done.stdout.partition(" ")
    assert "a header claims 3,221,225,472 bytes" in message
    assert int(megabytes) < 60


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of members is stated."""
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)

    with pytest.raises(BadInput, match="more than 3 members"):
        unpack(packed(tmp_path / "d", *(file(str(n)) for n in range(4))), tmp_path / "out", "delta 'd'")


def _cut_in_a_member(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data)[:1_000])


def _cut_gzip(data: bytes) -> bytes:
    return data[:-20]


def _flip_checksum(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


def _flip_content(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


@pytest.mark.parametrize(
    "damage",
    [
        _cut_in_a_member,
        _cut_gzip,
        _flip_checksum,
        _flip_content,
        lambda _: b"no archive",
        lambda _: b"",
    ],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """C2, C11: cut off anywhere, or with a flipped bit: its checksum is read to the end."""
    path = packed(tmp_path / "d", file("a", os.urandom(3_000)), file("b"))
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(BadInput, match="delta 'd' is refused: it is"):
        unpack(path, tmp_path / "out", "delta 'd'")


def test_a_size_below_zero_is_refused(tmp_path: Path) -> None:
    """A header that counts backwards is no reason to read backwards."""
    header = tarfile.TarInfo("a").tobuf()
    changed = header[:124] + b"\xff" * 12 + header[136:]
    checksum = sum(changed[:148]) + sum(changed[156:]) + 8 * 32
    (tmp_path / "d").write_bytes(gzip.compress(changed[:148] + b"%06o\0 " % checksum + changed[156:]))

    with pytest.raises(BadInput, match="its member 'a' has a size below zero"):
        unpack(tmp_path / "d", tmp_path / "out", "delta 'd'")


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path: Path) -> None:
    """C15: the message waits for room; the delta is sound."""
    path = packed(tmp_path / "d", file("full", bytes(3 << 20)))

    def full_disk(self: Path, mode: str) -> object:
        return io.open("/dev/full", "wb") if self.name == "full" else io.open(self, mode)  # noqa: UP020

    with pytest.MonkeyPatch.context() as patch, pytest.raises(NoRoom, match="the disk is full"):
        patch.setattr(Path, "open", full_disk)
        unpack(path, tmp_path / "out", "delta 'd'")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE], ids=["gnu", "pax"])
def test_headers_that_name_headers_are_refused(tmp_path: Path, kind: bytes) -> None:
    """C11: 3,000 in a row that each say the name of the next, in a few kilobytes."""
    text = {tarfile.GNUTYPE_LONGNAME: b"a\0", tarfile.XHDTYPE: b"9 path=a\n"}[kind]
    header = tarfile.TarInfo("a")
    header.type, header.size = kind, len(text)
    (tmp_path / "d.tar.gz").write_bytes(
        gzip.compress(3_000 * (header.tobuf(tarfile.GNU_FORMAT) + text.ljust(tarfile.BLOCKSIZE, b"\0")))
    )

    with pytest.raises(BadInput, match="it is damaged"):
        unpack(tmp_path / "d.tar.gz", tmp_path / "to", "delta 'd'")
