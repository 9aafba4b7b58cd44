"""What may befall a delivery: the "process" ends, a call or a step fails, or somebody else comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.chroma import tail
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import Corrupt, LifecycleError, NoRoom, StoreUnavailable
from chroma_lifecycle.ports import Store, SwapRefused, SwapUnanswered
from tests.support.steps import stopping_at
from tests.support.watching import Crash, WatchedStore

CHANGING = ("fsync", "rename", "link", "unlink", "rmdir", "mkdir", "pwrite", "ftruncate")
"""Functions of `os` that change the disk."""

STEPS: dict[str, tuple[Any, str, LifecycleError]] = {
    "merge": (ManagedClient, "apply", NoRoom("no room on the disk", hint="make room")),
    "tail": (tail, "settle_tail", Corrupt("the queue is damaged", hint="restore")),
    "seal": (cycle, "seal", Corrupt("the header is torn", hint="restore")),
    "publish": (cycle, "publish", StoreUnavailable("no answer", hint="run it again")),
}
"""Steps of a cycle that can fail as a whole."""


@dataclass
class Fault:
    """Nothing happens; others change what the store does, or what is around the delivery.

    Attributes:
        struck: Whether it came to what it is there for.
    """

    struck: bool = field(default=False, init=False)

    def store(self, inner: Store) -> Store:
        return inner

    @contextmanager
    def around(self) -> Iterator[None]:
        yield


@dataclass
class DiesAtCall(Fault):
    """The process ends before or after a call of the store; numbers past the last call end nothing."""

    number: int
    after: bool

    def store(self, inner: Store) -> Store:
        def die(number: int, call: str) -> None:
            if number == self.number:
                self.struck = True
                raise Crash(call)

        return _watched(inner, die, after=self.after)


@dataclass
class DiesAtSwap(Fault):
    """The process ends just before or just after HEAD of a collection is written."""

    collection: str
    after: bool

    def store(self, inner: Store) -> Store:
        def die(number: int, call: str) -> None:
            if call == f"swap_head {self.collection}":
                self.struck = True
                raise Crash(call)

        return _watched(inner, die, after=self.after)


@dataclass
class DiesAtStep(Fault):
    """The process ends before or after one of its changes of the disk."""

    number: int
    after: bool

    @contextmanager
    def around(self) -> Iterator[None]:
        def die(name: str) -> None:
            self.struck = True
            raise Crash(name)

        with stopping_at(self.number, die, after=self.after, calls=CHANGING):
            yield


Death = DiesAtCall | DiesAtSwap | DiesAtStep


@dataclass
class CallFails(Fault):
    """A call of the store fails, before or after it took effect; a swap then has no answer, or a wrong one."""

    number: int
    after: bool
    refused: bool = False

    def store(self, inner: Store) -> Store:
        def fail(number: int, call: str) -> None:
            if number == self.number:
                self.struck = True
                if call.startswith("swap_head"):
                    raise (SwapRefused if self.refused else SwapUnanswered)(call)
                raise StoreUnavailable(f"no answer to {call}", hint="run the batch again")

        return _watched(inner, fail, after=self.after)


@dataclass
class SwapFails(Fault):
    """The swap of HEAD of a collection has no answer, or a refusal, before or after it took effect; the next works."""

    collection: str
    after: bool
    refused: bool

    def store(self, inner: Store) -> Store:
        waiting = [f"swap_head {self.collection}"]

        def fail(number: int, call: str) -> None:
            if call in waiting:
                waiting.clear()
                self.struck = True
                raise (SwapRefused if self.refused else SwapUnanswered)(call)

        return _watched(inner, fail, after=self.after)


@dataclass
class CollectionFails(Fault):
    """The store answers nothing about one collection."""

    collection: str

    def store(self, inner: Store) -> Store:
        def fail(number: int, call: str) -> None:
            if call.split(" ")[-1].split("/")[0] == self.collection:
                self.struck = True
                raise StoreUnavailable(f"no answer to {call}", hint="run the batch again")

        return _watched(inner, fail, after=False)


@dataclass
class StepFails(Fault):
    """A step of the cycle fails, each time that it comes."""

    step: str

    @contextmanager
    def around(self) -> Iterator[None]:
        owner, name, problem = STEPS[self.step]

        def fail(*_: object, **__: object) -> Any:
            self.struck = True
            raise problem

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, fail)
            yield


@dataclass
class SomebodyComes(Fault):
    """Somebody else acts before or after a call of the store: between our comparing and our writing, for one."""

    number: int
    after: bool
    act: Callable[[], None]

    def store(self, inner: Store) -> Store:
        def come(number: int, call: str) -> None:
            if number == self.number:
                self.struck = True
                self.act()

        return _watched(inner, come, after=self.after)


@dataclass
class ComesAtSwap(Fault):
    """Somebody else acts just before our HEAD is written: we have compared, and lose."""

    collection: str
    act: Callable[[], None]

    def store(self, inner: Store) -> Store:
        waiting = [f"swap_head {self.collection}"]

        def come(number: int, call: str) -> None:
            if call in waiting:
                waiting.clear()
                self.struck = True
                self.act()

        return _watched(inner, come, after=False)


def _watched(inner: Store, act: Callable[[int, str], None], *, after: bool) -> Store:
    # The watcher passes every method of the port on by name.
    return WatchedStore(inner, after=act) if after else WatchedStore(inner, before=act)  # type: ignore[return-value]
