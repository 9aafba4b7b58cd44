"""The rules of the store, as random schedules against the real code; and each rule taken out, which must show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.publishing import copying, erasing, publication, relocation, swap, sweep, upload
from chroma_lifecycle.publishing import publish as publishing
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.publishing.remains import Remains
from chroma_lifecycle.publishing.swap import Landed, Lost, amend_head
from chroma_lifecycle.snapshot.chain import Chain
from chroma_lifecycle.values import Era, Version
from tests.store_model.oracle import Violation
from tests.store_model.world import StoreWorld
from tests.support.snapshots import COLLECTION
from tests.support.tiny import tiny_publishing

EVERYTHING = {"resume": 60, "time": 6, "write": 10, "sweep": 4, "expire": 4, "undo": 1, "pin": 2, "unpin": 1,
              "copy": 3, "sweep_mirror": 2, "backup": 1}  # fmt: skip
CALAMITY = EVERYTHING | {"recover": 1, "wipe": 1}
SWEEPING = {"resume": 60, "time": 8, "write": 12, "sweep": 7, "expire": 6}
PINNING = SWEEPING | {"pin": 6, "expire": 8}
RECOVERING = {"resume": 60, "time": 14, "write": 12, "sweep": 14, "expire": 10, "recover": 5}
MOVING = EVERYTHING | {"rebase": 4, "move": 2, "copy_away": 2, "erase": 1}
BASES = SWEEPING | {"rebase": 8, "pin": 1}
MIRRORING = {"resume": 60, "time": 4, "write": 8, "sweep": 5, "expire": 5, "copy": 8, "sweep_mirror": 8}
MIXES = [EVERYTHING, CALAMITY, PINNING, MIRRORING, BASES, MOVING, MOVING | {"recover": 1, "wipe": 1}]
CAUSES = {"wipe": "begin done", "copy": "mirror moved", "move": "arrived by move", "copy_away": "arrived by copy"}
"""What shows that an act took effect, where that it ended does not."""
QUICK, LONG, STEPS = 20, 2_000, 160


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One thing at a time, packs in objects of their own, and no waiting for a swap."""

    def one_by_one(work: Callable[[Any], Any], items: Iterable[Any], *, workers: int = 1) -> list[Any]:
        return [work(item) for item in items]

    for module in (upload, copying):
        monkeypatch.setattr(module, "in_parallel", one_by_one)
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    with tiny_publishing():
        yield


def play(seed: int, folder: Path, weights: dict[str, int]) -> Counter[str]:
    """Play one schedule; return what happened in it."""
    world = StoreWorld(seed, folder, weights)
    try:
        world.run(STEPS)
        return world.happened
    finally:
        world.abandon()


@pytest.mark.parametrize("weights", MIXES)
def test_nothing_is_lost_on_any_schedule(tmp_path: Path, weights: dict[str, int]) -> None:
    """L11, L12, D4: writers that sleep past the grace, racing sweeps, lost answers, wiped and recovered stores."""
    happened = sum((play(seed, tmp_path, weights) for seed in range(QUICK)), Counter[str]())
    wanted = Counter({f"{act} done": 1 for act in weights.keys() - {"resume", "time", "wipe", "backup"}})
    wanted |= Counter({"write done": 20, "sweep done": 8, "something swept": 3, "swap lost": 20})
    wanted |= Counter({CAUSES[act]: 1 for act in weights.keys() & CAUSES.keys()})
    assert Counter() == wanted - happened, sorted(happened.items())
    assert sum(number for what, number in happened.items() if what.endswith(" killed")) >= 3
    assert sum(happened[what] for what in ("nothing sent", "answer lost", "sent again")) >= 8


@pytest.mark.soak
def test_nothing_is_lost_on_many_schedules(tmp_path: Path) -> None:
    """The same for many more: SCHEDULES is how many of each mix."""
    for seed in range(QUICK, QUICK + int(os.environ.get("SCHEDULES", LONG))):
        for weights in MIXES:
            play(seed, tmp_path, weights)


# Each rule taken out.


def no_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sweep, "swap", lambda store, new, expected, **given: Landed(expected))


def a_fence_without_an_era(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sweep, "fence", lambda head: head)


def a_fence_without_a_floor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sweep, "fence", lambda head: replace(head, sweeps=head.sweeps + 1, floor=Version(1)))


def a_lost_fence_deletes_all_the_same(patch: pytest.MonkeyPatch) -> None:
    def stubborn(store: Any, new: Any, expected: Any, **given: Any) -> Any:
        outcome = swap.swap(store, new, expected, **given)
        if isinstance(outcome, Lost):
            again = amend_head(store, COLLECTION, lambda head: replace(head, sweeps=head.sweeps + 1), writer="sweep")
            return Landed(again)
        return outcome

    patch.setattr(sweep, "swap", stubborn)


def names_without_an_era(patch: pytest.MonkeyPatch) -> None:
    original = publication.BaseUpload

    def first_era(store: Any, names: Any, era: Era, *rest: Any, **more: Any) -> Any:
        return original(store, names, Era(era.lineage, 0), *rest, **more)

    patch.setattr(publication, "BaseUpload", first_era)


def a_retry_names_what_it_uploaded_before(patch: pytest.MonkeyPatch) -> None:
    original, known = Publication.store_objects, {}  # type: ignore[var-annotated]

    def once(self: Publication, place: Any, image: Any, pack: Any, parent: Any) -> Any:
        key = (id(self), id(image))
        if key not in known:
            known[key] = (original(self, place, image, pack, parent), self, image)
        return known[key][0]

    patch.setattr(Publication, "store_objects", once)


def pins_are_not_carried_over(patch: pytest.MonkeyPatch) -> None:
    original = Publication._next_head
    patch.setattr(Publication, "_next_head", lambda self, head, ref: replace(original(self, head, ref), pins={}))


def a_lineage_that_is_not_random(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publishing, "Era", lambda lineage, sweeps: Era("00000000000000aa", sweeps))


def a_recovery_in_the_first_era(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Remains, "_sweeps", lambda self, lineage: iter([-1]))


def a_copy_moves_head_first(patch: pytest.MonkeyPatch) -> None:
    original = copying._Copy.bring

    def later(self: Any, wanted: Any) -> Any:
        head = copying.read_head(self.source, COLLECTION).head
        before = copying.find_head(self.target, COLLECTION)
        if before is None or before.head.serial < head.serial:
            copying.swap(self.target, replace(head, floor=wanted.floor), before, parent_of=None)
        return original(self, wanted)

    patch.setattr(copying._Copy, "bring", later)


def the_mirror_is_listed_last(patch: pytest.MonkeyPatch) -> None:
    original = sweep.sweep_mirror

    def frozen(store: Any, mirror: Any, collection: str, **given: Any) -> Any:
        rows = list(store.list(f"{collection}/"))

        class Frozen:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            def list(self, prefix: str) -> Any:
                return iter(rows)

        return original(Frozen(), mirror, collection, **given)  # type: ignore[arg-type]

    patch.setattr("tests.store_model.world.sweep_mirror", frozen)


def a_new_base_of_an_older_era(patch: pytest.MonkeyPatch) -> None:
    original, known = Publication.store_base, {}  # type: ignore[var-annotated]

    def once(self: Publication, *given: Any) -> Any:
        if id(self) not in known:
            known[id(self)] = (original(self, *given), self)
        return known[id(self)][0]

    patch.setattr(Publication, "store_base", once)


def _arriving(
    patch: pytest.MonkeyPatch, change: Callable[[Callable[[Head], Head], Any], Callable[[Head], Head]]
) -> None:
    """Let a collection arrive otherwise in another store; *change* is given what makes its HEAD, and the store."""
    original = relocation.copy_versions

    def copy(source: Any, target: Any, *given: Any, arrive: Any, **named: Any) -> Any:
        return original(source, target, *given, arrive=change(arrive, target), **named)

    patch.setattr(relocation, "copy_versions", copy)


def a_move_that_does_not_look_again(patch: pytest.MonkeyPatch) -> None:
    _arriving(patch, lambda arrive, target: lambda head: arrive(replace(head, moved_to=target.address)))


def a_move_that_refuses_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(relocation, "amend_head", lambda *given, **named: None)
    a_move_that_does_not_look_again(patch)


def a_move_without_the_pins(patch: pytest.MonkeyPatch) -> None:
    _arriving(patch, lambda arrive, target: lambda head: replace(arrive(head), pins={}))


def a_copy_that_forgets_where_it_came_from(patch: pytest.MonkeyPatch) -> None:
    _arriving(patch, lambda arrive, target: lambda head: replace(arrive(head), came_from=()))


def an_erasure_in_the_same_era(patch: pytest.MonkeyPatch) -> None:
    original = erasing.begin_anew
    patch.setattr("tests.store_model.world.begin_anew", lambda head: replace(original(head), sweeps=head.sweeps))
    patch.setattr(erasing._Judge, "is_condemned", lambda self, row: not self._lives(row))


def a_sweep_that_knows_no_pins(patch: pytest.MonkeyPatch) -> None:
    original = sweep.reached
    patch.setattr(sweep, "reached", lambda store, head: original(store, replace(head, pins={}, unpinned=())))


def a_version_that_does_not_reach_its_packs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Chain, "names", lambda self: frozenset(part.object for part in self.base.parts))


TAKEN_OUT: list[tuple[Callable[[pytest.MonkeyPatch], None], dict[str, int]]] = [
    (no_fence, SWEEPING),
    (a_fence_without_an_era, SWEEPING),
    (a_fence_without_a_floor, SWEEPING),
    (a_lost_fence_deletes_all_the_same, SWEEPING),
    (names_without_an_era, SWEEPING),
    (a_retry_names_what_it_uploaded_before, SWEEPING),
    (pins_are_not_carried_over, PINNING),
    (a_lineage_that_is_not_random, SWEEPING | {"wipe": 3}),
    (a_recovery_in_the_first_era, RECOVERING),
    (a_copy_moves_head_first, MIRRORING),
    (the_mirror_is_listed_last, MIRRORING),
    (a_new_base_of_an_older_era, BASES),
    (a_move_that_does_not_look_again, MOVING | {"move": 20, "wipe": 20}),
    (a_move_that_refuses_nobody, MOVING),
    (a_move_without_the_pins, MOVING),
    (a_copy_that_forgets_where_it_came_from, MOVING | {"copy_away": 12, "sweep": 8}),
    (an_erasure_in_the_same_era, MOVING | {"erase": 8}),
    (a_sweep_that_knows_no_pins, PINNING),
    (a_version_that_does_not_reach_its_packs, SWEEPING),
]


@pytest.mark.parametrize(("take_out", "weights"), TAKEN_OUT, ids=lambda each: getattr(each, "__name__", ""))
def test_each_rule_is_needed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take_out: Callable[[pytest.MonkeyPatch], None],
    weights: dict[str, int],
) -> None:
    """The model finds what breaks without it, on one of a bounded number of schedules."""
    take_out(monkeypatch)

    with pytest.raises(Violation):
        for seed in range(300):
            play(seed, tmp_path, weights)
