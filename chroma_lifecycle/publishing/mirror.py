"""The mirror: a second store that receives what was published. Derived, verifiable, repairable.

A mirror is usually a network mount, and a mount can hang: then a call of the system does not come
back, and no thread or process that is in it can be stopped. So every call is made in a thread
that can be abandoned. What may happen in an abandoned call, whenever it goes on:

- a read is thrown away;
- an object is written: it is immutable and has the name of its bytes, and only HEAD, which is
  written last and by another call, can make anybody look for it;
- HEAD is swapped: only if it is still the one that was read before, by the one that followed it.

While a call hangs, no other is begun: there are never more threads than calls were made at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TypeVar

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, StoreUnavailable
from chroma_lifecycle.ports import HeadToken, Store, StoredHead, StoredObject
from chroma_lifecycle.publishing.copying import Check, Copied, Foreign, copy_versions, why_foreign
from chroma_lifecycle.publishing.head import Head, find_head, read_head
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.names import Names

_T = TypeVar("_T")

TIMEOUT_SECONDS = 5.0
"""How long one call may take; a block of 4 MiB takes far less on a mount that works."""

# Of one call: a mount on a network takes milliseconds for each, and a collection has any number.
_PIECE = 64


class Mirror:
    """A :class:`chroma_lifecycle.ports.Store` around one that may hang: each call ends in time.

    Args:
        store: Usually a directory store on a mount.
        timeout_seconds: For each call; when one did not end by then, the calls after it fail at once
            until it ends.
    """

    def __init__(self, store: Store, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._hanging: list[threading.Thread] = []

    @property
    def address(self) -> str:
        return self._store.address

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        return self.within_time(lambda: self._store.read(name, limit_bytes=limit_bytes))

    def write(self, name: str, data: bytes) -> None:
        self.within_time(lambda: self._store.write(name, data))

    def present(self, names: Collection[str]) -> frozenset[str]:
        return frozenset().union(*(self.within_time(partial(self._store.present, some)) for some in _pieces(names)))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._rows(lambda: self._store.list(prefix))

    def delete(self, names: Collection[str]) -> None:
        for some in _pieces(names):
            self.within_time(partial(self._store.delete, some))

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._rows(lambda: self._store.remains(prefix))

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        # The store looks at all of them once more, and removes some, in one call.
        pieces = 2 * sum(1 for _ in self.remains(prefix)) // _PIECE
        return self.within_time(lambda: self._store.erase(prefix, condemned), pieces=1 + pieces)

    def now(self) -> datetime:
        return self.within_time(self._store.now)

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        return self.within_time(lambda: self._store.read_head(collection, known=known))

    def past_heads(self, collection: str) -> Iterator[bytes]:
        yield from self.within_time(lambda: [*self._store.past_heads(collection)])

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        return self.within_time(lambda: self._store.swap_head(collection, body, serial=serial, expected=expected))

    def within_time(self, call: Callable[[], _T], *, pieces: int = 1) -> _T:
        """Make *call*, which touches the mount, in a thread of its own, and leave it alone when it takes too long.

        Args:
            call: What to do.
            pieces: How many calls it stands for.

        Raises:
            StoreUnavailable: It did not end in time, or an earlier one still has not.
        """
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if self._hanging:
            raise self._unavailable("still does not answer")
        answer: Future[_T] = Future()
        thread = threading.Thread(target=_fetch, args=(answer, call), name=f"mirror {self.address}", daemon=True)
        thread.start()
        most_seconds = self._timeout_seconds * pieces
        if not wait([answer], most_seconds).done:
            self._hanging.append(thread)
            raise self._unavailable(f"did not answer within {most_seconds:g} s")
        return answer.result()

    def _rows(self, listing: Callable[[], Iterator[StoredObject]]) -> Iterator[StoredObject]:
        rows = self.within_time(listing)
        while some := self.within_time(lambda: [*islice(rows, _PIECE)]):
            yield from some

    def _unavailable(self, problem: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the mirror {self.address} {problem}",
            hint="check the mount; the store has everything, and the mirror catches up when it is back",
        )


def _pieces(names: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(names)  # those of one directory together
    return (ordered[start : start + _PIECE] for start in range(0, len(ordered), _PIECE))


def _fetch(answer: Future[_T], call: Callable[[], _T]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001  it is raised where the answer is waited for
        answer.set_exception(error)


class MirrorState(StrEnum):
    """What became of a mirror."""

    UP_TO_DATE = "up to date"
    BROUGHT_FORWARD = "brought forward"
    FOREIGN = "foreign"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MirrorOutcome:
    """What became of a mirror, and why; a failure costs a warning, never the cycle.

    Attributes:
        objects: How many objects and manifests were written.
        bytes_written: How long they are.
    """

    state: MirrorState
    text: str
    objects: int = 0
    bytes_written: int = 0

    def __str__(self) -> str:
        return f"{self.state}: {self.text}"

    def as_json(self) -> dict[str, str]:
        """Return it for programs."""
        return {"state": str(self.state), "text": self.text}


def update_mirror(
    store: Store,
    mirror: Store,
    collection: str,
    *,
    deadline: Deadline,
    missed: Collection[str] = (),
) -> MirrorOutcome:
    """Bring *mirror* to what *store* has, and say what became of it; it never raises a lifecycle error.

    Args:
        store: Where the versions are.
        mirror: The second store; a :class:`Mirror`, if it may hang.
        collection: Whose.
        deadline: Checked before each object.
        missed: Names that a restore missed in the mirror or found damaged: then every name is looked at.
    """
    check = Check.NAMES if missed else Check.NOTHING
    try:
        copied = copy_versions(store, mirror, collection, deadline=deadline, check=check, suspects=missed)
    except LifecycleError as problem:
        return MirrorOutcome(MirrorState.FAILED, str(problem))
    match copied:
        case Foreign(reason):
            hint = "check --mirror; to replace what is there: `chroma-lifecycle mirror --repair`"
            return MirrorOutcome(
                MirrorState.FOREIGN, f"{mirror.address} is not the mirror of this store: {reason} ({hint})"
            )
        case Copied(head, objects, bytes_written, swapped):
            state = MirrorState.BROUGHT_FORWARD if swapped or objects else MirrorState.UP_TO_DATE
            text = f"version {head.version.number}"
            return MirrorOutcome(state, text, objects, bytes_written)


def repair_mirror(store: Store, mirror: Store, collection: str, *, deadline: Deadline, writer: str) -> Copied:
    """Read every byte of *mirror*, write again what is damaged or missing, and replace a HEAD that is not the store's.

    Where that HEAD is ahead, the store's serial is raised above it first: serials never go back, and a
    mirror that stayed ahead would be taken for another store's again.

    Raises:
        NotInitialised: The store has no HEAD.
        Corrupt: An object is damaged in the store too; it is named.
        Retryable, OutcomeUnknown: It can be done again.
    """
    highest = _highest_serial(mirror, collection)
    head = read_head(store, collection).head
    ahead = highest > head.serial or (highest == head.serial and _state(store, mirror, head)[0] != "up to date")
    if ahead:
        amend_head(store, collection, lambda seen: replace(seen, serial=max(seen.serial, highest)), writer=writer)
    copied = copy_versions(store, mirror, collection, deadline=deadline, check=Check.BYTES, replace_foreign=True)
    assert isinstance(copied, Copied)  # nothing is foreign to who replaces it
    return copied


def _highest_serial(mirror: Store, collection: str) -> int:
    """Return the highest serial that the mirror has come to, as far as it can be read."""
    names = Names(collection)
    serials = [names.parse_head_name(row.name) or 0 for row in mirror.list(names.all_heads)]
    try:
        seen = find_head(mirror, collection)
    except (Corrupt, BadInput):
        seen = None
    return max([0, *serials, *([seen.head.serial] if seen else [])])


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """How a mirror stands to its store.

    Attributes:
        state: ``up to date``, ``behind``, ``empty``, ``foreign``, ``damaged``, or, where that is told, ``unavailable``.
        text: The same for people.
        store_version: Of the HEAD that it was compared with; ``None`` if none was.
        version: Its newest version, if its HEAD can be read.
    """

    state: str
    text: str
    store_version: int | None
    version: int | None


def look_at_mirror(store: Store, mirror: Store, collection: str) -> MirrorStatus:
    """Say how *mirror* stands to *store*, by their HEADs alone; nothing is written.

    Raises:
        NotInitialised: The store has no HEAD.
        StoreUnavailable: One of the two does not answer.
    """
    head = read_head(store, collection).head
    state, text, version = _state(store, mirror, head)
    return MirrorStatus(state, text, head.version.number, version)


def _state(store: Store, mirror: Store, head: Head) -> tuple[str, str, int | None]:
    try:
        seen = find_head(mirror, head.collection)
    except (Corrupt, BadInput) as problem:
        return "damaged", problem.message, None
    if seen is None:
        return "empty", "it has no HEAD yet: the next cycle fills it", None
    number = seen.head.version.number
    if reason := why_foreign(seen.head, head, store):
        return "foreign", reason, number
    if seen.head.serial == head.serial:
        return "up to date", f"version {number}", number
    if number == head.version.number:
        return "behind", f"version {number} as in the store, with HEAD {seen.head.serial} of {head.serial}", number
    return "behind", f"version {number}, and the store has {head.version.number}", number
