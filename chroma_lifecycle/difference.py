"""What differs between two versions of a collection: by record, by file and page, and by how it was made.

Ids, documents and metadata are compared in Chroma's tables, which nobody opens by Chroma. Who wrote a
record stands in the ledger, so only vectors that another run wrote are asked of Chroma.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.side_by_side import LaidOut, side_by_side
from chroma_lifecycle.publishing.unpack import Stores
from chroma_lifecycle.snapshot.file_differences import Change, FileDifference, file_differences
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.record_differences import Content, RecordDifference, RecordTables


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions, compared; their files are there for as long as `compare` gives this.

    Attributes:
        files: Those that differ, by path.
        records: Those that differ, by id.
    """

    before: Manifest
    after: Manifest
    files: Sequence[FileDifference] = ()
    records: Sequence[RecordDifference] = ()
    _places: tuple[Path, Path] | None = None

    def contents(self, id_: str) -> tuple[Content | None, Content | None]:
        """Return what a record said before and says after, ``None`` where there is none, of versions that differ."""
        assert self._places is not None
        with RecordTables.reading(*self._places, self.after.collection) as tables:
            return tables.contents(id_)


@contextmanager
def compare(before: Manifest, after: Manifest, stores: Stores) -> Iterator[Comparison]:
    """Compare two versions of a collection; nothing is fetched for two that have the same content.

    Raises:
        Corrupt: An object of one of them is damaged; it is named.
        ObjectMissing: One of them was swept meanwhile.
        NoRoom: The disk for temporary files cannot hold both.
    """
    if before.content == after.content:
        yield Comparison(before, after)
        return
    with side_by_side(before, after, stores) as (old, new):
        files = tuple(file_differences(old.root, old.pages, new.root, new.pages))
        # Only the ledger differs where facts moved and no record did.
        records = _records(old, new) if any(file.path != LEDGER for file in files) else ()
        yield Comparison(before, after, files, records, (old.root / CHROMA, new.root / CHROMA))


def _records(old: LaidOut, new: LaidOut) -> tuple[RecordDifference, ...]:
    collection, places = new.manifest.collection, (old.root / CHROMA, new.root / CHROMA)
    with RecordTables.reading(*places, collection) as tables:
        found = tables.differences()
    if rewritten := [id_ for id_ in _rewritten(old.root / LEDGER, new.root / LEDGER) if _is_in_both(id_, found)]:
        from chroma_lifecycle.chroma.vectors import unlike_vectors  # imports chromadb, which takes seconds

        for id_ in unlike_vectors(*places, collection, rewritten):
            found.setdefault(id_, RecordDifference(id_, Change.CHANGED)).vector = True
    return tuple(found[id_] for id_ in sorted(found))


def _is_in_both(id_: str, found: dict[str, RecordDifference]) -> bool:
    return id_ not in found or found[id_].change is Change.CHANGED


def _rewritten(before: Path, after: Path) -> Iterator[str]:
    """Yield the ids of records of both ledgers that different runs wrote."""
    with Ledger.open(before, read_only=True) as old, Ledger.open(after, read_only=True) as new:
        runs = dict(old.record_runs())
        for id_, run in new.record_runs():
            if runs.get(id_, run) != run:
                yield id_
