"""A published snapshot on an S3 server. Making one takes minutes, so it is kept below .work/ for the next run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.receipts import COLLECTION, MAPPING, WORDS_OF_A_RECEIPT, Editor, Word, by_image, records
from benchmarks.servers import ROOT, endpoint
from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline, new_id
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.restore import restore_to
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import digest_of
from chroma_lifecycle.wiring import compactor, open_store
from tests.support.table import in_sqs

CACHE = ROOT / ".work" / "benchmarks"
# Another number when a snapshot is made in another way.
_EDITION = 4
_RUNS_OF_A_BATCH = 50
_LABELS_OF_A_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Site:
    """A bucket that holds a published snapshot, and room on the disk.

    Attributes:
        url: Of the server; a proxy may stand before it.
        room: For workspaces and copies.
        records: How many the snapshot held when it was put there.
    """

    url: str
    bucket: str
    room: Path
    records: int
    dimension: int

    def s3(self, url: str | None = None) -> Any:
        """Return a client, of the product's own making."""
        with endpoint(url or self.url):
            return make_client("s3")

    def store(self, url: str | None = None) -> Store:
        with endpoint(url or self.url):
            return open_store(f"s3://{self.bucket}/snapshots")

    def compactor(self, workspace: str, *, url: str | None = None, mirror: Path | None = None) -> Compactor:
        """Return what compacts, with a workspace below the room."""
        settings = _settings(
            f"s3://{self.bucket}/snapshots", self.room / workspace, f"s3://{self.bucket}/deltas/", mirror
        )
        with endpoint(url or self.url):
            return compactor(settings)

    def published(self) -> Published:
        return read_published(self.store(), COLLECTION)

    def lay_out(self, name: str) -> Path:
        """Make a directory of the newest version; return that of its Chroma files."""
        restore_to(self.room / name, self.published().manifest, self.store(), None, Deadline())
        return self.room / name / "chroma"

    def put_delta(self, address: str, words: Sequence[Word], *, edition: int = 0) -> None:
        """Put a delta where runs name it."""
        path = self.room / "delta.parquet"
        path.unlink(missing_ok=True)
        _write_delta(path, words, self.dimension, edition)
        self.s3().upload_file(str(path), self.bucket, f"deltas/{address}")


def published_by(machine: Compactor, events: list[dict[str, Any]]) -> int:
    """Run one cycle, which must publish a version; return which."""
    report = machine.compact(in_sqs(events))
    (end,) = report.collections
    if report.failures or not end.published:
        raise RuntimeError(f"the cycle published nothing: {report}")
    return end.version


@contextmanager
def site(url: str, number: int, dimension: int, room: Path) -> Iterator[Site]:
    """Put a snapshot of *number* records into a new bucket."""
    home = snapshot(number, dimension)
    # A path of its own each time: the old way of closing leaves Chroma's system of a path behind.
    bucket = f"bench-{number}-{new_id()}"
    made = Site(url, bucket, room / bucket, number, dimension)
    made.room.mkdir()
    client = made.s3()
    client.create_bucket(Bucket=bucket)
    files = [path for path in (home / "store").rglob("*") if path.is_file() and _is_of_the_format(path)]
    # The layout is one and the same in a directory and in S3.
    in_parallel(
        lambda path: client.upload_file(str(path), bucket, f"snapshots/{path.relative_to(home / 'store').as_posix()}"),
        files,
    )
    try:
        yield made
    finally:
        shutil.rmtree(made.room)


def _is_of_the_format(path: Path) -> bool:
    return path.name != ".lock" and path.parent.name != "heads"


def snapshot(number: int, dimension: int) -> Path:
    """Return the home of a snapshot in a directory store, made by the product's own cycles if it is not there."""
    # Another format of anything makes another snapshot.
    kind = digest_of((ROOT / "docs" / "format.md").read_bytes() + MAPPING.read_bytes())
    home = CACHE / f"{number}x{dimension}-{_EDITION}-{kind[:8]}"
    if not home.exists():
        unfinished = home.with_name(f"{home.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in ("store", "deltas"):
            (unfinished / part).mkdir(parents=True)
        _fill(unfinished, number, dimension)
        for part in ("deltas", "workspace", "beginning"):
            shutil.rmtree(unfinished / part)
        unfinished.rename(home)
    return home


def _fill(home: Path, number: int, dimension: int) -> None:
    """Publish *number* words, a third of them labelled, every fourth receipt with its merchant."""
    with Workspace.open(home / "beginning") as workspace:
        store = DirectoryStore(home / "store")
        beginning = Beginning(COLLECTION, load_mapping(str(MAPPING)).digest, store, workspace, SYSTEM_CLOCK, "bench")
        begin(beginning, CollectionSettings("cosine", dimension))
    editor = Editor(number, generation=0)
    addresses = []
    for words in by_image([Word(position) for position in range(number)]):
        addresses.append((words[0].image, f"{words[0].image.removeprefix('IMAGE#')}.parquet"))
        _write_delta(home / "deltas" / addresses[-1][1], words, dimension, 0)
    with compactor(_settings(str(home / "store"), home / "workspace", str(home / "deltas"), None)) as machine:
        for start in range(0, len(addresses), _RUNS_OF_A_BATCH):
            published_by(machine, editor.runs(addresses[start : start + _RUNS_OF_A_BATCH]))
        receipts = max(1, number // WORDS_OF_A_RECEIPT // 4)
        published_by(machine, [event for _ in range(receipts) for event in editor.merchant().events])
        for start in range(0, number // 3, _LABELS_OF_A_BATCH):
            words = [Word(3 * position) for position in range(start, min(start + _LABELS_OF_A_BATCH, number // 3))]
            published_by(machine, editor.label(words, "total", valid=True).events)


def _write_delta(path: Path, words: Sequence[Word], dimension: int, edition: int) -> None:
    with DeltaWriter(path, dimension=dimension) as writer:
        made = records(words, dimension, edition=edition)
        writer.add(made.ids, made.vectors, made.documents, made.metadatas)


def _settings(store: str, workspace: Path, deltas: str, mirror: Path | None) -> Settings:
    return Settings(
        store=store,
        mapping=str(MAPPING),
        mirror=str(mirror) if mirror else None,
        workspace=workspace,
        deltas=(deltas,),
        deadline_reserve_seconds=1.0,
    )
