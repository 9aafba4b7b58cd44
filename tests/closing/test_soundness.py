"""C16: what is torn is found by looking at the files, before Chroma opens them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import timeit
from collections.abc import Callable
from pathlib import Path

import pytest
from chromadb.api.shared_system_client import SharedSystemClient

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import BadInput, Corrupt, NotClosed
from chroma_lifecycle.snapshot import hnsw_files, soundness
from chroma_lifecycle.snapshot.hnsw_files import HnswHeader
from tests.support.chroma_directories import COLLECTION, content, make_directory, segment_of

DATABASE = "chroma.sqlite3"


def test_a_sound_directory_tells_what_it_holds(directory: Path) -> None:
    """Records, elements and tail are those that were written."""
    state = soundness.examine(directory, full=True).collections[0]
    assert (COLLECTION, 8, 40) == (state.name, state.dimension, state.records)
    assert 40 == state.flushed + state.tail
    assert soundness.examine(directory).collections[0].records is None


def _truncated(name: str, size: int) -> Callable[[Path], None]:
    return lambda directory: os.truncate(next(directory.rglob(name)), size)


def _removed(name: str) -> Callable[[Path], None]:
    return lambda directory: next(directory.rglob(name)).unlink()


def _without_segment(directory: Path) -> None:
    shutil.rmtree(segment_of(directory))


def _garbage(directory: Path) -> None:
    (directory / DATABASE).write_bytes(bytes(range(256)) * 64)


def _one_page_less(directory: Path) -> None:
    path = directory / DATABASE
    os.truncate(path, path.stat().st_size - 4096)


def _odd_page_size(directory: Path) -> None:
    with (directory / DATABASE).open("r+b") as file:
        file.seek(16)
        file.write(b"\x00\x07")


def _header(**changes: int) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = segment_of(directory) / "header.bin"
        fields = list(struct.unpack("<iQQQQQQiIQQQdQ", path.read_bytes()))
        for name, value in changes.items():
            fields[{"maximum": 2, "elements": 3, "label": 5, "vector": 6, "entry": 8}[name]] = value
        path.write_bytes(struct.pack("<iQQQQQQiIQQQdQ", *fields))

    return change


def _other_dimension(directory: Path) -> None:
    with sqlite3.connect(directory / DATABASE) as database:
        database.execute("UPDATE collections SET dimension = 9")
    database.close()


def _no_segment_row(directory: Path) -> None:
    with sqlite3.connect(directory / DATABASE) as database:
        database.execute("DELETE FROM segments WHERE scope = 'VECTOR'")
    database.close()


def _no_table(directory: Path) -> None:
    with sqlite3.connect(directory / DATABASE) as database:
        database.execute("DROP TABLE embeddings_queue")
    database.close()


TORN = {
    "empty database": (_truncated(DATABASE, 0), r"chroma\.sqlite3 is empty \(0 bytes\)"),
    "database that is none": (_garbage, r"chroma\.sqlite3 is not a SQLite database"),
    "database cut short": (_one_page_less, r"chroma\.sqlite3 has \d+ bytes, its header says"),
    "database with a short header": (_truncated(DATABASE, 50), r"chroma\.sqlite3 is not a SQLite database"),
    "odd page size": (_odd_page_size, r"page size of 7 bytes"),
    "missing table": (_no_table, r"chroma\.sqlite3 cannot be read: no such table: embeddings_queue"),
    "missing segment row": (_no_segment_row, r"collection words has no VECTOR segment"),
    "missing elements": (_removed("data_level0.bin"), r"data_level0\.bin is missing"),
    "elements cut in half": (_truncated("data_level0.bin", 86 * 172), r"different numbers of elements"),
    "elements cut in the middle of one": (_truncated("data_level0.bin", 1000), r"data_level0\.bin has 1000 bytes"),
    "missing lengths": (_removed("length.bin"), r"length\.bin is missing"),
    "lengths cut short": (_truncated("length.bin", 8), r"length\.bin has 8 bytes"),
    "missing links": (_removed("link_lists.bin"), r"link_lists\.bin is missing"),
    "links cut short": (_truncated("link_lists.bin", 8), r"link_lists\.bin has 8 bytes"),
    "missing labels": (_removed("index_metadata.pickle"), r"index_metadata\.pickle is missing"),
    "empty labels": (_truncated("index_metadata.pickle", 0), r"index_metadata\.pickle is empty or cut off"),
    "labels cut short": (_truncated("index_metadata.pickle", 100), r"index_metadata\.pickle is empty or cut off"),
    "missing header": (_removed("header.bin"), r"header\.bin is missing"),
    "header cut short": (_truncated("header.bin", 60), r"header\.bin has 60 bytes, not 100"),
    "header with too many elements": (_header(elements=10**6), r"header\.bin says 1000000 elements"),
    "header with a foreign entry point": (_header(entry=99), r"header\.bin says entry point 99"),
    "header with another vector": (_header(vector=64), r"header\.bin says an element"),
    "header with a small maximum": (_header(maximum=30), r"says 40 elements of at most 30"),
    "other dimension": (_other_dimension, r"says 8 dimensions, its collection has 9"),
    "missing segment": (_without_segment, r"is missing"),
}


@pytest.mark.parametrize("kind", TORN)
def test_torn_files_are_found_before_chroma_opens_them(directory: Path, kind: str) -> None:
    """C16: the error names file and fact; Chroma was not asked, and not a byte changed."""
    tear, fact = TORN[kind]
    tear(directory)
    before = content(directory)

    with pytest.raises(Corrupt, match=fact):
        ManagedClient.open(directory, COLLECTION)
    assert str(directory) not in SharedSystemClient._identifier_to_system
    assert before == content(directory)


def _random_page(directory: Path) -> None:
    path = directory / DATABASE
    with sqlite3.connect(path) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'embeddings'").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def _freelist(directory: Path) -> None:
    with (directory / DATABASE).open("r+b") as file:
        file.seek(36)
        file.write((7).to_bytes(4, "big"))


def _level0(directory: Path, change: Callable[[bytearray, HnswHeader], None]) -> None:
    segment = segment_of(directory)
    data = bytearray((segment / "data_level0.bin").read_bytes())
    change(data, HnswHeader.parse((segment / "header.bin").read_bytes()))
    (segment / "data_level0.bin").write_bytes(data)


def _foreign_neighbour(directory: Path) -> None:
    def change(data: bytearray, header: HnswHeader) -> None:
        at = 3 * header.element_bytes
        data[at + 4 : at + 8] = (10**6).to_bytes(4, "little")

    _level0(directory, change)


def _too_many_neighbours(directory: Path) -> None:
    def change(data: bytearray, header: HnswHeader) -> None:
        data[0:2] = (200).to_bytes(2, "little")

    _level0(directory, change)


def _foreign_upper_neighbour(directory: Path) -> None:
    path = segment_of(directory) / "link_lists.bin"
    data = path.read_bytes()
    lists = 4 * 17
    path.write_bytes(lists.to_bytes(4, "little") + b"\x01" + b"\xff" * (lists - 1) + data[4:])


def _records_without_vectors(directory: Path) -> None:
    with sqlite3.connect(directory / DATABASE) as database:
        (segment,) = database.execute("SELECT id FROM segments WHERE scope = 'METADATA'").fetchone()
        rows = [(segment, f"ghost-{number}", 1) for number in range(10)]
        database.executemany("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, ?, ?)", rows)
    database.close()


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (_random_page, r"cannot be read: database disk image is malformed"),
        (_freelist, r"fails SQLite's quick check: .*[Ff]reelist"),
        (_foreign_neighbour, r"element 3 has neighbours that are no elements"),
        (_too_many_neighbours, r"element 0 has neighbours that are no elements"),
        (_foreign_upper_neighbour, r"link_lists\.bin"),
        (_records_without_vectors, r"hold 40 \+ 0 vectors of collection words, which has 50 records"),
    ],
)
def test_the_full_check_finds_what_sizes_do_not_show(
    directory: Path, damage: Callable[[Path], None], fact: str
) -> None:
    """C16: pages, links and lost vectors; random bytes among the links end a process that follows them."""
    damage(directory)
    soundness.examine(directory)
    with pytest.raises(Corrupt, match=fact):
        soundness.examine(directory, full=True)


def test_what_lies_beyond_the_last_element_is_not_looked_at(directory: Path) -> None:
    """Chroma makes room for a hundred elements and writes whatever its memory held."""

    def change(data: bytearray, header: HnswHeader) -> None:
        beyond = header.elements * header.element_bytes
        data[beyond:] = b"\xff" * (len(data) - beyond)

    _level0(directory, change)
    assert soundness.examine(directory, full=True).full


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_a_journal_means_that_it_is_not_closed(directory: Path, suffix: str) -> None:
    """A transaction is open or was cut off; the database alone is not complete."""
    directory.joinpath(f"{DATABASE}{suffix}").write_bytes(b"")
    with pytest.raises(NotClosed, match=suffix):
        soundness.examine(directory)


def test_an_empty_or_missing_directory_is_bad_input(tmp_path: Path) -> None:
    """L23: Chroma would make a new database in either."""
    with pytest.raises(BadInput, match="is no directory"):
        soundness.examine(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="is empty"):
        soundness.examine(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(Corrupt, match=r"chroma\.sqlite3 is missing"):
        soundness.examine(tmp_path / "other")


def test_looking_changes_nothing(directory: Path) -> None:
    """Neither strength of the check leaves a trace, not even a time stamp of the database."""
    before = content(directory), (directory / DATABASE).stat().st_mtime_ns
    soundness.examine(directory)
    soundness.examine(directory, full=True)
    assert before == (content(directory), (directory / DATABASE).stat().st_mtime_ns)


def test_the_tail_counts_vectors_and_deletions_and_no_metadata(directory: Path) -> None:
    """Metadata operations are in SQLite at once: they cost a reader nothing."""
    with ManagedClient.open(directory, COLLECTION) as client:
        client.collection.update(ids=["r1", "r2", "r3"], metadatas=[{"label": True}] * 3)
    assert 0 == soundness.examine(directory).tail
    with ManagedClient.open(directory, COLLECTION) as client:
        client.collection.delete(ids=["r4"])
        client.collection.update(ids=["r5"], embeddings=[[0.5] * 8])
    assert 2 == soundness.examine(directory).tail


def test_a_directory_that_was_never_flushed_is_sound(tmp_path: Path) -> None:
    """Until the first flush Chroma keeps empty HNSW files without labels; everything is in the queue."""
    report = make_directory(tmp_path / "chroma", records=7, sync_threshold=1000)
    assert report.soundness is not None
    assert [(0, 7)] == [(state.flushed, state.tail) for state in report.soundness.collections]
    assert 7 == soundness.examine(tmp_path / "chroma", full=True).collections[0].records


def test_the_light_check_does_not_grow_with_the_records(tmp_path: Path) -> None:
    """It reads headers, sizes and small tables: a hundred times the records take no longer."""
    small, large = tmp_path / "small" / "chroma", tmp_path / "large" / "chroma"
    for path, records in ((small, 30), (large, 3000)):
        path.parent.mkdir()
        make_directory(path, records=records, sync_threshold=30)
        soundness.examine(path)
    seconds = {
        path: min(timeit.repeat(lambda path=path: soundness.examine(path), number=5, repeat=7)) / 5  # type: ignore[misc]
        for path in (small, large)
    }
    assert seconds[large] < 3 * seconds[small]


def test_the_labels_are_never_unpickled(directory: Path) -> None:
    """A pickle from outside runs what it likes; its first byte and its last are all that is read."""
    marker = directory.with_name("ran")
    command = f"touch {marker}".encode()
    evil = b"\x80\x04cos\nsystem\nC" + bytes([len(command)]) + command + b"\x85R."
    (segment_of(directory) / hnsw_files.LABELS).write_bytes(evil)
    soundness.examine(directory, full=True)
    assert not marker.exists()
