"""A store and a mirror on a mount that fails at any call, or hangs: by FUSE, so that the system's own calls fail."""

from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing import swap as swapping
from chroma_lifecycle.publishing.head import find_head, read_head
from chroma_lifecycle.publishing.mirror import Mirror, MirrorState, update_mirror
from chroma_lifecycle.publishing.sweep import reached
from chroma_lifecycle.stores import swapping as directory_swaps
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.memory_store import FakeClock, MemoryStore
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny, tiny_publishing
from tests.support.unsound_mount import Mount, unsound_mount

CODES = {name: getattr(errno, name) for name in ("EIO", "ESTALE", "ENOSPC", "EROFS")}
STRIDE = 17
"""A quick run lets one call of so many fail; a long run each."""


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    with unsound_mount(tmp_path_factory.mktemp("fuse")) as mounted:
        yield mounted


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is waited for that a mount does not bring."""
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))
    monkeypatch.setattr(directory_swaps, "_SETTLE_SECONDS", 0.0)
    with tiny_publishing():
        yield


class Places:
    """A new directory on the mount for each case."""

    def __init__(self, mount: Mount, tmp_path: Path) -> None:
        self.mount = mount
        self._tmp_path = tmp_path
        self._numbers = itertools.count()

    def store(self, *, mirror: bool = False) -> DirectoryStore:
        place = self.mount.place / f"{self._tmp_path.name}-{next(self._numbers)}"
        place.mkdir()
        return DirectoryStore(place, mirror_only=mirror)

    def tiny(self, store: object) -> Tiny:
        return Tiny(store, self._tmp_path, FakeClock(datetime.now(UTC)))  # type: ignore[arg-type]


@pytest.fixture
def places(mount: Mount, tmp_path: Path) -> Places:
    mount.sound()
    return Places(mount, tmp_path)


def whole(store: object) -> bool:
    """Return whether everything is there that HEAD retains."""
    head = find_head(store, COLLECTION)  # type: ignore[arg-type]
    needed = reached(store, head.head) if head else frozenset()  # type: ignore[arg-type]
    return needed == store.present(needed)  # type: ignore[attr-defined]


def cases(calls: int, stride: int) -> Iterator[tuple[int, str, bool]]:
    """Yield numbers of calls, each with an error that it ends with, once or from then on."""
    if stride == 1:
        yield from itertools.product(range(1, calls + 1), CODES, (False, True))
        return
    names = itertools.cycle(CODES)
    for turn, number in enumerate(range(1, calls + 1, stride)):
        yield number, next(names), bool(turn // len(CODES) % 2)


def strides() -> list[object]:
    return [STRIDE, pytest.param(1, marks=pytest.mark.soak)]


@pytest.mark.parametrize("stride", strides())
def test_a_store_whose_mount_fails_at_any_call_loses_nothing(places: Places, stride: int) -> None:
    """L3, C15: published or an error; HEAD names a whole version; when the mount works, the next publish does too."""
    tiny = places.tiny(places.store())
    tiny.initialise()
    places.mount.sound()
    tiny.publish(1)
    calls, ends = places.mount.count(), Counter[str]()
    for number, code, lasting in cases(calls, stride):
        tiny = places.tiny(places.store())
        tiny.initialise()
        places.mount.fail(number, CODES[code], lasting=lasting)
        try:
            tiny.publish(1)
            end = "done"
        except LifecycleError as problem:
            end = type(problem).__name__
        places.mount.sound()
        ends[end] += 1
        version = read_head(tiny.store, COLLECTION).head.version.number
        assert version in {"done": {2}, "OutcomeUnknown": {1, 2}}.get(end, {1}), (number, code, lasting, end)
        assert whole(tiny.store), (number, code, lasting)
        assert version + 1 == tiny.publish(2).manifest.version.number
        assert whole(tiny.store)
    assert {"done", "StoreUnavailable"} < ends.keys(), ends
    print(f"{ends.total()} of {calls} calls in four ways, once and lasting: {dict(ends)}")


@pytest.mark.parametrize("stride", strides())
def test_a_mirror_whose_mount_fails_at_any_call_catches_up(places: Places, stride: int) -> None:
    """S7, L24: the cycle is not disturbed, the mirror's HEAD names a whole version, and the next update mends it."""
    tiny = places.tiny(MemoryStore(FakeClock(datetime.now(UTC))))
    tiny.initialise()
    tiny.publish(1)
    mirror = places.store(mirror=True)
    places.mount.sound()
    update(tiny, mirror)
    calls, ends = places.mount.count(), Counter[str]()
    for number, code, lasting in cases(calls, stride):
        mirror = places.store(mirror=True)
        places.mount.fail(number, CODES[code], lasting=lasting)
        ends[update(tiny, mirror)] += 1
        places.mount.sound()
        assert whole(mirror), (number, code, lasting)
        assert update(tiny, mirror) in (MirrorState.UP_TO_DATE, MirrorState.BROUGHT_FORWARD)
        assert read_head(tiny.store, COLLECTION).head.manifest == read_head(mirror, COLLECTION).head.manifest
        assert whole(mirror)
    assert {MirrorState.FAILED, MirrorState.BROUGHT_FORWARD} == ends.keys()
    print(f"{ends.total()} of {calls} calls in four ways, once and lasting: {dict(ends)}")


@pytest.mark.parametrize("stride", strides())
def test_a_mirror_whose_mount_hangs_at_any_call_costs_one_time_out(places: Places, stride: int) -> None:
    """S7: the system's own call does not come back; the update fails, and catches up when the mount does."""
    tiny = places.tiny(MemoryStore(FakeClock(datetime.now(UTC))))
    tiny.initialise()
    places.mount.sound()
    update(tiny, places.store(mirror=True))
    for number in range(1, places.mount.count() + 1, 2 * stride):
        plain = places.store(mirror=True)
        mirror = Mirror(plain, timeout_seconds=0.2)
        places.mount.hang(number)
        assert MirrorState.FAILED == update(tiny, mirror)
        hanging = {*mirror._hanging}  # several, where several were made at once
        assert MirrorState.FAILED == update(tiny, mirror)
        assert hanging == {*mirror._hanging}, "it still hangs, and nobody waits for it again"
        places.mount.sound()
        for thread in mirror._hanging:
            thread.join(10)
        assert update(tiny, Mirror(plain)) in (MirrorState.UP_TO_DATE, MirrorState.BROUGHT_FORWARD)
        assert read_head(tiny.store, COLLECTION).head.manifest == read_head(plain, COLLECTION).head.manifest
        assert whole(plain)


def update(tiny: Tiny, mirror: object) -> MirrorState:
    return update_mirror(tiny.store, mirror, COLLECTION, deadline=Deadline()).state  # type: ignore[arg-type]
