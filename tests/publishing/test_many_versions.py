"""D4: what a store holds after a thousand versions, crashes among them, and a sweep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.retention import expire, pin
from chroma_lifecycle.publishing.sweep import reached, sweep
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny
from tests.support.watching import Crash, WatchedStore, crash_at

CYCLES, KEPT = 1_000, 20


def nothing(number: int, call: str) -> None:
    """Live on."""


def test_a_sweep_leaves_what_the_kept_versions_need_and_no_byte_more(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D4: a fifth of a thousand writers die at some call; orphans go after the grace, unknown files are told."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    chance = Random(4)
    tiny.initialise()
    pin(tiny.store, COLLECTION, "first", Version(1), writer="test")
    died = 0
    for number in range(CYCLES):
        before: Callable[[int, str], None] = crash_at(chance.randrange(1, 9)) if chance.random() < 0.2 else nothing
        watched: Any = WatchedStore(tiny.store, before=before)
        writer = Tiny(watched, tiny.folder, tiny.clock, files=tiny.files)
        try:
            if number % 40 == 39:
                writer.rebase()
            else:
                writer.publish(chance.randrange(9), pack=b"pack %d" % number)
        except Crash:
            died += 1
        if number % 100 == 99:
            with suppress(Crash):
                expire(watched, COLLECTION, keep=KEPT, writer="test")
    unknown = f"{COLLECTION}/somebody's notes.txt"
    tiny.store.write(unknown, b"not ours")
    expire(tiny.store, COLLECTION, keep=KEPT, writer="test")
    before_sweep = {row.name for row in tiny.store.list(f"{COLLECTION}/")}

    tiny.store.by += timedelta(days=2)  # type: ignore[attr-defined]
    swept = sweep(tiny.store, COLLECTION, delete=True, writer="test")

    head = read_head(tiny.store, COLLECTION).head
    rows = {row.name: row.size for row in tiny.store.list(f"{COLLECTION}/")}
    needed = reached(tiny.store, head)
    assert needed | {f"{COLLECTION}/HEAD", unknown} == rows.keys()
    assert [unknown] == [row.name for row in swept.judged.unknown]
    assert KEPT == len(list(walk(tiny.store, head)))
    assert Version(1) == head.pins["first"].version
    assert died > CYCLES // 10
    assert len(before_sweep) > 10 * len(rows)
    assert head.version.number > CYCLES // 2
