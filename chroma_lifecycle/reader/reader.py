"""The reader: keeps the newest sound version of a collection open on this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, Deadline, wait_until
from chroma_lifecycle.config import Checksums
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, Retryable, StoreUnavailable
from chroma_lifecycle.logs import Log
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.reader.collection import ReadClient, ReadCollection
from chroma_lifecycle.reader.origin import came_from, note_origin
from chroma_lifecycle.reader.places import own_place
from chroma_lifecycle.reader.serving import Serving, chroma_files, require_readable
from chroma_lifecycle.reader.shelf import Shelf
from chroma_lifecycle.reader.status import ReaderStatus
from chroma_lifecycle.reader.usage import parse_name, require_interval, require_process
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import open_mirror, open_store

log = Log(__name__)

DEFAULT_CHECK_SECONDS = 30.0
MOST_OLDER = 4
"""Older versions that may be in use at once; each is a copy on the disk, and vectors in memory."""

_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 30.0


class SnapshotReader:
    """Serves the newest version of one collection to any number of threads.

    Making one reads nothing. The first use restores the version; later ones are local, and once in
    every *check_seconds* one of them looks at HEAD first (a request that S3 answers by a 304) and brings
    what is newer. Queries under way end on the version that they began with, which is then closed and
    removed. Whatever fails, the version that is served goes on being served: see `status`.

    Args:
        store: Where versions live.
        collection: Whose.
        lineage: Serve this one alone: of a shard, what the layout names.
        mirror: Asked for objects first; see `wiring.open_mirror`.
        workspace: Local directory for the copies, owned by this reader. By default the first free one
            of several below the directory for temporary files.
        check_seconds: How old the last look at HEAD may be when somebody reads; ``None`` to look
            only when `refresh` is called.
        background: Look in a thread of its own, so that no reader waits for a new version. Not for
            Lambda, which freezes threads between invocations.
    """

    def __init__(
        self,
        store: Store,
        collection: str,
        *,
        lineage: str | None = None,
        mirror: Store | None = None,
        workspace: Path | None = None,
        check_seconds: float | None = DEFAULT_CHECK_SECONDS,
        background: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._name = parse_name(collection)
        self._store = store
        self._lineage = lineage
        self._mirror = mirror
        self._place = workspace
        self._every = require_interval(check_seconds)
        self._in_background = background and check_seconds is not None
        self._clock = clock
        self._process = os.getpid()
        self._shelf = Shelf()
        self._refreshing = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._workspace: Workspace | None = None
        self._known: Published | None = None
        self._newest: int | None = None
        self._problem: LifecycleError | None = None
        self._attempt_ended = 0.0
        self._was_newest = 0.0

    @classmethod
    def open(
        cls,
        store: str | os.PathLike[str],
        collection: str,
        *,
        mirror: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        check_seconds: float | None = DEFAULT_CHECK_SECONDS,
        background: bool = False,
        s3_checksums: Checksums | None = None,
    ) -> Self:
        """Return a reader of the store at an address: ``s3://bucket/prefix``, or a directory.

        Raises:
            BadInput: It is no address, or the name is none of a collection.
        """
        return cls(
            open_store(os.fspath(store), checksums=s3_checksums),
            collection,
            mirror=open_mirror(os.fspath(mirror or ""), os.fspath(store)),
            workspace=Path(workspace) if workspace is not None else None,
            check_seconds=check_seconds,
            background=background,
        )

    @contextmanager
    def collection(self) -> Iterator[ReadCollection]:
        """Give the collection; every call in the block is answered by one version.

        Raises:
            LifecycleError: There is no version to serve, as none could be restored.
        """
        with self._lease() as serving:
            same = _OneVersion(self._shelf, serving)
            try:
                yield ReadCollection(self._name, same.lease)
            finally:
                same.is_over = True

    def client(self) -> ReadClient:
        """Return a client for libraries that want one: each of its calls is answered by the newest version."""
        return ReadClient(ReadCollection(self._name, self._lease))

    @contextmanager
    def at_least(self, version: int, *, timeout_seconds: float = 10.0) -> Iterator[ReadCollection]:
        """Give the collection at *version* or newer: to read what one has just written.

        Args:
            version: As the compactor reported it.
            timeout_seconds: How long to wait until it is published and here.

        Raises:
            Retryable: It is not served in time; the error says what is, and why.
            LifecycleError: Nothing can be served.
        """

        def is_here() -> bool:
            served = self._shelf.current
            return served is not None and served.number >= version

        def comes() -> bool:
            self.refresh()
            return is_here()

        if not is_here() and not wait_until(comes, timeout_seconds=timeout_seconds, poll_seconds=_POLL_SECONDS):
            now = self.status()
            raise Retryable(
                f"version {version} of {self._name} is not served after {timeout_seconds:g} s: version {now.version} "
                f"is, and {now.newest} is the newest{f' ({now.problem})' if now.problem else ''}",
                hint=now.hint or "see by `chroma-lifecycle log` whether it was published; wait longer, or ask again",
            )
        with self.collection() as found:
            yield found

    def refresh(self, deadline: Deadline | None = None) -> ReaderStatus:
        """Look at HEAD and serve what is newer; return what is served then.

        Args:
            deadline: After which no new step begins; the version before goes on being served.

        Raises:
            LifecycleError: Nothing is served, and this failed. If something is, `status` says why it failed.
        """
        with self._refreshing:
            self._require_usable()
            self._refresh(deadline or Deadline())
        return self.status()

    def status(self) -> ReaderStatus:
        """Return what is served, how old it is, and why it is not newer. It reads nothing and never waits."""
        serving, problem = self._shelf.current, self._problem
        manifest = serving.manifest if serving else None
        return ReaderStatus(
            collection=self._name,
            store=self._store.address,
            version=manifest.version.number if manifest else None,
            records=manifest.details.counts.records if manifest else None,
            written_at=manifest.written_at if manifest else None,
            age_seconds=(self._clock.now() - manifest.written_at).total_seconds() if manifest else None,
            lag_seconds=self._clock.monotonic() - self._was_newest if manifest else None,
            newest=self._newest,
            problem=problem.message if problem else None,
            hint=problem.hint if problem else None,
            older_in_use=self._shelf.older_in_use,
        )

    def close(self, *, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Wait for the queries under way, close, and give the workspace up; a second call does nothing.

        The restored version stays in the workspace, so that a next reader there has only to catch up.

        Raises:
            NotOwned: Somebody still reads after the time; the reader takes no new ones. Or the reader was made
                before this process was forked: what it serves is the other process's, and stays.
        """
        require_process(self._name, self._process)
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._refreshing:
            self._shelf.empty(timeout_seconds)
            if self._workspace is not None:
                self._workspace.close()
                self._workspace = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # When to look.

    @contextmanager
    def _lease(self) -> Iterator[Serving]:
        self._require_usable()
        self._look_if_due()
        with self._shelf.lease() as serving:
            yield serving

    def _require_usable(self) -> None:
        if self._ending.is_set():
            raise BadInput(f"this reader of {self._name} is closed", hint="open a new one")
        require_process(self._name, self._process)

    def _look_if_due(self) -> None:
        """Serve something; look at HEAD if the last look is too old.

        One reader looks, and the others go on with what is served. Only after twice the interval
        (nobody has read for long) they wait for it.
        """
        if self._shelf.current is None:
            self._begin()
        elif self._thread is None or not self._thread.is_alive():
            age = self._since_attempt()
            if self._is_due(age) and self._refreshing.acquire(blocking=self._is_due(age / 2)):
                try:
                    self._require_usable()
                    if self._is_due(self._since_attempt()):
                        self._refresh(Deadline())
                finally:
                    self._refreshing.release()

    def _since_attempt(self) -> float:
        return self._clock.monotonic() - self._attempt_ended

    def _is_due(self, age: float) -> bool:
        return self._every is not None and age > self._every

    def _begin(self) -> None:
        """Serve the first version; of many who come at once, one restores it."""
        began = self._clock.monotonic()
        with self._refreshing:
            self._require_usable()
            if self._shelf.current is not None:
                return
            if self._problem is not None and self._attempt_ended > began:
                # It failed while this one waited: the same again would only take as long.
                raise type(self._problem)(self._problem.message, hint=self._problem.hint) from self._problem
            self._refresh(Deadline())
            if self._in_background:
                self._thread = threading.Thread(target=self._look_for_ever, name=f"reader {self._name}", daemon=True)
                self._thread.start()

    def _look_for_ever(self) -> None:
        while not self._ending.wait(self._every):
            with self._refreshing:
                if not self._ending.is_set():
                    self._refresh(Deadline())

    # Looking, fetching, swapping: one at a time, under the lock.

    def _refresh(self, deadline: Deadline) -> None:
        looked = self._clock.monotonic()
        try:
            workspace = self._own_workspace()
            # 1. HEAD, and the manifest that it names if that is new.
            target, away = self._look(workspace)
            # 2. What is new of it, in the pristine copy; 3. in a copy of its own, opened and asked; 4. the swap.
            try:
                self._serve(workspace, target, deadline)
            except Corrupt:
                if not workspace.is_damaged(self._name):
                    raise
                self._serve(workspace, target, deadline)  # restored whole
        except LifecycleError as problem:
            self._failed(problem)
            if self._shelf.current is None and not self._serve_local(problem):
                raise
        else:
            if away is not None:
                self._failed(away)
            else:
                self._problem, self._was_newest = None, looked
        finally:
            self._attempt_ended = self._clock.monotonic()

    def _failed(self, problem: LifecycleError) -> None:
        self._problem = problem
        log.warning("refresh failed", collection=self._name, kind=type(problem).__name__, why=problem.message)

    def _own_workspace(self) -> Workspace:
        if self._workspace is None:
            self._workspace = own_place(self._place, self._name, self._clock)
            # Once: what another process left here is read through before it is believed.
            self._workspace.is_damaged(self._name)
        return self._workspace

    def _look(self, workspace: Workspace) -> tuple[Published, StoreUnavailable | None]:
        """Return the newest version; if the mirror had to tell it, also why the store did not."""
        local, away = workspace.pristine.version(), None
        try:
            target = self._known = read_published(self._store, self._name, local=local, known=self._known)
        except StoreUnavailable as problem:
            target, away = self._look_into_mirror(problem), problem
        target.head.require_lineage(self._lineage)
        self._newest = target.manifest.version.number
        return target, away

    def _look_into_mirror(self, away: StoreUnavailable) -> Published:
        """Return what the mirror has, if that continues what is served.

        Raises:
            StoreUnavailable: It has nothing newer of this lineage.
        """
        served = self._shelf.current
        if self._mirror is None or served is None:
            raise away
        try:
            there = read_published(self._mirror, self._name)
        except LifecycleError:
            raise away from None
        serial = self._known.head.serial if self._known else 0
        continues = there.head.lineage == served.manifest.lineage and there.head.serial > serial
        if not continues or there.manifest.version < served.manifest.version:
            raise away
        return there

    def _serve(self, workspace: Workspace, target: Published, deadline: Deadline) -> None:
        served = self._shelf.current
        if served is not None and served.manifest == target.manifest:
            return
        require_readable(target.manifest)
        began = self._clock.monotonic()
        restored = bring_forward(workspace, target, self._store, self._mirror, deadline)
        note_origin(workspace, self._store)
        manifest = restored.published.manifest
        if served is not None and chroma_files(served.manifest) == chroma_files(manifest):
            self._shelf.relabel(manifest)  # the ledger alone has changed, or how the version is stored
        else:
            self._require_few_older()
            self._shelf.put(Serving.open(workspace, manifest))
        log.info(
            "version served",
            collection=self._name,
            version=manifest.version.number,
            way=restored.way,
            store_bytes=restored.store_bytes,
            mirror_bytes=restored.mirror_bytes,
            seconds=round(self._clock.monotonic() - began, 3),
        )

    def _require_few_older(self) -> None:
        if (older := self._shelf.older_in_use) >= MOST_OLDER:
            raise Retryable(
                f"{older} older versions of {self._name} are still being read, and no more are kept open",
                hint="leave the blocks of reader.collection() soon; for one call at a time use reader.client()",
            )

    def _serve_local(self, problem: LifecycleError) -> bool:
        """Serve what an earlier reader of this store left here, if it is away; return whether that was possible."""
        workspace = self._workspace
        local = workspace.pristine.version() if workspace is not None else None
        if workspace is None or local is None or not isinstance(problem, StoreUnavailable):
            return False
        if local.manifest.collection != self._name or self._lineage not in (None, local.manifest.lineage):
            return False
        if not came_from(workspace, self._store):
            return False
        require_readable(local.manifest)
        self._shelf.put(Serving.open(workspace, local.manifest))
        self._was_newest = self._clock.monotonic() - _age(local.manifest, self._clock)
        return True


class _OneVersion:
    """Leases of the version of one block, for as long as the block lasts."""

    def __init__(self, shelf: Shelf, serving: Serving) -> None:
        self.is_over = False
        self._shelf = shelf
        self._serving = serving

    @contextmanager
    def lease(self) -> Iterator[Serving]:
        """Give the version.

        Raises:
            BadInput: The block has ended.
        """
        if self.is_over:
            raise BadInput(
                "the block in which this collection was given has ended",
                hint="read inside `with reader.collection() as ...`, or use reader.client()",
            )
        with self._shelf.lease(self._serving) as serving:
            yield serving


def _age(manifest: Manifest, clock: Clock) -> float:
    return (clock.now() - manifest.written_at).total_seconds()
