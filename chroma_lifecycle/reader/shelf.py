"""The shelf: which version is served, who reads it, and which older ones are still being read.

A lease is of one version. A swap changes what the next lease is of, and no lease that was given;
the last reader of an older version ends it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chroma_lifecycle.errors import BadInput, LifecycleError, NotOwned
from chroma_lifecycle.logs import Log
from chroma_lifecycle.reader.serving import Serving
from chroma_lifecycle.snapshot.manifest import Manifest

log = Log(__name__)


class Shelf:
    """Holds the version that is served; every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._current: Serving | None = None
        self._older: list[Serving] = []

    @property
    def current(self) -> Serving | None:
        """What is served, if anything is."""
        return self._current

    @property
    def older_in_use(self) -> int:
        """How many older versions are still being read."""
        return len(self._older)

    @contextmanager
    def lease(self, serving: Serving | None = None) -> Iterator[Serving]:
        """Give the version that is served, or *serving*: it stays open until the block ends.

        Raises:
            BadInput: Nothing is served, or *serving* has ended.
        """
        with self._changed:
            taken = serving or self._current
            if taken is None or taken.ended:
                raise BadInput("nothing is served any more", hint="take a new collection from an open reader")
            taken.readers += 1
        try:
            yield taken
        finally:
            with self._changed:
                taken.readers -= 1
                is_over = taken is not self._current and not taken.readers
                if is_over:
                    self._older.remove(taken)
                    taken.ended = True
                self._changed.notify_all()
            if is_over:
                _end(taken)

    def put(self, new: Serving | None) -> None:
        """Serve *new* from now on; the version before ends when nobody reads it any more."""
        with self._changed:
            old, self._current = self._current, new
            if old is not None and old.readers:
                self._older.append(old)
                old = None
            if old is not None:
                old.ended = True
        if old is not None:
            _end(old)

    def relabel(self, manifest: Manifest) -> None:
        """Say that what is served is this version too: its Chroma files are the same."""
        assert self._current is not None
        self._current.manifest = manifest

    def empty(self, timeout_seconds: float) -> None:
        """Serve nothing any more, and wait until everything is closed.

        Raises:
            NotOwned: Somebody still reads when the time is over.
        """
        self.put(None)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._older, timeout_seconds):
                raise NotOwned(
                    f"{len(self._older)} version(s) are still being read after {timeout_seconds:g} s",
                    hint="leave the blocks of reader.collection() before closing the reader; then close it again",
                )


def _end(serving: Serving) -> None:
    """Close a version that nobody reads; who read it last had a sound answer, whatever happens here."""
    try:
        serving.close()
    except LifecycleError as problem:
        log.warning("an older version was not closed", version=serving.number, why=problem.message, hint=problem.hint)
