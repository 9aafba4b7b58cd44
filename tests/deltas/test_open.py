"""Opening deltas in Parquet and JSON Lines: what is taken, what is refused, what is left behind."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chroma_lifecycle.deltas import disk, listing
from chroma_lifecycle.deltas import open as opening
from chroma_lifecycle.deltas.addresses import DirectoryRoot, Place, Roots
from chroma_lifecycle.deltas.checks import MAX_DOCUMENT_BYTES, MAX_ID_BYTES, Expectation
from chroma_lifecycle.deltas.model import GROUP_ROWS, Delta
from chroma_lifecycle.deltas.sources import DeltaFile, RootedDeltas
from chroma_lifecycle.errors import BadInput, NoRoom
from tests.support.deltas import (
    Record,
    left_in_scratch,
    opened,
    record,
    records_of,
    write_delta,
    write_jsonl,
    write_parquet,
)

WRITERS: dict[str, Callable[[Path, list[Record]], Path]] = {"parquet": write_parquet, "jsonl": write_jsonl}


@pytest.fixture(params=WRITERS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(root: Path, address: str, **expected: object) -> str:
    """Return why the delta is refused; nothing of it may be left."""
    with pytest.raises(BadInput) as refused:
        opened(root, address, **expected)  # type: ignore[arg-type]
    assert [] == left_in_scratch(root)
    assert refused.value.message.startswith(f"delta {address!r}")
    return refused.value.message


def test_records_come_as_they_were_delivered(tmp_path: Path, form: str) -> None:
    """Whatever the form, the same records are read, with the same digest."""
    rows = [
        record("a"),
        record("b", document=None, metadata=None),
        record("c", document="", metadata={"t": "x", "y": True, "f": 0.5, "none": None}),
    ]
    WRITERS[form](tmp_path / f"d.{form}", rows)
    write_jsonl(tmp_path / "other.jsonl", rows[::-1])

    delta = opened(tmp_path, f"d.{form}")

    assert [rows[0], rows[1] | {"metadata": {}}, rows[2] | {"metadata": {"t": "x", "y": True, "f": 0.5}}] == records_of(
        delta
    )
    assert (("a", "b", "c"), 3, f"d.{form}") == (delta.ids, delta.dimension, delta.address)
    assert opened(tmp_path, "other.jsonl").digest == delta.digest


@pytest.mark.parametrize(
    "vectors",
    [
        pa.array([[1, 2, 3]], pa.list_(pa.float64())),
        pa.array([[1, 2, 3]], pa.list_(pa.float16())),
        pa.array([[1, 2, 3]], pa.large_list(pa.float32())),
        pa.array([[1, 2, 3]], pa.list_(pa.float32(), 3)),
        pa.array([[1, 2, 3]], pa.list_(pa.float64(), 3)),
    ],
    ids=lambda array: str(array.type),
)
def test_other_writers_lists_become_float32(tmp_path: Path, vectors: pa.Array) -> None:
    """Lists of 16, 32 and 64 bits, of any length or a fixed one, are converted."""
    pq.write_table(pa.table({"id": ["a"], "embedding": vectors}), tmp_path / "d.parquet")

    assert [{"id": "a", "embedding": [1.0, 2.0, 3.0], "document": None, "metadata": {}}] == records_of(
        opened(tmp_path, "d.parquet")
    )


def test_a_struct_is_metadata_and_so_is_a_dictionary_of_texts(tmp_path: Path) -> None:
    """What pandas and Arrow write without being asked is understood; a field without value is no key."""
    columns = {
        "id": pa.array(["a", "b"]).dictionary_encode(),
        "embedding": pa.array([[1, 2, 3]] * 2, pa.list_(pa.float32())),
        "document": pa.nulls(2),
        "metadata": pa.array([{"n": 1, "t": "x", "f": 0.5, "b": False}, {"n": None, "t": "y", "f": None, "b": None}]),
    }
    pq.write_table(pa.table(columns), tmp_path / "d.parquet")

    assert [{"n": 1, "t": "x", "f": 0.5, "b": False}, {"t": "y"}] == [
        row["metadata"] for row in records_of(opened(tmp_path, "d.parquet"))
    ]


def test_parts_of_a_directory_are_one_delta(tmp_path: Path, form: str) -> None:
    """All parts are read; markers beside them, and what a killed writer left, are not."""
    for part in range(3):
        WRITERS[form](tmp_path / "run" / f"deep/part-{part}.{form}", [record(f"id-{part}")])
    (tmp_path / "run" / "_SUCCESS").touch()
    (tmp_path / "run" / ".part-9.parquet.1234.partial").write_bytes(b"half")

    assert ("id-0", "id-1", "id-2") == opened(tmp_path, "run").ids
    assert ("id-0", "id-1", "id-2") == opened(tmp_path, "run/").ids


class Listed:
    """A source that lists what it is told to, as a bucket may."""

    def __init__(self, directory: Path, *files: DeltaFile) -> None:
        self._directory = directory
        self._files = files

    def list(self, place: Place) -> tuple[DeltaFile, ...]:
        return self._files

    def fetch(self, place: Place, file: DeltaFile, to: Path) -> None:
        shutil.copy(self._directory / place.path / file.name, to)


def test_a_folders_object_is_no_part_of_the_delta(tmp_path: Path) -> None:
    """A bucket's console makes an empty object for each folder; a file and a folder of one name are ambiguous."""
    size = write_parquet(tmp_path / "run" / "deep" / "part.parquet", [record("a")]).stat().st_size
    (tmp_path / "scratch").mkdir()

    def open_listed(*files: DeltaFile) -> Delta:
        source = RootedDeltas(Roots((DirectoryRoot(tmp_path),)), {DirectoryRoot: Listed(tmp_path, *files)})
        return opening.open_delta("run", source, tmp_path / "scratch", Expectation("words", 3, None, lambda _: True))

    part = DeltaFile("deep/part.parquet", size)
    assert ("a",) == open_listed(DeltaFile("", 0), DeltaFile("deep/", 0), part).ids
    with pytest.raises(BadInput, match="there is both a file of this name and a directory"):
        open_listed(DeltaFile("", 7), part)
    for name in ("../part.parquet", "deep//part.parquet", "/part.parquet", "a\x00.parquet"):
        with pytest.raises(BadInput, match=r"its file .* is refused"):
            open_listed(DeltaFile(name, size))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("chroma.sqlite3/x", "lies below a name that is a file, too"), ("x" * 256, "has a name too long")],
)
def test_names_that_are_no_files_of_one_directory_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    """C14: a bucket may hold a key and others below it; their message fails for good, and not again and again."""
    files = DeltaFile("chroma.sqlite3", 1), DeltaFile(name, 1)
    source = RootedDeltas(Roots((DirectoryRoot(tmp_path),)), {DirectoryRoot: Listed(tmp_path, *files)})
    with pytest.raises(BadInput, match=rf"its file '.* {problem}"):
        opening.open_delta("run", source, tmp_path, Expectation("words", 3, None, lambda _: True))


def test_an_id_in_two_parts_is_refused_and_the_part_named(tmp_path: Path, form: str) -> None:
    """Ids are unique in the delta, not only in its files."""
    for part in range(2):
        WRITERS[form](tmp_path / "run" / f"{part}.{form}", [record(f"id-{part}"), record("same")])

    assert (
        f"delta 'run', file '1.{form}': record 2 ('same') has an id that another record of the delta has too"
        == refusal(tmp_path, "run")
    )


def test_two_deltas_with_the_same_names_inside_do_not_meet(tmp_path: Path) -> None:
    """L22: each delta has its own directory below the scratch."""
    for run in "12":
        write_delta(tmp_path / run / "delta.parquet", [f"of-{run}"])

    first, second = opened(tmp_path, "1"), opened(tmp_path, "2")

    assert [["of-1"], ["of-2"]] == [[row["id"] for row in records_of(delta)] for delta in (first, second)]


@pytest.mark.parametrize("size", [1, GROUP_ROWS - 1, GROUP_ROWS, GROUP_ROWS + 1, 2 * GROUP_ROWS + 1])
def test_no_tail_of_a_delta_is_dropped(tmp_path: Path, size: int) -> None:
    """L2: N records in N out, for N around every size that work is cut into."""
    ids = [f"id-{number}" for number in range(size)]
    write_parquet(tmp_path / "d.parquet", [record(id_) for id_ in ids])
    write_jsonl(tmp_path / "d.jsonl", [record(id_) for id_ in ids])
    write_delta(tmp_path / "w.parquet", ids)

    for address in ("d.parquet", "d.jsonl", "w.parquet"):
        delta = opened(tmp_path, address)
        assert ids == list(delta.ids)
        for rows in (7, 5_461):
            assert ids == [id_ for batch in delta.batches(rows) for id_ in batch.ids]
        assert max(len(batch.ids) for batch in delta.batches(7)) <= 7


@pytest.mark.parametrize("name", ["d.parquet", "d.jsonl", "run/part-0.parquet"])
def test_an_empty_delta_is_a_delta_of_no_records(tmp_path: Path, name: str) -> None:
    """S10: a run whose every record was filtered out completes with count 0."""
    WRITERS[name.rpartition(".")[2]](tmp_path / name, [])

    delta = opened(tmp_path, name.partition("/")[0])

    assert ((), None, []) == (delta.ids, delta.dimension, list(delta.batches()))


def test_a_missing_delta_is_named(tmp_path: Path) -> None:
    """L1: nothing at the address, or an empty directory there, is no empty delta (L23)."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "empty").mkdir()

    for address in ("absent", "absent.parquet", "empty"):
        with pytest.raises(BadInput, match=f"there is no delta at '{address}'"):
            opened(tmp_path / "root", address)


@pytest.mark.parametrize(
    "names", [["a.csv"], ["a"], ["a.parquet", "b.jsonl"], ["a.tar.gz", "b.tar.gz"], ["a.parquet.gz"]]
)
def test_what_is_no_form_of_delta_is_refused(tmp_path: Path, names: list[str]) -> None:
    """The message lists the forms that there are."""
    (tmp_path / "root" / "run").mkdir(parents=True)
    for name in names:
        (tmp_path / "root" / "run" / name).write_bytes(b"x")

    assert "allowed: .parquet files, .jsonl files, a Chroma directory" in refusal(tmp_path / "root", "run")


BAD_RECORDS: dict[str, tuple[Record, str]] = {
    "no id": (record(None), "record 2 has no id of text"),
    "empty id": (record(""), "record 2 has an empty id"),
    "same id": (record("first"), "record 2 ('first') has an id that another record"),
    "long id": (record("x" * (MAX_ID_BYTES + 1)), "has an id of 3,073 bytes; allowed: 3,072"),
    "short vector": (
        record(embedding=[1.0]),
        "record 2 ('a') has a vector of 1 numbers; collection 'words' has dimension 3",
    ),
    "long vector": (record(embedding=[1.0] * 4), "has a vector of 4 numbers; collection 'words' has dimension 3"),
    "empty vector": (record(embedding=[]), "has a vector of 0 numbers"),
    "no vector": (record(embedding=None), "has no vector; collection 'words' has dimension 3"),
    "reserved key": (record(metadata={"chroma:document": "x"}), "key 'chroma:document' begins with 'chroma:'"),
    "key with #": (record(metadata={"#k": "x"}), "key '#k' begins with '#', which Chroma refuses"),
    "key with $": (record(metadata={"$k": "x"}), "key '$k' begins with '$', which Chroma refuses"),
    "empty key": (record(metadata={"": "x"}), "metadata key '' is empty"),
    "list": (record(metadata={"k": [1, 2]}), "metadata key 'k' holds a list; allowed: text, true or false, integer"),
    "object": (record(metadata={"k": {"x": 1}}), "metadata key 'k' holds an object"),
    "2^63": (record(metadata={"k": 2**63}), "metadata key 'k' holds an integer past 64 bits"),
    "-2^63-1": (record(metadata={"k": -(2**63) - 1}), "metadata key 'k' holds an integer past 64 bits"),
    "metadata NaN": (record(metadata={"k": math.nan}), "NaN"),
    "metadata infinity": (record(metadata={"k": -math.inf}), "Infinity is not a JSON number"),
    "metadata surrogate": (record(metadata={"k": "\ud800"}), "metadata key 'k' holds a lone surrogate"),
    "key surrogate": (record(metadata={"k\ud800": 1}), r"metadata key 'k\ud800' has a lone surrogate"),
    "much metadata": (record(metadata={"k": "x" * 300_000}), "bytes of metadata; allowed: 262,144"),
    "large document": (
        record(document="x" * (MAX_DOCUMENT_BYTES + 1)),
        "a document of 1,048,577 bytes; allowed: 1,048,576",
    ),
    "document with NUL": (record(document="a\0b"), "has a NUL character in its document"),
}


@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_a_record_that_chroma_refuses_or_spoils_refuses_its_delta(tmp_path: Path, form: str, bad: str) -> None:
    """L16: the first bad record is named, with what is allowed, and never with what it holds."""
    row, problem = BAD_RECORDS[bad]
    WRITERS[form](tmp_path / "root" / f"d.{form}", [record("first"), row, record("last")])

    assert problem in refusal(tmp_path / "root", f"d.{form}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "a", "embedding": [1, 2, NaN]}', "line 2 is refused: NaN is not a JSON number"),
        ('{"id": "a", "embedding": [1, 2, 1e999]}', "record 2 ('a') has a number in its vector that is NaN, infinite"),
        ('{"id": "a", "embedding": [1, 2, 1e39]}', "past 32-bit floats"),
        ('{"id": "a", "embedding": [1, 2, 1' + "0" * 400 + "]}", "past 32-bit floats"),
        ('{"id": "a", "embedding": [1, 2, 1' + "0" * 5000 + "]}", "line 2 is refused: Exceeds the limit"),
        ('{"id": "a", "embedding": [1, 2, "3"]}', "line 2 is refused: 'embedding' is no list of numbers"),
        ('{"id": "a", "embedding": [1, 2, true]}', "'embedding' is no list of numbers"),
        ('{"id": "a", "embedding": [1, 2, null]}', "'embedding' is no list of numbers"),
        ('{"id": 7, "embedding": [1, 2, 3]}', "record 2 has no id of text"),
        ('{"id": "\\ud800", "embedding": [1, 2, 3]}', r"record 2 ('\ud800') has a lone surrogate in its id"),
        ('{"id": "a", "embedding": [1, 2, 3], "document": "\\udfff"}', "lone surrogate in its document"),
        ('{"id": "a", "embedding": [1, 2, 3], "document": 7}', "a document that is no text"),
        ('{"id": "a", "embedding": [1, 2, 3], "metadata": [1]}', "metadata is a list; allowed: an object"),
        ('{"id": "a", "embedding": [1, 2, 3], "metadata": {"k": 1e999}}', "key 'k' holds NaN or an infinity"),
        ('{"id": "a", "embedding": [1, 2, 3], "metadata": {"k": 1, "k": 2}}', "key 'k' stands twice in one object"),
        ('{"id": "a", "embedding": [1, 2, 3], "metadata": "{\\"k\\": 1, \\"k\\": 2}"}', "'k' stands twice"),
        ('{"id": "a", "embedding": [1, 2, 3], "documents": "x"}', "did you mean 'document'?; allowed: id, embedding"),
        ("[1]", "line 2 is refused: it is no object"),
        ('{"id": "a"', "line 2 is refused: not JSON"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ('{"id": "\xff"}', "line 2 is not UTF-8"),
        ('{"id": "' + "x" * (8 << 20) + '"}', "line 2 is longer than 8,388,608 bytes"),
    ],
    ids=lambda value: value[:60],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    """L16: lines that are no record, or hold what no record can hold."""
    path = write_jsonl(tmp_path / "root" / "d.jsonl", [record("first")])
    with path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")

    assert problem in refusal(tmp_path / "root", "d.jsonl")


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"id": ["a"]}, "column 'embedding' is missing"),
        ({"embedding": [[1.0]]}, "column 'id' is missing"),
        (
            {"id": ["a"], "embedding": [[1.0]], "documents": ["x"]},
            "'documents' is none of a delta's; did you mean 'document'?",
        ),
        (
            {"id": ["a"], "embedding": [[1.0]], "__index_level_0__": [0]},
            "'__index_level_0__' is none",
        ),
        ({"id": [1], "embedding": [[1.0]]}, "column 'id' must be text"),
        ({"id": [b"a"], "embedding": [[1.0]]}, "column 'id' must be text"),
        ({"id": ["a"], "embedding": [[1, 2, 3]]}, "column 'embedding' must be a list of float32"),
        ({"id": ["a"], "embedding": [1.0]}, "column 'embedding' must be a list of float32"),
        ({"id": ["a"], "embedding": [[1.0]], "document": [1]}, "column 'document' must be text"),
        ({"id": ["a"], "embedding": [[1.0]], "metadata": [[1]]}, "column 'metadata' must be JSON text, or a struct"),
    ],
)
def test_columns_that_are_not_a_deltas_are_refused(
    tmp_path: Path, columns: dict[str, list[object]], problem: str
) -> None:
    """L15: a column of another name or type is never left out silently."""
    (tmp_path / "root").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "root" / "d.parquet")

    assert problem in refusal(tmp_path / "root", "d.parquet")


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"embedding": pa.array([[1, None, 3]], pa.list_(pa.float32()))}, "has a number in its vector that is NaN"),
        ({"embedding": pa.array([[1, math.inf, 3]], pa.list_(pa.float32()))}, "has a number in its vector"),
        ({"embedding": pa.array([[1, 1e300, 3]], pa.list_(pa.float64()))}, "past 32-bit floats"),
        ({"embedding": pa.array([None], pa.list_(pa.float32(), 3))}, "has no vector"),
        ({"metadata": pa.array([{"k": math.nan}])}, "key 'k' holds NaN or an infinity"),
        ({"metadata": pa.array([{"k": 2**63}], pa.struct({"k": pa.uint64()}))}, "past 64 bits"),
        ({"metadata": pa.array([{"k": b"x"}])}, "key 'k' holds a value of type bytes"),
        ({"metadata": pa.array([{"k": [1]}])}, "key 'k' holds a list"),
        (
            {"metadata": pa.array([{"k": 0}], pa.struct({"k": pa.timestamp("us")}))},
            "key 'k' holds a value of type datetime",
        ),
    ],
)
def test_values_that_only_arrow_has_are_checked_too(tmp_path: Path, columns: dict[str, pa.Array], problem: str) -> None:
    """L16: nulls inside vectors, numbers of 64 bits, and types that metadata does not have."""
    (tmp_path / "root").mkdir()
    sound = {"id": pa.array(["a"]), "embedding": pa.array([[1, 2, 3]], pa.list_(pa.float32()))}
    pq.write_table(pa.table(sound | columns), tmp_path / "root" / "d.parquet")

    assert problem in refusal(tmp_path / "root", "d.parquet")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that claim to be text are found before they are decoded."""
    (tmp_path / "root").mkdir()
    text = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"]).buffers())
    table = pa.table({"id": text, "embedding": pa.array([[1, 2, 3]], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "root" / "d.parquet")

    assert "is no sound Parquet file" in refusal(tmp_path / "root", "d.parquet")


def test_ids_must_fit_the_collection_and_lie_below_the_run(tmp_path: Path) -> None:
    """An id outside its run's partition could not be ordered against that partition's changes."""
    root = tmp_path / "root"
    write_parquet(root / "d.parquet", [record("IMAGE#1"), record("IMAGE#1#LINE#00001"), record("IMAGE#10")])

    assert "record 3 ('IMAGE#10') has an id that does not lie below its run's partition key 'IMAGE#1'" in refusal(
        root, "d.parquet", below="IMAGE#1"
    )
    assert "record 2 ('IMAGE#1#LINE#00001') has an id that does not fit the mapping's pattern for 'words'" in refusal(
        root, "d.parquet", fits=lambda id_: "LINE" not in id_
    )
    write_parquet(root / "sound.parquet", [record("IMAGE#1"), record("IMAGE#1#LINE#00001")])
    assert ("IMAGE#1", "IMAGE#1#LINE#00001") == opened(root, "sound.parquet", below="IMAGE#1").ids


def test_an_error_shows_nothing_of_the_content(tmp_path: Path, form: str) -> None:
    """Invariant 10: neither documents nor vectors nor metadata values are in a message."""
    secret = {"document": "SECRET\0", "metadata": {"k": "SECRET"}, "embedding": [4711.0, 2.0, 3.0]}
    for number, other in enumerate(
        ({}, {"document": "x", "embedding": [4711.0]}, {"document": None, "metadata": {"k": ["SECRET"]}})
    ):
        WRITERS[form](tmp_path / "root" / f"{number}.{form}", [record(**{**secret, **other})])

        message = refusal(tmp_path / "root", f"{number}.{form}")
        assert "SECRET" not in message
        assert "4711" not in message


def damaged(path: Path, chance: random.Random) -> None:
    """Cut a file off, or flip one of its bits."""
    data = bytearray(path.read_bytes())
    if chance.random() < 0.3:
        data = data[: chance.randrange(len(data))]
    else:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def test_of_ten_deltas_the_damaged_one_alone_is_refused(tmp_path: Path) -> None:
    """C2: nine are opened; the tenth, cut off or with a flipped bit anywhere, is refused or whole all the same.

    (A bit may lie where the format has no meaning; what is then read is what was written.)
    """
    chance = random.Random(7)
    root = tmp_path / "root"
    whole = {
        f"{run}.parquet": write_delta(root / f"{run}.parquet", [f"{run}-{n}" for n in range(50)]) for run in range(10)
    }
    for address in list(whole)[:9]:
        assert whole[address].digest == opened(root, address).digest

    pristine, refused = (root / "9.parquet").read_bytes(), 0
    for _ in range(150):
        (root / "9.parquet").write_bytes(pristine)
        damaged(root / "9.parquet", chance)
        try:
            digest = opened(root, "9.parquet").digest
        except BadInput as problem:
            refused += problem.message.startswith("delta '9.parquet'")
        else:
            assert whole["9.parquet"].digest == digest
    assert refused > 100


def test_a_content_that_its_footer_does_not_promise_is_refused(tmp_path: Path) -> None:
    """The digest in the footer covers what Parquet's page checksums do not."""
    root = tmp_path / "root"
    write_delta(root / "d.parquet", ["a", "b"])
    mark = pq.read_metadata(root / "d.parquet").metadata
    table = pq.read_table(root / "d.parquet").slice(1)
    pq.write_table(table.replace_schema_metadata(mark), root / "d.parquet")

    assert "its content is not what its writer put there" in refusal(root, "d.parquet")


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ({"format": 2, "content": "x"}, "has format 2 of deltas; this release knows 1"),
        ({"format": 1, "content": "x"}, "what the file says of itself is damaged"),
        ({}, "what the file says of itself is damaged"),
        ([], "what the file says of itself is damaged"),
    ],
)
def test_a_newer_or_damaged_footer_is_refused(tmp_path: Path, mark: object, problem: str) -> None:
    """C12: what a newer release wrote is refused with both versions."""
    root = tmp_path / "root"
    write_delta(root / "d.parquet", ["a"])
    table = pq.read_table(root / "d.parquet")
    pq.write_table(table.replace_schema_metadata({"chroma_lifecycle.delta": json.dumps(mark)}), root / "d.parquet")

    assert problem in refusal(root, "d.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"not parquet at all", bytes(5000)])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    """A name says nothing about the bytes."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "d.parquet").write_bytes(content)

    assert "is no sound Parquet file" in refusal(tmp_path / "root", "d.parquet")


def test_a_full_disk_is_found_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: the error tells what is needed and what is free, and is no fault of the delta."""
    write_delta(tmp_path / "root" / "d.parquet", ["a"])
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(NoRoom, match=r"needs about [0-9,]+ bytes below .* 10 are free"):
        opened(tmp_path / "root", "d.parquet")


def test_a_disk_that_fills_up_while_writing_leaves_nothing(tmp_path: Path) -> None:
    """C15: a real full disk (/dev/full) is told as such."""
    with pytest.raises(NoRoom, match="the disk is full"), disk.writing(tmp_path), Path("/dev/full").open("wb") as full:
        full.write(b"x" * 100_000)


def test_limits_of_files_and_bytes_are_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix of a million objects is refused by its count, before any is read."""
    for part in range(3):
        write_parquet(tmp_path / "root" / "run" / f"{part}.parquet", [record(f"{part}")])

    monkeypatch.setattr(listing, "MAX_FILES", 2)
    assert "more than 2 files" in refusal_early(tmp_path / "root")
    monkeypatch.setattr(listing, "MAX_FILES", 3)
    monkeypatch.setattr(listing, "MAX_DELTA_BYTES", 100)
    assert "allowed: 100" in refusal_early(tmp_path / "root")


def refusal_early(root: Path) -> str:
    with pytest.raises(BadInput) as refused:
        opened(root, "run")
    return refused.value.message


@pytest.mark.parametrize(
    ("kind", "stored", "number"),
    [
        (pa.date32(), pa.int32(), 2**31 - 1),
        (pa.timestamp("ms"), pa.int64(), 2**62),
        (pa.timestamp("us"), pa.int64(), 2**62),
    ],
    ids=["day", "millisecond", "microsecond"],
)
def test_a_time_beyond_any_calendar_is_refused(
    tmp_path: Path, kind: pa.DataType, stored: pa.DataType, number: int
) -> None:
    """C11: Python knows no such day, and says so with an error of its own."""
    metadata = pa.StructArray.from_arrays(
        [pa.array([number], pa.int32() if number < 2**31 else pa.int64()).cast(kind)], ["at"]
    )
    columns = {"id": ["a"], "embedding": pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32())), "metadata": metadata}
    (tmp_path / "root").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "root" / "d.parquet")

    assert "no sound Parquet file (OverflowError)" in refusal(tmp_path / "root", "d.parquet")


def test_a_large_delta_streams(tmp_path: Path) -> None:
    """Memory does not grow with a row group: one of 20,000 records, 123 MB, is never held beside its file."""
    count, dimension = 20_000, 1_536
    numbers = np.random.default_rng(1).random(count * dimension, dtype=np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), dimension)
    table = pa.table({"id": [f"i{n}" for n in range(count)], "embedding": vectors})
    (tmp_path / "root").mkdir()
    pq.write_table(table, tmp_path / "root" / "d.parquet", row_group_size=count, compression="none")
    script = f"""
from pathlib import Path
from tests.support.deltas import opened
from tests.support.memory import forget_peak, peak_megabytes
before = forget_peak()
delta = opened(Path({str(tmp_path / "root")!r}), "d.parquet", dimension={dimension})
print(len(delta.ids), sum(len(rows.ids) for rows in delta.batches()), peak_megabytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=Path.cwd())

    opened_ids, read, megabytes = map(int, done.stdout.split())
    assert (count, count) == (opened_ids, read)
    # The file is mapped and counts once, and a batch or two; as a table in memory it would count twice.
    assert megabytes < 200
