"""The plan: the smallest set of Chroma calls that brings the records to what the facts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chroma_lifecycle.values import Scalar

OwnedKeys = Mapping[str, Scalar | None]
"""Metadata keys that facts own, with the value that they give; ``None`` removes the key."""


@dataclass(frozen=True, slots=True)
class Write:
    """Records of one delta, to be written whole: vector, document and metadata.

    Attributes:
        address: Names the delta.
        ids: Which of its records; the others have a newer run or a newer tombstone.
        existing: Those of *ids* that stand in the collection already. Chroma's upsert merges,
            so the keys and the document that the delta lacks must be taken away from them.
        owned: By id, the keys that do not come from the delta.
    """

    address: str
    ids: frozenset[str]
    existing: frozenset[str]
    owned: Mapping[str, OwnedKeys] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done in one collection, in this order; no id occurs in two of the three."""

    deletes: tuple[str, ...] = ()
    writes: tuple[Write, ...] = ()
    updates: Mapping[str, OwnedKeys] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.deletes or self.updates or any(write.ids for write in self.writes))

    @property
    def size(self) -> int:
        """How many records it touches."""
        return len(self.deletes) + len(self.updates) + sum(len(write.ids) for write in self.writes)
