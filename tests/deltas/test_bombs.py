"""Small files that unpack to more than any machine has room for: told before they are unpacked."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chroma_lifecycle.deltas import allowance, parquet_pages
from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.parquet import read_parquet
from chroma_lifecycle.deltas.parquet_footer import read_footer
from chroma_lifecycle.deltas.parquet_pages import PageReader, groups_of
from chroma_lifecycle.errors import BadInput
from tests.support import bombs
from tests.support.deltas import left_in_scratch, opened, record, records_of, write_parquet

_CHILD = """
import json, sys
from pathlib import Path
from chroma_lifecycle.errors import BadInput
from tests.support.deltas import opened
from tests.support.memory import forget_peak, peak_megabytes
told = {}
for name, dimension in json.loads(sys.argv[2]):
    before = forget_peak()
    try:
        opened(Path(sys.argv[1]), name, dimension=dimension)
    except BadInput as problem:
        told[name] = str(problem), peak_megabytes() - before
print(json.dumps(told))
"""


def test_a_bomb_is_refused_with_its_numbers_and_in_little_memory(tmp_path: Path) -> None:
    """C11: vectors of 21 GB in 300 kB, also under a footer that claims a hundred numbers; documents of 20 GB in 52 kB.

    Nothing is left behind; the limits are stated.
    """
    bombs.vectors(tmp_path / "vectors.parquet", groups=1_600)
    bombs.lies(bombs.vectors(tmp_path / "lies.parquet", groups=1_600), real=50 * bombs.DIMENSION, claimed=100)
    bombs.documents(tmp_path / "documents.parquet", records=20_000)
    cases = [("vectors.parquet", bombs.DIMENSION), ("lies.parquet", bombs.DIMENSION), ("documents.parquet", 3)]

    told = json.loads(
        subprocess.run(
            [sys.executable, "-c", _CHILD, str(tmp_path), json.dumps(cases)], check=True, capture_output=True
        ).stdout
    )

    for name, least in zip(told, ("20,973,358,400", "20,973,358,400", "268,"), strict=True):
        message, megabytes = told[name]
        assert f"delta {name!r}: its {(tmp_path / name).stat().st_size:,} bytes" in message
        assert f"{least}" in message
        assert "allowed: 268,435,456" in message
        assert "write it as several deltas" in message
        assert megabytes < 300, name
    assert [] == left_in_scratch(tmp_path)


def test_parts_share_what_a_delta_may_unpack_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C11: two files that may be unpacked one by one, and not together."""
    monkeypatch.setattr(allowance, "ALWAYS_BYTES", 50 * 1_000 * 4 + 5_000)
    monkeypatch.setattr(allowance, "MOST_TIMES", 1)
    (tmp_path / "run").mkdir()
    for name in ("one", "two"):
        bombs.vectors(tmp_path / f"run/{name}.parquet", groups=1, dimension=1_000)

    assert 50 == len(opened(tmp_path / "run", "one.parquet", dimension=1_000).ids)
    with pytest.raises(BadInput, match="allowed: 205,000"):
        opened(tmp_path, "run", dimension=1_000)


def test_what_was_packed_here_may_pack_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that were taken once are taken again, however small they became; the limit of a delta still holds."""
    path = bombs.vectors(tmp_path / "d.parquet", groups=1, dimension=1_000)
    monkeypatch.setattr(allowance, "ALWAYS_BYTES", 0)
    size = path.stat().st_size

    assert 200 * size == Allowance.of("d", [size]).allowed_bytes
    assert 8 << 30 == Allowance.of("d", [size], own=True).allowed_bytes
    assert 8 << 30 == Allowance.of("d", [1 << 30]).allowed_bytes


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": {"id": "DELTA_BYTE_ARRAY", "document": "DELTA_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"document": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"embedding.list.element": "BYTE_STREAM_SPLIT"}},
    ],
    ids=["dictionary", "plain", "delta", "delta-length", "split"],
)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip", "lz4", "brotli"])
def test_the_pages_of_any_writer_are_counted(
    tmp_path: Path, written: dict[str, Any], version: str, compression: str
) -> None:
    """Every value that the footer has, null ones too, in pages of any kind; statistics make a header long."""
    rows = [record(f"{at}" + 2_000 * "n", document=f"text {at % 3}" if at % 5 else None) for at in range(60)]
    path = write_parquet(tmp_path / "plain.parquet", rows)
    table = pq.read_table(path)
    pq.write_table(
        table,
        tmp_path / "d.parquet",
        compression=compression,
        data_page_version=version,
        data_page_size=1_000,
        write_batch_size=7,
        row_group_size=25,
        write_page_checksum=True,
        **written,
    )
    footer = pq.read_metadata(tmp_path / "d.parquet")

    groups = list(groups_of(tmp_path / "d.parquet", Allowance("d", 0, 0)))

    assert [25, 25, 10] == [group.rows for group in groups] == [group.chunks[0].values for group in groups]
    for number, chunks in enumerate(group.chunks for group in groups):
        columns = [footer.row_group(number).column(at) for at in range(4)]
        assert [column.num_values for column in columns] == [chunk.values for chunk in chunks]
        for column, chunk in zip(columns, chunks, strict=True):
            assert chunk.unpacked_bytes <= column.total_uncompressed_size <= chunk.unpacked_bytes + 20_000
    assert rows == records_of(opened(tmp_path, "d.parquet"))


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "dictionary"])
def test_long_texts_are_read_few_at_a_time(tmp_path: Path, encoding: str) -> None:
    """Half a megabyte each, between a thousand short ones, or told as repetitions of one another."""
    texts = ["short"] * 1_000 + ["x" * (512 << 10)] * 90
    columns = {
        "id": [f"{at}" for at in range(len(texts))],
        "embedding": pa.array([[1.0, 2.0, 3.0]] * len(texts), pa.list_(pa.float32())),
        "document": texts,
    }
    how: dict[str, Any] = {"column_encoding": {"document": encoding}} if encoding.isupper() else {}
    pq.write_table(pa.table(columns), tmp_path / "d.parquet", compression="zstd", use_dictionary=not how, **how)

    longest = [
        sum(len(str(document)) for document in rows.documents)
        for rows in read_parquet(tmp_path / "d.parquet", "d", Allowance("d", 0, 1 << 30))
    ]

    assert sum(map(len, texts)) == sum(longest)
    assert max(longest) <= 33 << 20


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_long_headers_are_not_read_with_all_that_follows(tmp_path: Path) -> None:
    """C11: 400 pages, each with a header of more than a kilobyte: no more is read than a few times the file."""
    path = write_parquet(tmp_path / "d.parquet", [record(f"{at:03d}" + 900 * "n") for at in range(400)])
    pq.write_table(pq.read_table(path), path, data_page_size=1, write_batch_size=1, use_dictionary=False)
    file = Counting(path.read_bytes())
    size = len(file.getvalue())
    [group] = read_footer(file, size)
    reader = PageReader(file, size, Allowance("d", 0, 0))

    file.count = 0
    chunk = reader.chunk(group.columns[0])

    assert 400 == chunk.values
    assert 400 * 1_800 < group.columns[0].packed_bytes < file.count < 5 * group.columns[0].packed_bytes


def test_a_header_that_is_none_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in place of the pages' headers, more pages than any writer makes, values that are not there: refused."""
    path = write_parquet(tmp_path / "d.parquet", [record("a")])
    sound = path.read_bytes()
    for seed in range(100):
        noise = np.random.default_rng(seed).bytes(64)
        path.write_bytes(sound[:4] + noise + sound[4 + 64 :])
        with pytest.raises(BadInput, match=r"no sound Parquet file|unpack"):
            opened(tmp_path, "d.parquet")
    path.write_bytes(sound)
    monkeypatch.setattr(parquet_pages, "MOST_PAGES", 3)
    with pytest.raises(BadInput, match="no sound Parquet file"):
        opened(tmp_path, "d.parquet")
