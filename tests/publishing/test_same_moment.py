"""Many versions in one moment: no name and no order is made of time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_published
from tests.support.tiny import Tiny, on_every_store
from tests.support.versions import COLLECTION

_PUBLICATIONS = 100


@on_every_store
def test_a_hundred_publications_in_one_moment_are_versions_in_order(tiny: Tiny) -> None:
    """C9: of two writers who take turns, on a clock that stands still: each version is the child of the one before."""
    tiny.initialise()
    writers = [tiny, replace(tiny, writer="other")]
    for number in range(1, _PUBLICATIONS + 1):
        writers[number % 2].publish(number, pack=b"pack %d" % number)

    head = read_published(tiny.store, COLLECTION).head
    history = [manifest for _, manifest in walk(tiny.store, head)]
    assert [*range(_PUBLICATIONS + 1, 0, -1)] == [manifest.version.number for manifest in history]
    assert _PUBLICATIONS + 1 == head.serial
    assert 1 == len({manifest.written_at for manifest in history})
    assert {"tiny": 51, "other": 50} == Counter(manifest.writer for manifest in history)
    # What each brought is there, in the order in which it was brought.
    packs = history[0].chain.packs
    assert [b"pack %d" % number for number in range(1, _PUBLICATIONS + 1)] == [
        manifest.inline for manifest in reversed(history[:-1])
    ]
    assert [pack.carrier for pack in packs] == [manifest.name for manifest in reversed(history[:-1])]
