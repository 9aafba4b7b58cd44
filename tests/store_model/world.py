"""The store model: compactors, sweeps, an operator and a mirror on one store, under a random schedule.

The oracle knows the rules and none of the code: nothing that HEAD retains is ever missing, what was
condemned never lives again, what was published stays in the history, and a pin stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing import retention
from chroma_lifecycle.publishing.copying import copy_versions
from chroma_lifecycle.publishing.head import Head, decode_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.recover import recover
from chroma_lifecycle.publishing.sweep import reached, sweep, sweep_mirror
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version
from tests.store_model.scheduler import Actor, SteppedStore
from tests.support.memory_store import FakeClock, MemoryStore
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny

NAMES = Names(COLLECTION)
HOUR = timedelta(hours=1)


class Violation(AssertionError):
    """A promise of the store is broken."""


class StoreWorld:
    """One schedule; the same seed gives the same one."""

    def __init__(self, seed: int, folder: Path, weights: dict[str, int]) -> None:
        self.chance = Random(seed)
        self.clock = FakeClock()
        self.store, self.mirror = MemoryStore(self.clock, "store"), MemoryStore(self.clock, "mirror")
        self.folder, self.weights = folder, weights
        self.actors: list[Actor] = []
        self.condemned: set[str] = set()
        self.published: set[ManifestRef] = set()
        self.pins: dict[str, ManifestRef] = {}
        self.backup: dict[str, Any] | None = None
        self.seen: tuple[str, int, int] = ("", 0, 0)
        self.looked_at: object = None
        self.contents: dict[int, dict[str, Path]] = {}
        self.number = 0

    def run(self, steps: int) -> None:
        """Let *steps* things happen, and then everybody who is still under way come to an end."""
        Tiny(self.store, self.folder, self.clock, files=self.contents).initialise(0)
        for _ in range(steps):
            self._step()
            self._check()
        self.actors.sort(key=lambda actor: self.chance.random())
        while self.actors:
            self._resume(self.actors[-1])
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
            work: Callable[[Actor], None] = getattr(self, f"_{kind}")
            # One in four sleeps for most of the schedule.
            self.actors.append(Actor(kind, self.chance.choice([0.02, 1, 1, 1]), work))

    def _resume(self, actor: Actor) -> None:
        actor.dies = self.chance.random() < 0.005
        actor.resume()
        if actor.done:
            self.actors.remove(actor)

    # What actors do.

    def _at(self, actor: Actor) -> Any:
        return SteppedStore(self.store, actor, self.chance, self.condemned.update)

    def _write(self, actor: Actor) -> None:
        tiny = Tiny(self._at(actor), self.folder, self.clock, files=self.contents)
        pack = self.chance.choice([None, None, b"pack %d" % self.chance.randrange(3)])
        number = self.chance.randrange(6)
        published = tiny.publish(number, pack=pack)
        self.published.add(next(walk(self.store, published.head))[0])

    def _sweep(self, actor: Actor) -> None:
        sweep(self._at(actor), COLLECTION, grace=24 * HOUR, delete=True, writer="sweep")

    def _expire(self, actor: Actor) -> None:
        retention.expire(self._at(actor), COLLECTION, keep=self.chance.randrange(1, 4), writer="operator")

    def _undo(self, actor: Actor) -> None:
        retention.undo_expire(self._at(actor), COLLECTION, writer="operator")

    def _pin(self, actor: Actor) -> None:
        self.number += 1
        name, back = f"p{self.number}", self.chance.randrange(4)
        stored = self.store.read_head(COLLECTION)
        if stored:
            version = Version(max(1, decode_head(stored.body, COLLECTION).version.number - back))
            head = retention.pin(self._at(actor), COLLECTION, name, version, writer="operator").after
            self.pins[name] = head.pins[name]

    def _unpin(self, actor: Actor) -> None:
        if self.pins:
            name = self.chance.choice(sorted(self.pins))
            del self.pins[name]
            retention.unpin(self._at(actor), COLLECTION, name, writer="operator")

    def _recover(self, actor: Actor) -> None:
        """Somebody deletes HEAD, and recovers it."""
        self.store.delete([NAMES.head])
        self.published.clear()
        self.pins.clear()
        recover(self._at(actor), None, COLLECTION, writer="operator")

    def _begin(self, actor: Actor) -> None:
        Tiny(self._at(actor), self.folder, self.clock, files=self.contents).initialise(self.chance.randrange(6))

    def _copy(self, actor: Actor) -> None:
        target: Any = SteppedStore(self.mirror, actor, self.chance, lambda names: None)
        copy_versions(self._at(actor), target, COLLECTION, deadline=Deadline())

    def _sweep_mirror(self, actor: Actor) -> None:
        target: Any = SteppedStore(self.mirror, actor, self.chance, lambda names: None)
        sweep_mirror(self._at(actor), target, COLLECTION, delete=True)

    def _wipe(self) -> None:
        """Somebody empties the bucket, and another `init` begins."""
        self.store.objects.clear()
        self.store.past.clear()
        self.published.clear()
        self.pins.clear()
        self.actors.append(Actor("begin", 1, self._begin))

    def _restore_or_back_up(self) -> None:
        """The mirror is restored from a backup, while nobody copies to it."""
        if self.backup is None:
            self.backup = deepcopy(self.mirror.objects)
        elif not any(actor.name in {"copy", "sweep_mirror"} for actor in self.actors):
            self.mirror.objects, self.backup = self.backup, None

    # What must hold.

    def _check(self) -> None:
        # Only a swap or a deletion can break a promise.
        now = [(s.objects[NAMES.head].token if NAMES.head in s.objects else None, s.deletions, len(self.pins))
               for s in (self.store, self.mirror)] + [len(self.published), len(self.condemned)]  # fmt: skip
        if now == self.looked_at:
            return
        self.looked_at = now
        head = self._head(self.store)
        if head is not None:
            needed = self._needed(self.store, head)
            if again := needed & self.condemned:
                raise Violation(f"condemned, and named again: {sorted(again)}")
            if head.lineage == self.seen[0] and head.sweeps > self.seen[1]:
                self.condemned |= {name for name in self._of_older_eras(head) if name not in needed}
            self.seen = (head.lineage, head.sweeps, head.serial)
            self._check_history(head)
        if mirrored := self._head(self.mirror):
            self._needed(self.mirror, mirrored)

    def _head(self, store: MemoryStore) -> Head | None:
        stored = store.read_head(COLLECTION)
        return None if stored is None else decode_head(stored.body, COLLECTION)

    def _needed(self, store: MemoryStore, head: Head) -> frozenset[str]:
        try:
            needed = reached(store, head)
        except LifecycleError as problem:
            raise Violation(f"a retained manifest is gone from the {store.address}: {problem.message}") from problem
        if missing := needed - store.present(needed):
            raise Violation(f"needed, and missing from the {store.address}: {sorted(missing)}")
        return needed

    def _of_older_eras(self, head: Head) -> list[str]:
        parts = {name: NAMES.parse_object_name(name) or NAMES.parse_manifest_name(name) for name in self.store.objects}
        own = {name: each.era for name, each in parts.items() if each and each.era.lineage == head.lineage}
        return [name for name, era in own.items() if era.sweeps < head.sweeps]

    def _check_history(self, head: Head) -> None:
        chain = {ref for ref, _ in walk(self.store, head)}
        lost = {ref for ref in self.published if ref.version >= head.floor} - chain
        if lost:
            raise Violation(f"published, and not in the history: {sorted(ref.name for ref in lost)}")
        for name, ref in self.pins.items():
            if head.pins.get(name) != ref:
                raise Violation(f"the pin {name} is gone")

    def abandon(self) -> None:
        """End the threads that are under way."""
        for actor in self.actors:
            actor.dies = True
            while not actor.done:
                with suppress(BaseException):
                    actor.resume()
