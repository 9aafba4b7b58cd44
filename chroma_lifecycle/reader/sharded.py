"""The reader of a collection in shards: a reader of each shard, asked side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, Deadline
from chroma_lifecycle.config import Checksums
from chroma_lifecycle.errors import BadInput, LifecycleError, Sharded, StoreUnavailable
from chroma_lifecycle.logs import Log
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, read_in_force
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.reader.collection import ReadClient, ReadCollection
from chroma_lifecycle.reader.reader import DEFAULT_CHECK_SECONDS, SnapshotReader
from chroma_lifecycle.reader.sharded_collection import Asked, ShardedCollection
from chroma_lifecycle.reader.status import ReaderStatus
from chroma_lifecycle.reader.usage import require_interval, require_process
from chroma_lifecycle.wiring import open_mirror, open_store

log = Log(__name__)

_MOST_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ShardedStatus:
    """What a reader of shards serves.

    Attributes:
        collection: Whose records.
        store: Where they come from.
        layout: Serial of the layout in force; ``None`` before the first use.
        shards: Of each shard that was asked so far.
    """

    collection: str
    store: str
    layout: int | None
    shards: tuple[ReaderStatus, ...]

    @property
    def lag_seconds(self) -> float | None:
        """The most by which an answer can be out of date."""
        lags = [shard.lag_seconds for shard in self.shards if shard.lag_seconds is not None]
        return max(lags, default=None)

    @property
    def problem(self) -> str | None:
        """Why some shard is not newer."""
        return next((shard.problem for shard in self.shards if shard.problem), None)

    def as_json(self) -> dict[str, object]:
        """Return the same for JSON."""
        return asdict(self) | {"shards": [shard.as_json() for shard in self.shards]}


@dataclass
class _Open:
    """The readers of one layout; whoever uses it last after it was replaced closes it."""

    layout: Layout
    make: Callable[[Shard], SnapshotReader]
    readers: dict[str, SnapshotReader] = field(default_factory=dict)
    users: int = 0
    replaced: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reader(self, shard: Shard) -> SnapshotReader:
        with self.lock:
            if shard.name not in self.readers:
                self.readers[shard.name] = self.make(shard)
            return self.readers[shard.name]

    def close(self) -> None:
        with ExitStack() as closing:
            for reader in self.readers.values():
                closing.callback(reader.close)


class ShardedReader:
    """Serves the newest version of each shard of one collection to any number of threads.

    Each shard has a :class:`~chroma_lifecycle.reader.reader.SnapshotReader`, made when it is first
    asked: a process that asks for some partitions alone holds their shards alone. Nearest records are
    those of all shards, merged by distance; an answer is never that of a part, if a shard cannot be
    asked it is an error. Shards are published each on its own, so a block sees one version of each shard, and not
    one moment of all.

    Args:
        store: Where versions live.
        collection: Whose. One that is in one piece is its one shard, until it is cut into more.
        partition_key: The metadata key that holds, in every record, the partition key with which its id
            begins. A ``where`` on it asks one shard alone; without it, only ids do.
        part: Answer for a part of the shards alone, ``(number, of)``: of three parts, (0, 3) has the first, the
            fourth, the seventh shard and so on. Whoever asks all parts merges their answers, which must be of one
            layout (see `layout` of what `collection` gives).
        mirror, workspace, check_seconds, background, clock: As of a SnapshotReader, for each shard. The
            layout is looked at as often as HEAD.
    """

    def __init__(
        self,
        store: Store,
        collection: str,
        *,
        partition_key: str | None = None,
        part: tuple[int, int] | None = None,
        mirror: Store | None = None,
        workspace: Path | None = None,
        check_seconds: float | None = DEFAULT_CHECK_SECONDS,
        background: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._name = collection
        self._partition_key = partition_key
        self._number, self._parts = part or (0, 1)
        if not 0 <= self._number < self._parts:
            raise BadInput(
                f"there is no part {self._number} of {self._parts}", hint="the first part of three is (0, 3)"
            )
        self._every = require_interval(check_seconds)
        self._clock = clock
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._seen: SeenLayout | None = None
        self._open: _Open | None = None
        self._looked = 0.0
        self._pool: ThreadPoolExecutor | None = None

        def make(shard: Shard) -> SnapshotReader:
            return SnapshotReader(
                store,
                shard.name,
                # One piece is what HEAD says that it is, as for a SnapshotReader.
                lineage=None if shard.name == collection else shard.lineage,
                mirror=mirror,
                workspace=workspace,
                check_seconds=check_seconds,
                background=background,
                clock=clock,
            )

        self._make = make

    @classmethod
    def open(
        cls,
        store: str | os.PathLike[str],
        collection: str,
        *,
        partition_key: str | None = None,
        part: tuple[int, int] | None = None,
        mirror: str | os.PathLike[str] | None = None,
        workspace: str | os.PathLike[str] | None = None,
        check_seconds: float | None = DEFAULT_CHECK_SECONDS,
        background: bool = False,
        s3_checksums: Checksums | None = None,
    ) -> Self:
        """Return a reader of the store at an address: ``s3://bucket/prefix``, or a directory.

        Raises:
            BadInput: It is no address, or there is no such part.
        """
        return cls(
            open_store(os.fspath(store), checksums=s3_checksums),
            collection,
            partition_key=partition_key,
            part=part,
            mirror=open_mirror(os.fspath(mirror or ""), os.fspath(store)),
            workspace=Path(workspace) if workspace is not None else None,
            check_seconds=check_seconds,
            background=background,
        )

    @contextmanager
    def collection(self) -> Iterator[ReadCollection]:
        """Give the collection; in the block each shard is asked at one version, that of its first call.

        Raises:
            LifecycleError: There is no layout.
        """
        with self._lease() as opened, ExitStack() as block:
            given = dict[str, ReadCollection]()
            # One for each, so that shards which are asked for the first time are restored side by side.
            locks = {shard.name: threading.Lock() for shard in opened.layout.shards}

            def collection_of(shard: Shard) -> ReadCollection:
                with locks[shard.name]:
                    if shard.name not in given:
                        given[shard.name] = block.enter_context(opened.reader(shard).collection())
                    return given[shard.name]

            @contextmanager
            def asked() -> Iterator[Asked]:
                yield Asked(opened.layout, self._own(opened.layout), collection_of)

            yield self._collection(asked)

    def client(self) -> ReadClient:
        """Return a client for libraries that want one: each of its calls is answered by the newest versions."""

        @contextmanager
        def asked() -> Iterator[Asked]:
            with self._lease() as opened:
                yield Asked(
                    opened.layout,
                    self._own(opened.layout),
                    lambda shard: opened.reader(shard).client().get_collection(shard.name),
                )

        return ReadClient(self._collection(asked))

    @contextmanager
    def at_least(self, versions: Mapping[str, int], *, timeout_seconds: float = 10.0) -> Iterator[ReadCollection]:
        """Give the collection when shards are at these versions or newer: to read what one has just written.

        Args:
            versions: By the name of the shard, as the compactor reported them.
            timeout_seconds: How long to wait until all are published and here.

        Raises:
            Retryable: One is not served in time.
            BadInput: A name is none of a shard.
        """
        ends = self._clock.monotonic() + timeout_seconds
        with self._lease() as opened:
            shards = {shard.name: shard for shard in self._own(opened.layout)}
            if unknown := sorted(versions.keys() - shards.keys()):
                raise BadInput(
                    f"{unknown[0]} is no shard of {self._name}", hint=f"name shards: {', '.join(sorted(shards))}"
                )
            for name, version in versions.items():
                left = max(0.0, ends - self._clock.monotonic())
                with opened.reader(shards[name]).at_least(version, timeout_seconds=left):
                    pass  # versions never go back, so the next block has this one or a newer
        with self.collection() as found:
            yield found

    def refresh(self, deadline: Deadline | None = None) -> ShardedStatus:
        """Look at the layout, and at HEAD of each shard that was asked before; return what is served then.

        Raises:
            LifecycleError: A shard serves nothing, and this failed.
        """
        self._look()
        with self._lease() as opened:
            for reader in list(opened.readers.values()):
                reader.refresh(deadline)
        return self.status()

    def status(self) -> ShardedStatus:
        """Return what is served, how old it is, and why it is not newer. It reads nothing and never waits."""
        opened = self._open
        statuses = [reader.status() for _, reader in sorted(opened.readers.items())] if opened else []
        return ShardedStatus(self._name, self._store.address, opened.layout.serial if opened else None, tuple(statuses))

    def close(self) -> None:
        """Wait for the queries under way and close every shard; a second call does nothing.

        Raises:
            NotOwned: As of a SnapshotReader.
        """
        require_process(self._name, self._process)
        with self._lock:
            self._closed, opened = True, self._open
            self._open = None
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        if opened is not None:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The layout.

    @contextmanager
    def _lease(self) -> Iterator[_Open]:
        require_process(self._name, self._process)
        self._look_if_due()
        with self._lock:
            opened = self._require_open()
            opened.users += 1
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1
                is_over = opened.replaced and not opened.users
            if is_over:
                opened.close()

    def _require_open(self) -> _Open:
        if self._closed or self._open is None:
            raise BadInput(f"this reader of {self._name} is closed", hint="open a new one")
        return self._open

    def _look_if_due(self) -> None:
        if self._closed:
            return
        if self._open is None:
            with self._looking:
                if self._open is None:
                    self._read()
        elif self._every is not None and self._clock.monotonic() - self._looked > self._every:
            self._look()

    def _look(self) -> None:
        """Read the layout; while it cannot be read, the one before goes on."""
        with self._looking:
            try:
                self._read()
            except StoreUnavailable as problem:
                if self._open is None:
                    raise
                log.warning("layout not read", collection=self._name, why=problem.message)

    def _read(self) -> None:
        self._looked = self._clock.monotonic()
        try:
            seen = read_in_force(self._store, self._name, known=self._seen)
        except StoreUnavailable as away:
            if self._open is not None:
                raise
            self._open = _Open(self._mirrored(away), self._make)
            return
        if seen is self._seen and self._open is not None:
            return
        with self._lock:
            if self._open is not None and _same_shards(self._open.layout, seen.layout):
                # It says that a reshard began, or was given up: what is served stays.
                self._open.layout, self._seen = seen.layout, seen
                return
        opened, seen = self._opened(seen)
        with self._lock:
            before, self._open, self._seen = self._open, opened, seen
            if before is not None:
                before.replaced = True
                before = None if before.users else before
        if before is not None:
            before.close()

    def _opened(self, seen: SeenLayout) -> tuple[_Open, SeenLayout]:
        """Return what reads the shards of *seen*; of those that came into force meanwhile, if it is too old.

        Shards stay readable when others come, but one piece does not: what lies in its place then is a layout. So it is
        served before anybody is promised an answer.
        """
        opened = _Open(seen.layout, self._make)
        if seen.layout.in_one_piece:
            try:
                with opened.reader(seen.layout.shards[0]).collection():
                    pass
            except Sharded:
                opened.close()
                return self._opened(read_in_force(self._store, self._name))
        return opened, seen

    def _mirrored(self, away: StoreUnavailable) -> Layout:
        """Return the layout of the mirror, to begin with while the store is away.

        Raises:
            StoreUnavailable: There is none.
        """
        if self._mirror is None:
            raise away
        try:
            layout = read_in_force(self._mirror, self._name).layout
        except LifecycleError:
            raise away from None
        log.warning("layout taken from the mirror", collection=self._name, why=away.message)
        return layout

    # Asking.

    def _own(self, layout: Layout) -> tuple[Shard, ...]:
        """Return the shards that this reader answers for."""
        own = layout.shards[self._number :: self._parts]
        if not own:
            raise BadInput(
                f"part {self._number} of {self._parts} of {self._name} has none of its {len(layout.shards)} shards",
                hint="make at most as many parts as there are shards",
            )
        return own

    def _collection(self, asked: Callable[[], AbstractContextManager[Asked]]) -> ReadCollection:
        return ShardedCollection(self._name, self._partition_key, asked, self._side_by_side)

    def _side_by_side(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Return what the calls return, each in a thread of its own; a failure is raised when all have ended."""
        if len(calls) == 1:
            return [calls[0]()]
        with self._lock:
            if self._closed:
                raise BadInput(f"this reader of {self._name} is closed", hint="open a new one")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix=f"shards of {self._name}")
            pool = self._pool
        under_way = [pool.submit(call) for call in calls]
        wait(under_way)  # or the block, or the reader, would end beneath those that are left
        return [each.result() for each in under_way]


def _same_shards(one: Layout, other: Layout) -> bool:
    """Return whether two layouts are read by the same readers."""
    return one.shards == other.shards or (one.in_one_piece and other.in_one_piece)
