"""How far long work is, on a terminal: what is done, of how much, how fast, and what is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console

from chroma_lifecycle.ports import HeadToken, Store, StoredHead, StoredObject
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.words import age, number, size

Line = Callable[[str, float, float | None, float | None, float | None], str]
"""What is shown of: what is under way, how much is done, of how much, how much each second, seconds left."""


def alone(what: str, *_: float | None) -> str:
    """Show only what is under way."""
    return what


def counted(what: str, done: float, total: float | None, speed: float | None, left: float | None) -> str:
    """Show things by their number."""
    return _line(what, number(done), number(total) if total else None, number(speed) if speed else None, left)


def moved(what: str, done: float, total: float | None, speed: float | None, left: float | None) -> str:
    """Show bytes."""
    return _line(what, size(done), size(total) if total else None, size(speed) if speed else None, left)


def _line(what: str, done: str, total: str | None, speed: str | None, left: float | None) -> str:
    parts = [f"{what}: {done}" if total is None else f"{what}: {done} of {total}"]
    if speed is not None:
        parts.append(f"{speed}/s")
    if total is not None and left is not None:
        parts.append(f"{age(timedelta(seconds=left))} left")
    return ", ".join(parts)


@contextmanager
def shown(what: str, line: Line, *, hidden: bool) -> Iterator[Callable[..., None]]:
    """Show a line while the block lasts, on a terminal only; give what is told how far the work is."""
    console = Console(stderr=True)
    if hidden or not console.is_terminal:
        yield lambda *_: None
        return
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn  # for terminals only
    from rich.text import Text

    class Column(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(line(task.description, task.completed, task.total, task.speed, task.time_remaining))

    with Progress(SpinnerColumn(), Column(), TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total=None: progress.update(task, completed=done, total=total)


class Watched:
    """A :class:`chroma_lifecycle.ports.Store` that tells how many bytes of objects went through it, in any thread.

    Args:
        store: What is asked.
        tell: Told how many bytes, and of how many where that is known.
        total: How many there will be.
    """

    def __init__(self, store: Store, tell: Callable[..., None], total: int | None = None) -> None:
        self._store, self._tell, self._total = store, tell, total
        self._done, self._lock = 0, threading.Lock()

    @property
    def address(self) -> str:
        return self._store.address

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        data = self._store.read(name, limit_bytes=limit_bytes)
        self._count(data)
        return data

    def write(self, name: str, data: bytes) -> None:
        self._store.write(name, data)
        self._count(data)

    def _count(self, data: bytes) -> None:
        with self._lock:
            self._done += len(data)
            # Manifests are read too, and no total knows them.
            self._tell(self._done, self._total if self._total is None else max(self._total, self._done))

    def present(self, names: Collection[str]) -> frozenset[str]:
        return self._store.present(names)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list(prefix)

    def delete(self, names: Collection[str]) -> None:
        self._store.delete(names)

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.remains(prefix)

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        return self._store.erase(prefix, condemned)

    def now(self) -> datetime:
        return self._store.now()

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        return self._store.read_head(collection, known=known)

    def past_heads(self, collection: str) -> Iterator[bytes]:
        return self._store.past_heads(collection)

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        return self._store.swap_head(collection, body, serial=serial, expected=expected)


def stored_size(manifest: Manifest) -> int:
    """Return how many bytes a restore of a version reads: its base and its packs."""
    return manifest.chain.base.stored_bytes + sum(pack.stored_bytes for pack in manifest.chain.packs)
