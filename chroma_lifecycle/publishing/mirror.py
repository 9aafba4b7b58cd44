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
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import LifecycleError, StoreUnavailable
from chroma_lifecycle.ports import HeadToken, Store, StoredHead, StoredObject
from chroma_lifecycle.publishing.copying import Check, Copied, Foreign, copy_versions

_T = TypeVar("_T")

TIMEOUT_SECONDS = 5.0
"""How long one call may take; a block of 4 MiB takes far less on a mount that works."""


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
        return self._within_time(lambda: self._store.read(name, limit_bytes=limit_bytes))

    def write(self, name: str, data: bytes) -> None:
        self._within_time(lambda: self._store.write(name, data))

    def present(self, names: Collection[str]) -> frozenset[str]:
        return self._within_time(lambda: self._store.present(names))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        yield from self._within_time(lambda: [*self._store.list(prefix)])

    def delete(self, names: Collection[str]) -> None:
        self._within_time(lambda: self._store.delete(names))

    def now(self) -> datetime:
        return self._within_time(self._store.now)

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        return self._within_time(lambda: self._store.read_head(collection, known=known))

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        return self._within_time(lambda: self._store.swap_head(collection, body, serial=serial, expected=expected))

    def _within_time(self, call: Callable[[], _T]) -> _T:
        """Make *call* in a thread of its own, and leave it alone when it takes too long.

        Raises:
            StoreUnavailable: It did not end in time, or an earlier one still has not.
        """
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if self._hanging:
            raise self._unavailable("still does not answer")
        answer: Future[_T] = Future()
        thread = threading.Thread(target=_fetch, args=(answer, call), name=f"mirror {self.address}", daemon=True)
        thread.start()
        if not wait([answer], self._timeout_seconds).done:
            self._hanging.append(thread)
            raise self._unavailable(f"did not answer within {self._timeout_seconds:g} s")
        return answer.result()

    def _unavailable(self, problem: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"the mirror {self.address} {problem}",
            hint="check the mount; the store has everything, and the mirror catches up when it is back",
        )


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


def update_mirror(
    store: Store,
    mirror: Store,
    collection: str,
    *,
    deadline: Deadline,
    missed: Collection[str] = (),
    repair: bool = False,
) -> MirrorOutcome:
    """Bring *mirror* to what *store* has, and say what became of it; it never raises a lifecycle error.

    Args:
        store: Where the versions are.
        mirror: The second store; a :class:`Mirror`, if it may hang.
        collection: Whose.
        deadline: Checked before each object.
        missed: Names that a restore missed in the mirror or found damaged: then every name is looked at.
        repair: Read every byte of the mirror, and replace a HEAD that does not come from the store.
    """
    check = Check.BYTES if repair else Check.NAMES if missed else Check.NOTHING
    try:
        copied = copy_versions(
            store, mirror, collection, deadline=deadline, check=check, suspects=missed, replace_foreign=repair
        )
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
