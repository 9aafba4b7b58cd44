"""The store model: compactors, sweeps, an operator and a mirror on stores in memory, under a random schedule.

The oracle knows the rules and none of the code (:mod:`tests.store_model.oracle`): nothing that HEAD
retains is ever missing, what was condemned never lives again, what was published stays in the
history, and a pin stays where it is; also in the store that a collection was moved or copied to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing import relocation, retention
from chroma_lifecycle.publishing.copying import Copied, copy_versions
from chroma_lifecycle.publishing.erasing import begin_anew, erase_older
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.recover import recover
from chroma_lifecycle.publishing.sweep import sweep, sweep_mirror
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.values import Version
from tests.store_model.oracle import HEAD, Kept, Ref, Violation, era_of, history, kept_in, needed_by
from tests.store_model.scheduler import Actor, SteppedStore
from tests.support.memory_store import FakeClock, MemoryStore
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny

HOUR = timedelta(hours=1)
_MOST_PLACES = 4


def _lineage(name: str) -> str | None:
    era = era_of(name)
    return era[0] if era else None


def _told(ref: ManifestRef) -> Ref:
    return Ref(ref.name, ref.digest)


@dataclass
class Place:
    """A store, and what the oracle knows of it.

    Attributes:
        condemned: Names that were deleted, or that a fence left without a version that needs them.
        published: Versions that somebody was told are published.
        pins: Those that somebody was told are set.
        moving_to: Where the collection is being moved.
        came_by: How it came here from another place, if it did.
        lineages: Those of the names that its first HEAD here needs.
    """

    store: MemoryStore
    condemned: set[str] = field(default_factory=set)
    published: set[Ref] = field(default_factory=set)
    pins: dict[str, Ref] = field(default_factory=dict)
    moving_to: Place | None = None
    came_by: tuple[str, Place] | None = None
    lineages: frozenset[str] = frozenset()
    seen: tuple[str, int] = ("", 0)
    is_begun: bool = True

    @property
    def head(self) -> Kept | None:
        return kept_in(self.store)

    def forget(self) -> None:
        """Somebody destroyed what was there: nothing of it is promised any more."""
        self.published.clear()
        self.pins.clear()


class StoreWorld:
    """One schedule; the same seed gives the same one."""

    def __init__(self, seed: int, folder: Path, weights: dict[str, int]) -> None:
        self.chance = Random(seed)
        self.clock = FakeClock()
        self.main = Place(MemoryStore(self.clock, "store"))
        self.places, self.mirror = [self.main], MemoryStore(self.clock, "mirror")
        self.folder, self.weights = folder, weights
        self.actors: list[Actor] = []
        self.backup: dict[str, Any] | None = None
        self.looked_at: object = None
        self.contents: dict[int, dict[str, Path]] = {}
        self.number = 0
        self.happened: Counter[str] = Counter()

    def run(self, steps: int) -> None:
        """Let *steps* things happen, and then everybody who is still under way come to an end."""
        Tiny(self.main.store, self.folder, self.clock, files=self.contents).initialise(0)
        for _ in range(steps):
            self._step()
            self._check()
        self.actors.sort(key=lambda actor: self.chance.random())
        while self.actors:
            self._resume(self.actors[-1])
            self._check()
        self._sweep_clean()
        self._check()

    def _step(self) -> None:
        kind = self.chance.choices([*self.weights], [*self.weights.values()])[0]
        if kind == "time":
            self.clock.pass_by(self.chance.choice([0.1, 2, 13, 30]) * HOUR)
        elif kind == "wipe":
            self._wipe()
        elif kind == "backup":
            self._restore_or_back_up()
        elif kind == "resume" or len(self.actors) > 5:
            if self.actors:
                self._resume(self.chance.choices(self.actors, [actor.speed for actor in self.actors])[0])
        else:
            work: Callable[[Actor, Place], None] = getattr(self, f"_{kind}")
            place = self._some_place()
            # One in four sleeps for most of the schedule.
            speed = self.chance.choice([0.02, 1, 1, 1])
            self.actors.append(Actor(kind, speed, lambda actor: work(actor, place)))

    def _some_place(self) -> Place:
        """Return the main place, or at times another one that is begun: a copy, or one that was left."""
        others = [place for place in self.places if place.is_begun and place is not self.main]
        return self.chance.choice(others) if others and self.chance.random() < 0.4 else self.main

    def _resume(self, actor: Actor) -> None:
        actor.dies = self.chance.random() < 0.005
        actor.resume()
        if actor.done:
            self.actors.remove(actor)
            self.happened[f"{actor.name} {actor.ended}"] += 1

    # What actors do.

    def _at(self, actor: Actor, place: Place) -> Any:
        return SteppedStore(place.store, actor, self.chance, place.condemned.update, self.happened)

    def _tiny(self, actor: Actor, place: Place) -> Tiny:
        return Tiny(self._at(actor, place), self.folder, self.clock, files=self.contents)

    def _note(self, place: Place, published: Published) -> None:
        place.published.add(_told(published.head.manifest))

    def _write(self, actor: Actor, place: Place) -> None:
        pack = self.chance.choice([None, None, b"pack %d" % self.chance.randrange(3)])
        self._note(place, self._tiny(actor, place).publish(self.chance.randrange(6), pack=pack))

    def _rebase(self, actor: Actor, place: Place) -> None:
        self._note(place, self._tiny(actor, place).rebase())

    def _erase(self, actor: Actor, place: Place) -> None:
        number = self.chance.randrange(6)
        self._note(place, self._tiny(actor, place).publish(number, whole=True, amend=begin_anew))
        list(erase_older(self._at(actor, place), COLLECTION))

    def _sweep(self, actor: Actor, place: Place) -> None:
        swept = sweep(self._at(actor, place), COLLECTION, grace=24 * HOUR, delete=True, writer="sweep")
        self.happened["something swept"] += bool(swept.judged.condemned)

    def _expire(self, actor: Actor, place: Place) -> None:
        keep = self.chance.randrange(1, 4)
        retention.expire(self._at(actor, place), COLLECTION, keep=keep, writer="operator")

    def _undo(self, actor: Actor, place: Place) -> None:
        retention.undo_expire(self._at(actor, place), COLLECTION, writer="operator")

    def _pin(self, actor: Actor, place: Place) -> None:
        self.number += 1
        name, back = f"p{self.number}", self.chance.randrange(4)
        if place.head:
            version = Version(max(1, place.head.version - back))
            head = retention.pin(self._at(actor, place), COLLECTION, name, version, writer="operator").after
            place.pins[name] = _told(head.pins[name])

    def _unpin(self, actor: Actor, place: Place) -> None:
        if place.pins:
            name = self.chance.choice(sorted(place.pins))
            del place.pins[name]
            retention.unpin(self._at(actor, place), COLLECTION, name, writer="operator")

    def _recover(self, actor: Actor, place: Place) -> None:
        """Somebody deletes HEAD, and recovers it."""
        place.store.delete([HEAD])
        place.forget()
        recover(self._at(actor, place), None, COLLECTION, writer="operator")

    def _begin(self, actor: Actor, place: Place) -> None:
        self._tiny(actor, place).initialise(self.chance.randrange(6))

    def _move(self, actor: Actor, place: Place) -> None:
        """Move the collection, or go on with a move that somebody else has begun."""
        if place.moving_to is None:
            place.moving_to = self._new_place("move", place)
        if place.moving_to is not None:
            target = place.moving_to
            try:
                there = self._at(actor, target)
                relocation.move(self._at(actor, place), there, COLLECTION, deadline=Deadline(), writer="operator")
            except BadInput:
                if not target.is_begun:
                    place.moving_to = None  # the source was wiped meanwhile: what lies there is of another lineage
                raise

    def _copy_away(self, actor: Actor, place: Place) -> None:
        """Copy the collection to another store, where it lives on its own."""
        if target := self._new_place("copy", place):
            there = self._at(actor, target)
            relocation.copy(self._at(actor, place), there, COLLECTION, deadline=Deadline(), writer="operator")

    def _new_place(self, way: str, source: Place) -> Place | None:
        if len(self.places) == _MOST_PLACES:
            return None
        store = MemoryStore(self.clock, f"store {len(self.places) + 1}")
        self.places.append(Place(store, came_by=(way, source), is_begun=False))
        return self.places[-1]

    def _copy(self, actor: Actor, place: Place) -> None:
        target: Any = SteppedStore(self.mirror, actor, self.chance, lambda names: None, self.happened)
        copied = copy_versions(self._at(actor, place), target, COLLECTION, deadline=Deadline())
        self.happened["mirror moved"] += isinstance(copied, Copied) and copied.swapped

    def _sweep_mirror(self, actor: Actor, place: Place) -> None:
        target: Any = SteppedStore(self.mirror, actor, self.chance, lambda names: None, self.happened)
        sweep_mirror(self._at(actor, place), target, COLLECTION, delete=True)

    def _wipe(self) -> None:
        """Somebody empties the bucket, and another `init` begins.

        Not while somebody is making HEAD where there is none: that nothing can guard.
        """
        place = self.main
        if any(actor.name in {"begin", "recover"} for actor in self.actors):
            return
        place.store.objects.clear()
        place.store.past.clear()
        place.lineages = frozenset()
        place.forget()
        self.actors.append(Actor("begin", 1, lambda actor: self._begin(actor, place)))

    def _restore_or_back_up(self) -> None:
        """The mirror is restored from a backup, while nobody copies to it."""
        if self.backup is None:
            self.backup = deepcopy(self.mirror.objects)
        elif not any(actor.name in {"copy", "sweep_mirror"} for actor in self.actors):
            self.mirror.objects, self.backup = self.backup, None

    # What must hold.

    def _check(self) -> None:
        # Only a swap or a deletion can break a promise.
        stores = [*(place.store for place in self.places), self.mirror]
        now = [(s.objects[HEAD].token if HEAD in s.objects else None, s.deletions) for s in stores]
        known = [(len(place.pins), len(place.published), len(place.condemned)) for place in self.places]
        if (now, known) == self.looked_at:
            return
        self.looked_at = now, known
        for place in self.places:
            self._check_place(place)
        if (head := kept_in(self.mirror)) is not None:
            needed_by(self.mirror, head)

    def _check_place(self, place: Place) -> None:
        if (head := place.head) is None:
            return
        if not place.is_begun:
            self._arrive(place, head)
        needed = needed_by(place.store, head)
        if again := needed & place.condemned:
            raise Violation(f"condemned, and named again in the {place.store.address}: {sorted(again)}")
        if head.lineage == place.seen[0] and head.sweeps > place.seen[1]:
            place.condemned |= {name for name in self._of_older_eras(place.store, head) if name not in needed}
        place.seen = (head.lineage, head.sweeps)
        self._check_history(place, head)

    def _arrive(self, place: Place, head: Kept) -> None:
        """Take note that a collection has come to another store: with all that was promised of it where it was."""
        assert place.came_by is not None
        way, source = place.came_by
        self.happened[f"arrived by {way}"] += 1
        place.is_begun = True
        place.lineages = frozenset(filter(None, map(_lineage, needed_by(place.store, head))))
        if way == "move":
            left = source.head
            if left is not None and left.lineage == head.lineage and left.moved_to != place.store.address:
                raise Violation(f"the {place.store.address} has the collection, and the old store does not say so")
            place.published, place.pins = set(source.published), dict(source.pins)
            place.condemned |= source.condemned
            if source is self.main:
                self.main = place
        else:
            place.published, place.pins = set(history(place.store, head)), dict(head.pins)

    def _of_older_eras(self, store: MemoryStore, head: Kept) -> list[str]:
        eras = {name: era_of(name) for name in store.objects}
        return [
            name
            for name, era in eras.items()
            if era and (era[0] in head.came_from or (era[0] == head.lineage and era[1] < head.sweeps))
        ]

    def _check_history(self, place: Place, head: Kept) -> None:
        chain = set(history(place.store, head))
        lost = {ref for ref in place.published if ref.version >= head.floor} - chain
        if lost:
            raise Violation(f"published, and not in the history: {sorted(ref.name for ref in lost)}")
        for name, ref in place.pins.items():
            if head.pins.get(name) != ref:
                raise Violation(f"the pin {name} is gone from the {place.store.address}")

    def _sweep_clean(self) -> None:
        """A grace period after all that happened, a sweep leaves nothing of this collection that no version needs."""
        self.clock.pass_by(25 * HOUR)
        for place in self.places:
            if (head := place.head) is None or head.moved_to is not None:
                continue
            sweep(place.store, COLLECTION, grace=24 * HOUR, delete=True, writer="sweep")
            head = place.head
            assert head is not None
            needed, own = needed_by(place.store, head), {head.lineage, *place.lineages}
            if left := {name for name in place.store.objects if _lineage(name) in own} - needed:
                raise Violation(f"needed by nobody, and left in the {place.store.address}: {sorted(left)}")

    def abandon(self) -> None:
        """End the threads that are under way."""
        for actor in self.actors:
            actor.dies = True
            while not actor.done:
                with suppress(BaseException):
                    actor.resume()
