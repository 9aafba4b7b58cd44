"""New vectors for records: gathered from a data set of any size into a file, and put in the place of the old ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chroma_lifecycle.bulk.vector_file import VectorFile
from chroma_lifecycle.bulk.vectors import VectorsOf, read_vectors
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput, NoRoom
from chroma_lifecycle.publishing.layout import Vectors
from tests.support.mounts import mounted

DIMENSION = 3


def write(home: Path, file: str, vectors: dict[str, list[float]]) -> None:
    (home / "new").mkdir(exist_ok=True)
    with DeltaWriter(home / "new" / file, dimension=len(next(iter(vectors.values())))) as writer:
        writer.add(list(vectors), list(vectors.values()))


def found(home: Path, ids: list[str], *, space: str = "l2") -> VectorsOf:
    (home / "scratch").mkdir(exist_ok=True)
    return read_vectors(Vectors("new", DIMENSION), "words", directory_deltas(home), "new", ids, space, home / "scratch")


def test_each_record_gets_its_own(tmp_path: Path) -> None:
    """In whatever order the files have them, and in whatever order they are asked for; others are left out."""
    write(tmp_path, "1.parquet", {"c": [3, 3, 3], "nobody's": [9, 9, 9], "a": [1, 1, 1]})
    write(tmp_path, "2.parquet", {"b": [2, 2, 2]})

    of = found(tmp_path, ["a", "b", "c"])

    assert [[1] * 3, [2] * 3, [3] * 3] == of(["a", "b", "c"]).tolist()
    assert [[3] * 3, [1] * 3] == of(["c", "a"]).tolist()
    # What is left on the disk is their own size: of the data set nothing stays.
    left = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    assert [3 * DIMENSION * 4] == [path.stat().st_size for path in left]


def test_what_is_wrong_with_a_data_set_is_told(tmp_path: Path) -> None:
    """A record without a vector, with two, of another dimension; one that a cosine space would spoil."""
    write(tmp_path, "1.parquet", {"a": [1, 1, 1], "b": [2e19, 2e19, 2e19]})
    with pytest.raises(BadInput, match="2 records of words have no vector in new: 'x', 'y'"):
        found(tmp_path, ["a", "y", "x"])
    with pytest.raises(BadInput, match=r"record 2 \('b'\) has a vector too long or too short for a cosine space"):
        found(tmp_path, ["a", "b"], space="cosine")

    write(tmp_path, "2.parquet", {"a": [1, 1, 1]})
    with pytest.raises(BadInput, match="record 'a' of words has two vectors in new"):
        found(tmp_path, ["a", "b"])

    (tmp_path / "new" / "2.parquet").unlink()
    write(tmp_path, "3.parquet", {"other": [1, 1, 1, 1]})
    with pytest.raises(BadInput, match="4 numbers"):
        found(tmp_path, ["a", "b"])


def test_a_disk_too_small_for_the_vectors_is_told(tmp_path: Path) -> None:
    """Before anything is read; or, where others fill it meanwhile, when it is full."""
    ids = [str(number) for number in range(1_000)]
    with mounted(tmp_path / "small", "size=2m") as small:
        with pytest.raises(NoRoom, match=r"words needs about 4,000,000 bytes below .*, 2,097,152 are free"):
            VectorFile(small / "vectors", ids, 1_000, "the new vectors of words")

        made = VectorFile(small / "other", ids, 500, "the new vectors of words")
        (small / "somebody else's").write_bytes(bytes(1 << 20))
        with pytest.raises(NoRoom, match="the disk is full"):
            made.put(ids, np.ones((1_000, 500), np.float32))


def test_memory_does_not_grow_with_the_vectors(tmp_path: Path) -> None:
    """Of 80 MB of new vectors not more is held at once than of 20 MB: a row group on its way into a file, and back."""
    of_a_file, dimension = 500, 2_500
    for home, files in (("few", 4), ("many", 16)):
        (tmp_path / home / "scratch").mkdir(parents=True)
        for file in range(files):
            numbers = range(file * of_a_file, (file + 1) * of_a_file)
            write(tmp_path / home, f"{file}.parquet", {str(number): [float(number)] * dimension for number in numbers})
    script = f"""
from pathlib import Path
from chroma_lifecycle.bulk.vectors import read_vectors
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.publishing.layout import Vectors
from tests.support.memory import forget_peak, peak_megabytes
forget_peak()
for home, count in ((Path({str(tmp_path / "few")!r}), 2_000), (Path({str(tmp_path / "many")!r}), 8_000)):
    before, ids = peak_megabytes(), [str(number) for number in range(count)]
    of = read_vectors(
        Vectors("new", {dimension}), "words", directory_deltas(home), "new", ids, "l2", home / "scratch"
    )
    total = sum(of(ids[start : start + 1_000])[:, -1].sum() for start in range(0, count, 1_000))
print(int(total), peak_megabytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=Path.cwd())

    total, megabytes = map(int, done.stdout.split())
    assert sum(range(8_000)) == total
    assert megabytes < 20
