"""Actors that run the real code, one at a time: each store call is a place where another may go on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.ports import HeadToken, SwapRefused, SwapUnanswered
from tests.support.memory_store import MemoryStore
from tests.support.watching import Crash


class Actor:
    """One operation in a thread of its own, which runs only between `resume` and its next store call."""

    def __init__(self, name: str, speed: float, work: Callable[[Actor], None]) -> None:
        self.name, self.speed, self.done, self.dies = name, speed, False, False
        self.ended = "under way"
        self.defect: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Actor], None]) -> None:
        self._go.acquire()
        try:
            work(self)
            self.ended = "done"
        except Crash:
            self.ended = "killed"  # whoever comes next finds what it left
        except LifecycleError:
            self.ended = "refused"
        except BaseException as problem:
            self.defect = problem
        self.done = True
        self._back.release()

    def pause(self) -> None:
        """Let others go on; called before each store call."""
        self._back.release()
        self._go.acquire()
        if self.dies:
            raise Crash(self.name)

    def resume(self) -> None:
        """Carry out one store call, and come to the next one or to the end."""
        self._go.release()
        self._back.acquire()
        if self.defect is not None:
            raise self.defect


@dataclass
class SteppedStore:
    """A store as one actor sees it: others may run before each call, and answers to swaps get lost."""

    inner: MemoryStore
    actor: Actor
    chance: Random
    on_delete: Callable[[list[str]], None]
    happened: Counter[str]

    def __getattr__(self, name: str) -> object:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*args: object, **kwargs: object) -> object:
            self.actor.pause()
            return found(*args, **kwargs)

        return call

    def delete(self, names: list[str]) -> None:
        for name in names:  # a slow sweep: each deletion may come at any later time
            self.actor.pause()
            self.on_delete([name])
            self.inner.delete([name])

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        self.actor.pause()
        fate = self.chance.random()
        if fate < 0.04:
            self.happened["nothing sent"] += 1
            raise SwapUnanswered("nothing was sent")
        try:
            token = self.inner.swap_head(collection, body, serial=serial, expected=expected)
        except SwapRefused:
            self.happened["swap lost"] += 1
            raise
        if fate < 0.08:
            self.happened["answer lost"] += 1
            raise SwapUnanswered("the answer is lost")
        if fate < 0.12:
            self.happened["sent again"] += 1
            raise SwapRefused("the SDK sent it again")
        return token
