"""A store in memory, with a clock that tests move; it passes the contract that every store does."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, PAST_HEADS, HeadToken, Store, StoredHead, StoredObject, SwapRefused
from chroma_lifecycle.snapshot.names import Names


@dataclass
class FakeClock:
    """A time that passes when it is told to."""

    time: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def pass_by(self, span: timedelta) -> None:
        self.time += span


@dataclass
class _Held:
    data: bytes
    modified: datetime
    token: HeadToken


@dataclass
class MemoryStore:
    """Each call takes effect at once and whole, as in S3."""

    clock: FakeClock = field(default_factory=FakeClock)
    address: str = "memory"
    objects: dict[str, _Held] = field(default_factory=dict)
    deletions: int = 0
    past: list[bytes] = field(default_factory=list)
    tokens: Iterator[int] = field(default_factory=count)

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        held = self.objects.get(name)
        if held is None:
            raise ObjectMissing(f"{name} is not in {self.address}", hint="read HEAD again")
        if len(held.data) > limit_bytes:
            raise Corrupt(f"{name} has {len(held.data)} bytes where {limit_bytes} can be", hint="run verify")
        return held.data

    def write(self, name: str, data: bytes) -> None:
        if any(part in {"", ".", ".."} for part in name.split("/")):
            raise BadInput(f"not the name of an object: {name!r}", hint="take another")
        self.objects[name] = _Held(bytes(data), self.clock.now(), HeadToken(str(next(self.tokens))))

    def present(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(name for name in names if name in self.objects)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        found = sorted(name for name in self.objects if name.startswith(prefix))
        return iter([StoredObject(n, len(self.objects[n].data), self.objects[n].modified) for n in found])

    def delete(self, names: Collection[str]) -> None:
        for name in names:
            self.deletions += self.objects.pop(name, None) is not None

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        yield from self.list(prefix)

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        rows = tuple(row for row in self.remains(prefix) if condemned(row))
        self.delete([row.name for row in rows])
        return rows

    def now(self) -> datetime:
        return self.clock.now()

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        held = self.objects.get(Names(collection).head)
        if held is None:
            return None
        if len(held.data) > HEAD_LIMIT_BYTES:
            raise Corrupt(f"HEAD of {collection} is too long", hint="run recover")
        found = StoredHead(held.data, held.token)
        return known if known == found else found

    def past_heads(self, collection: str) -> Iterator[bytes]:
        return iter([body for body in self.past if json.loads(body)["collection"] == collection][:PAST_HEADS])

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        held = self.objects.get(Names(collection).head)
        if (held and held.token) != expected:
            raise SwapRefused(f"HEAD is {held and held.token}, and {expected} was expected")
        self.write(Names(collection).head, body)
        self.past.insert(0, body)
        return self.objects[Names(collection).head].token


@dataclass
class LaterStore:
    """Delegates to *inner*, and says that it is later than it is."""

    inner: Store
    by: timedelta = timedelta(0)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def now(self) -> datetime:
        return self.inner.now() + self.by
