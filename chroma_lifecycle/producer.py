"""For the jobs that embed: from vectors to a run that the compactor merges, in one block.

::

    from chroma_lifecycle import Producer

    producer = Producer.open(mapping="mapping.yaml", dimension=384, deltas="s3://bucket/deltas/", table="notes")
    with producer.run(user="u", run="2026-01-31") as run:
        run.add(ids, embeddings, documents, metadatas)  # again and again
    # here the delta is delivered and its run is announced; after an error, neither

What the compactor would refuse is refused by ``add``. A job that runs again with the same content
changes nothing; with another content it is refused, since an address holds one content for ever.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from chroma_lifecycle.config import Checksums
from chroma_lifecycle.deltas.addresses import Root
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.delivery import Delivered, Delivery, deliver
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.intake.rules import MergeTarget, Rule
from chroma_lifecycle.values import ItemKey, digest_of
from chroma_lifecycle.wiring import open_deliveries, open_deltas, open_status

_PLAIN = re.compile(r"[^A-Za-z0-9._=-]+")
_LONGEST_NAME = 100


class RunTable(Protocol):
    """The table whose run items announce deltas."""

    def announce(self, item: ItemKey, target: MergeTarget, address: str) -> bool:
        """Make the item say that this delta is PENDING; return False if it says so, or was merged, already."""
        ...


@dataclass(frozen=True, slots=True)
class Announced:
    """What became of a run.

    Attributes:
        item: The run item.
        delivered: The delta, where it lies.
        begins: False if the item said so already, or there is no table to be told.
    """

    item: ItemKey
    delivered: Delivered
    begins: bool


class Producer:
    """Writes the deltas of one collection, delivers them, and announces their runs.

    Args:
        mapping: Says what a run item looks like, and which ids fit.
        collection: Whose records.
        dimension: Of the vectors; the collection's own.
        deltas: Where the compactor looks for deltas.
        deliveries: For each kind of root.
        table: Whose items announce runs; ``None`` to deliver alone.
        rule: The rule that takes run items, where several merge into the collection.

    Raises:
        BadInput: No rule, or more than one, merges into the collection.
    """

    def __init__(
        self,
        mapping: TableMapping,
        collection: str,
        *,
        dimension: int,
        deltas: RootedDeltas,
        deliveries: Mapping[type[Root], Delivery],
        table: RunTable | None,
        rule: str | None = None,
    ) -> None:
        self._mapping = mapping
        self._collection = collection
        self._dimension = dimension
        self._deltas = deltas
        self._deliveries = deliveries
        self._table = table
        self._rule = run_rule(mapping, collection, rule)

    @classmethod
    def open(
        cls,
        *,
        mapping: str,
        dimension: int,
        deltas: str,
        collection: str | None = None,
        table: str | None = None,
        rule: str | None = None,
        s3_checksums: Checksums | None = None,
    ) -> Self:
        """Return a producer from names and addresses.

        Args:
            mapping: A mapping file, or the name of a shipped one.
            dimension: Of the vectors.
            deltas: The root below which deltas go: ``s3://bucket/prefix/`` or a directory.
            collection: May be left out if the mapping has one.
            table: Name of the DynamoDB table; ``None`` to deliver alone.
            rule: The rule that takes run items, where several merge into the collection.
            s3_checksums: As `CHROMA_LIFECYCLE_S3_CHECKSUMS`.
        """
        loaded = load_mapping(mapping)
        if collection is None and len(loaded.collections) != 1:
            raise BadInput(f"the mapping has {', '.join(loaded.collections)}", hint="name one with collection=")
        return cls(
            loaded,
            collection or loaded.collections[0],
            dimension=dimension,
            deltas=open_deltas((deltas,), deltas, checksums=s3_checksums),
            deliveries=open_deliveries(deltas, checksums=s3_checksums),
            table=open_status(table),
            rule=rule,
        )

    @contextmanager
    def run(self, *, address: str | None = None, **key: str | int) -> Iterator[RunWriter]:
        """Give a writer; when the block ends without an error, deliver what was added and announce the run.

        Args:
            address: Of the delta, relative to the root; by default one that follows from the key.
            key: The values of the placeholders in the run item's key.

        Raises:
            BadInput: The key is incomplete or has more, a record cannot be applied, none came, or another content was
                delivered under this address before.
            StoreUnavailable, NoRoom: It can be tried again; nothing was announced.
        """
        names = self._rule.key.names
        if unknown := sorted(key.keys() - set(names)):
            raise BadInput(f"the key of a run has no {unknown[0]!r}", hint=f"its values are {', '.join(names)}")
        item = self._mapping.key_of(self._rule.name, key)
        place = address or default_address(self._collection, item)
        self._deltas.locate(place)  # refused now, and not after hours of embedding
        with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
            path = Path(scratch) / "delta.parquet"
            expected = self._expected(item)
            with DeltaWriter(path, dimension=self._dimension, expected=expected, address=place) as writer:
                run = RunWriter(writer)
                yield run
            delivered = deliver(writer.result, place, self._deltas, self._deliveries)
            target = self._rule.merges[self._collection]
            begins = self._table is not None and self._table.announce(item, target, place)
            run.announced = Announced(item, delivered, begins)

    def _expected(self, item: ItemKey) -> Expectation:
        match = self._mapping.match(item)
        assert match is not None  # the key was made by this rule
        below = self._mapping.below(match)
        return Expectation(
            self._collection, self._dimension, below, lambda id_: self._mapping.fits(self._collection, id_)
        )


class RunWriter:
    """Takes the records of a run.

    Attributes:
        announced: What became of the run, after the block.
    """

    def __init__(self, writer: DeltaWriter) -> None:
        self.add = writer.add
        self.announced: Announced | None = None
        self._writer = writer

    @property
    def count(self) -> int:
        """How many records were added so far."""
        return self._writer.count


def run_rule(mapping: TableMapping, collection: str, name: str | None = None) -> Rule:
    """Return the rule whose items announce deltas for *collection*.

    Raises:
        BadInput: There is none (of this name), or there are several.
    """
    found = [rule for rule in mapping.rules.values() if collection in rule.merges and name in (None, rule.name)]
    if len(found) != 1:
        names = ", ".join(rule.name for rule in found) or "none"
        raise BadInput(
            f"one rule of the mapping must merge into {collection!r}{f' and be called {name!r}' if name else ''}; "
            f"there is: {names}",
            hint="name the collection and the rule as the mapping does; see `chroma-lifecycle mapping check`",
        )
    return found[0]


def default_address(collection: str, item: ItemKey) -> str:
    """Return the address that follows from a run item's key: the same for the same run, of plain characters."""
    key = f"{item.partition}#{item.sort}"
    plain = _PLAIN.sub("_", key)[:_LONGEST_NAME].strip("_.")
    return f"{collection}/{plain}-{digest_of(key.encode())[:12]}.parquet"
