"""A store that tells each call before and after it took effect: to note it, to die, or to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chroma_lifecycle.ports import Store


class Crash(BaseException):
    """The process dies here: no handler of errors may swallow it."""


@dataclass
class WatchedStore:
    """Delegates to *inner*; *before* and *after* are called with the number and the name of each call."""

    inner: Store
    before: Callable[[int, str], None] = lambda number, call: None
    after: Callable[[int, str], None] = lambda number, call: None
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*args: object, **kwargs: object) -> object:
            what = f"{name} {args[0]}" if args and isinstance(args[0], str) else name
            self.calls.append(what)
            number = len(self.calls)
            self.before(number, what)
            result = found(*args, **kwargs)
            self.after(number, what)
            return result

        return call


class CountingStore(WatchedStore):
    """Counts the bytes that are written to the store, HEAD's included."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.written = 0

    def __getattr__(self, name: str) -> object:
        call: Any = super().__getattr__(name)
        if name not in {"write", "swap_head"}:
            return call

        def counted(place: str, data: bytes, **given: object) -> object:
            self.written += len(data)
            return call(place, data, **given)

        return counted


def crash_at(step: int) -> Callable[[int, str], None]:
    """Die at call number *step*."""

    def crash(number: int, call: str) -> None:
        if number == step:
            raise Crash(call)

    return crash


def whole_store(root: Path) -> dict[str, bytes]:
    """Every file of a directory store but its locks and clocks."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
