"""Between two releases of Chroma: exports go both ways, and a reader reads what the other wrote, or says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.deltas.marks import Origin
from chroma_lifecycle.deltas.writer import DeltaWriter

OTHER = os.environ.get("OTHER_CHROMA_PYTHON", "")
pytestmark = pytest.mark.versions

ROOT = Path(__file__).parents[2]
COMMAND = "from chroma_lifecycle.cli import main; main()"
READ = """
import json, sys
from importlib.metadata import version
from chroma_lifecycle.chroma.client import installed_migrations
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.reader import SnapshotReader
try:
    with SnapshotReader.open("store", "notes", workspace=sys.argv[1]) as reader, reader.collection() as notes:
        found = notes.query(query_embeddings=[[7.0, 8.0, 9.5]], n_results=1, include=["documents", "metadatas"])
        told = [notes.count(), found["ids"][0], found["documents"][0], found["metadatas"][0]]
except BadInput as problem:
    told = str(problem)
print(json.dumps([version("chromadb"), sorted(installed_migrations()), told]))
"""
VECTORS = np.array([[1e-30, -0.0, 3e15], [0.1, 1 / 3, -2.5], [7.0, 8.0, 9.0]], np.float32)
METADATAS: list[dict[str, Any]] = [{"i": (1 << 63) - 1, "f": 1.0, "t": True}, {}, {"s": "é"}]


@dataclass(frozen=True)
class Release:
    """A Python with some release of Chroma, used in one directory."""

    python: str
    home: Path

    def runs(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self.python, "-c", program, *arguments],
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CHROMA_LIFECYCLE_WORKSPACE": "workspace"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout.splitlines()[-1]  # before it, the library's log

    def command(self, *arguments: str) -> Any:
        return json.loads(self.runs(COMMAND, *arguments, "--json"))

    def begins(self, source: str, store: str) -> None:
        self.command("init", "--from", source, "--store", store, "-c", "notes")

    def exports(self, store: str, to: str) -> str:
        return str(self.command("export", "--store", store, "-c", "notes", "-o", to)["digest"])


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Release, Release]:
    """This release and the other, in a directory with records to begin with."""
    origin = Origin("notes", 1, 3, "l2", "any", {"owner": "é", "n": 1}, {"ef_search": 33})
    with DeltaWriter(tmp_path / "seed.parquet", dimension=3, origin=origin) as writer:
        writer.add(["a", "b#1", "c"], VECTORS, ["é\n", None, ""], METADATAS)
    assert OTHER, "`make closing-versions` runs these: the other release is that of OTHER_CHROMA_PYTHON"
    return Release(sys.executable, tmp_path), Release(OTHER, tmp_path)


def test_an_export_goes_there_and_back(releases: tuple[Release, Release]) -> None:
    """The same digest, to the bit and the type, after an import by the other release and an export from there."""
    one, other = releases
    one.begins("seed.parquet", "first")
    digests = [one.exports("first", "a.parquet")]
    other.begins("a.parquet", "second")
    digests.append(other.exports("second", "b.jsonl"))
    one.begins("b.jsonl", "third")
    digests.append(one.exports("third", "c.parquet"))

    origin = one.command("delta", "inspect", "c.parquet")["origin"]
    assert [one.command("delta", "inspect", "seed.parquet")["digest"]] * 3 == digests
    assert ({"owner": "é", "n": 1}, {"ef_search": 33}, "l2") == tuple(
        origin[name] for name in ("metadata", "hnsw", "space")
    )


@pytest.mark.parametrize("order", ["here reads", "there reads"])
def test_a_reader_reads_what_another_release_wrote_or_names_both(releases: tuple[Release, Release], order: str) -> None:
    """C12: an older Chroma's is read by a newer one; a newer one's is refused where a migration is unknown."""
    reads, writes = releases if order == "here reads" else releases[::-1]
    writes.begins("seed.parquet", "store")

    reader, known, told = json.loads(reads.runs(READ, "reader"))

    wrote = reads.command("show", "--store", "store", "-c", "notes")["chroma"]
    writer, written = wrote["version"], wrote["migrations"]
    assert version("chromadb") in (reader, writer)
    assert reader != writer
    if set(written) <= set(known):
        assert [3, ["c"], [""], [{"s": "é"}]] == told
    else:
        assert f"was written by chromadb {writer}, and chromadb {reader} is installed here" in told
        assert f"install chromadb {writer} or newer where the reader runs; upgrade readers before writers" in told
        assert not list((reads.home / "reader").rglob("chroma.sqlite3"))
