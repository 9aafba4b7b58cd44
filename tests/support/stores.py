"""A store that fails as it is told, around one that works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chroma_lifecycle.ports import HeadToken, Store, StoredHead

Swap = Callable[[], HeadToken]
SwapStep = Callable[[Swap], HeadToken]
"""Decides what becomes of one swap: it may let it land, and answer what it likes."""


def lands(swap: Swap) -> HeadToken:
    """Nothing happens to it."""
    return swap()


def lands_and_says(problem: Exception) -> SwapStep:
    """It lands, and the answer is an error: the SDK retried, or nobody heard the answer."""

    def step(swap: Swap) -> HeadToken:
        swap()
        raise problem

    return step


def says(problem: Exception) -> SwapStep:
    """It does not land."""

    def step(swap: Swap) -> HeadToken:
        raise problem

    return step


def after(action: Callable[[], object], then: SwapStep = lands) -> SwapStep:
    """Somebody else does something between our comparing and our writing."""

    def step(swap: Swap) -> HeadToken:
        action()
        return then(swap)

    return step


@dataclass
class FaultyStore:
    """Delegates to *inner*; each swap, and each reading of HEAD, takes the next step of its script."""

    inner: Store
    swaps: list[SwapStep] = field(default_factory=list)
    reads: list[Exception | None] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(self.inner, name)

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        self.calls.append("read_head")
        if problem := self.reads.pop(0) if self.reads else None:
            raise problem
        return self.inner.read_head(collection, known=known)

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        self.calls.append("swap_head")
        self.sent.append(body)
        step = self.swaps.pop(0) if self.swaps else lands
        return step(lambda: self.inner.swap_head(collection, body, serial=serial, expected=expected))
