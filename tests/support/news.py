"""A collection that goes on being published: in every version all records say which one it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.reader import ReadCollection, SnapshotReader
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, RUN, World, begins, vector

WORDS = tuple(f"{LINE}#WORD#{number:05d}" for number in range(1, 9))


class News:
    """A container that publishes a version whenever it is told to.

    In version N every record of ``words`` has the merchant name ``N``: a mixture of two versions shows.
    """

    def __init__(self, world: World, machine: Compactor) -> None:
        self.world = world
        self.machine = machine
        self._table = Table()
        self._table._sequence += 1_000_000 * world.version()  # newer than what an earlier one wrote

    def first(self) -> int:
        """Publish the records; return the version."""
        self.world.write_delta("r1", {id_: (number, f"text {number}", {}) for number, id_ in enumerate(WORDS)})
        version = self.world.version() + 1
        self._compact(self._table.put(*RUN, **begins("r1")), self._place(version))
        return version

    def publish(self) -> int:
        """Publish the next version; return its number."""
        version = self.world.version() + 1
        self._compact(self._place(version))
        return version

    def publishes(self, begin: Callable[[], object]) -> bool:
        """Try to publish the next version, after *begin*; return whether it is published."""
        begin()
        version = self.world.version()
        with suppress(LifecycleError):
            self.machine.compact(in_sqs([self._place(version + 1)]))
        return self.world.version() > version

    def publish_ledger(self) -> int:
        """Publish a version that differs in the ledger alone."""
        version = self.world.version() + 1
        self._compact(self._table.put("IMAGE#b", "RECEIPT#00009#PLACE", merchant_name=f"of {version}"))
        return version

    def _place(self, version: int) -> dict[str, Any]:
        return self._table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name=str(version))

    def _compact(self, *records: dict[str, Any]) -> None:
        assert 0 == self.machine.compact(in_sqs(list(records))).failed


def said_by(words: ReadCollection) -> int:
    """Return the version that all records say they are of."""
    found = words.query(query_embeddings=[vector(3)], n_results=len(WORDS))
    [said] = {metadata["merchant_name"] for metadata in found["metadatas"][0]}
    assert set(WORDS) == set(found["ids"][0])
    return int(said)


def seen_by(reader: SnapshotReader) -> int:
    """Return the version that a reader answers by, once its records and it agree."""
    with reader.collection() as words:
        version = words.version
        assert version == said_by(words)
    return version
