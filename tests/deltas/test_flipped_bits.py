"""A bit that flipped in a file of records: the file is read or refused, and the process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.deltas import write_delta

# In a child, because Arrow may end the process that looks at the statistics of a damaged file.
_CHILD = """
import sys
from pathlib import Path
from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.parquet import count_rows, parquet_marks, read_parquet
from chroma_lifecycle.errors import BadInput
path, stride = Path(sys.argv[1]), int(sys.argv[2])
sound = path.read_bytes()
answers = {"read": 0, "refused": 0}
for bit in range(0, 8 * len(sound), stride):
    damaged = bytearray(sound)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    for read in (lambda: list(read_parquet(path, "d", Allowance.of("d", [len(sound)]))),
                 lambda: parquet_marks(path, "d"), lambda: count_rows(path, "d")):
        try:
            read()
            answers["read"] += 1
        except BadInput:
            answers["refused"] += 1
assert min(answers.values()) > 10, answers
"""


@pytest.mark.parametrize("writer", ["ours", "another"])
@pytest.mark.parametrize("stride", [40, pytest.param(1, marks=pytest.mark.soak)])
def test_no_bit_that_flips_ends_the_process(tmp_path: Path, writer: str, stride: int) -> None:
    """C11: each bit of a small file by itself, those of its statistics too, where Arrow ends the process."""
    path = write_delta(tmp_path / "d.parquet", ["a", "b", "c"]).path
    if writer == "another":
        pq.write_table(pq.read_table(path), path)

    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path), str(stride)], check=False, capture_output=True, text=True
    )

    assert 0 == done.returncode, done.stderr[-1_000:]
