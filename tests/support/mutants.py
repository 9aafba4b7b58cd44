"""Defects to be planted: each is one that a reader of the code might overlook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chroma_lifecycle import compactor, cycle, run_status
from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.bulk import bring, brought, resharding
from chroma_lifecycle.chroma import apply
from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import LifecycleError, StoreUnavailable
from chroma_lifecycle.intake.changes import WithdrawFields
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.planning import join, portions, reading, remapping
from chroma_lifecycle.planning.join import Joined, Outcome
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.planning.ledger_mappings import LedgerMappings
from chroma_lifecycle.publishing import publish, sweep
from chroma_lifecycle.publishing.condemned import judge
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.publishing.swap import _Swap
from chroma_lifecycle.repair import reapplying, rollback
from chroma_lifecycle.snapshot import workspace
from chroma_lifecycle.snapshot.manifest_object import manifest_object
from tests.support.planting import Plant

Patch = pytest.MonkeyPatch


def a_lost_swap_is_taken_for_landed(patch: Patch) -> None:
    """The loser answers for what nobody published."""
    patch.setattr(publish, "require_landed", lambda outcome: outcome.newest)


def a_refusal_is_taken_for_our_own_write(patch: Patch) -> None:
    """A 412 is swallowed: "it must have been our retry"."""
    patch.setattr(_Swap, "_is_ours", lambda self, head: True)


def the_swap_takes_whatever_head_there_is(patch: Patch) -> None:
    """Read, then write: what was published between restore and swap is overwritten."""
    move = Publication.move_head

    def move_anyway(self: Publication, manifest: Any, parent: Any) -> Any:
        newest = read_head(self.store, self.collection)
        return move(self, manifest, Published(newest, parent.manifest))

    patch.setattr(Publication, "move_head", move_anyway)


def an_older_image_replaces_a_newer_one(patch: Patch) -> None:
    """The check for duplicates and stragglers of fields is dropped."""
    original = join.join_fields
    patch.setattr(join, "join_fields", lambda known, change, *withheld: original(None, change, *withheld))


def an_older_removal_replaces_a_newer_one(patch: Patch) -> None:
    """The same for tombstones."""
    original = join.join_tombstone
    patch.setattr(join, "join_tombstone", lambda known, change, *withheld: original(None, change, *withheld))


def a_failed_collection_is_answered_for(patch: Patch) -> None:
    """Early acknowledgement: the messages of a cycle that failed are not named."""
    patch.setattr(compactor._Ends, "lost", lambda self, *lost: None)


def what_one_collection_applied_hides_what_the_other_failed(patch: Patch) -> None:
    """A message is answered for when one of its two collections has it."""
    patch.setattr(compactor, "_worse", lambda one, other: Outcome.APPLIED)


def a_bad_message_is_called_a_duplicate(patch: Patch) -> None:
    """A refused change is skipped and counted as done."""
    original = join._Batch._join

    def lenient(self: Any, change: Any) -> bool:
        try:
            return original(self, change)
        except LifecycleError:
            return False

    patch.setattr(join._Batch, "_join", lenient)


def a_cap_drops_the_tail(patch: Patch) -> None:
    """No more than three changes at once."""
    original = cycle.join
    patch.setattr(cycle, "join", lambda ledger, changes, opened: original(ledger, changes[:3], opened))


def a_batch_that_moves_nothing_is_published(patch: Patch) -> None:
    """A version for every invocation."""
    patch.setattr(Joined, "moved", lambda self: True)


def any_event_of_a_pending_item_begins_its_run(patch: Patch) -> None:
    """Our own error write revives what was removed since."""
    patch.setattr(MergeTarget, "begun", lambda self, new, old: self.pending(new))


def a_run_is_completed_before_it_is_published(patch: Patch) -> None:
    """The table is told first."""
    told: dict[int, Any] = {}
    original, seal = cycle.join, Cycle._seal

    def joining(ledger: Any, changes: Any, opened: Any) -> Joined:
        told[0] = (Portion(changes), original(ledger, changes, opened))
        joined: Joined = told[0][1]
        return joined

    def sealing(self: Cycle, *args: Any) -> Any:
        self._tell_runs(*told[0])
        return seal(self, *args)

    patch.setattr(cycle, "join", joining)
    patch.setattr(Cycle, "_seal", sealing)


def the_table_is_told_nothing(patch: Patch) -> None:
    """Runs that have merged stay pending."""
    patch.setattr(cycle, "write_statuses", lambda *args: None)


def a_status_that_could_not_be_written_is_forgotten(patch: Patch) -> None:
    """The run stays pending for ever."""
    original = run_status._write

    def careless(*args: Any) -> None:
        try:
            original(*args)
        except StoreUnavailable:
            return

    patch.setattr(run_status, "_write", careless)


def the_removal_of_an_unknown_item_leaves_no_fact(patch: Patch) -> None:
    """No withdrawn fact, so that the item's older image is new when it comes."""
    original = join.join_fields

    def forgetful(known: Any, change: Any, *withheld: Any) -> Any:
        forgets = known is None and isinstance(change, WithdrawFields)
        return None if forgets else original(known, change, *withheld)

    patch.setattr(join, "join_fields", forgetful)


def facts_without_records_are_not_kept(patch: Patch) -> None:
    """A label that comes before its vector is not parked."""
    original = Ledger.store

    def store(self: Ledger, changes: LedgerChanges, **options: Any) -> None:
        kept = tuple(fact for fact in changes.fields if self.records_below(fact.reach))
        original(self, replace(changes, fields=kept), **options)

    patch.setattr(Ledger, "store", store)


def a_deltas_metadata_beats_facts(patch: Patch) -> None:
    """Stale metadata undoes an edit."""
    patch.setattr(apply, "_metadata", lambda own, owned: {**owned, **own})


def what_a_new_delta_lacks_stays(patch: Patch) -> None:
    """Chroma's upsert merges; the keys of the old record are not taken away."""
    patch.setattr(apply._Work, "_take_away", lambda self, write, rows, metadatas: None)


def head_is_moved_before_its_manifest_is_stored(patch: Patch) -> None:
    """A crash between the two leaves a HEAD that names nothing."""
    move, late = Publication.move_head, dict[str, bytes]()

    class Later:
        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        def write(self, name: str, data: bytes) -> None:
            if "/manifests/" in name:
                late[name] = data
            else:
                self._store.write(name, data)

    store_manifest = Publication.store_manifest

    def storing(self: Publication, *args: Any) -> Any:
        return store_manifest(replace(self, store=Later(self.store)), *args)

    def moving(self: Publication, manifest: Any, parent: Any) -> Any:
        outcome = move(self, manifest, parent)
        self.store.write(manifest.name, manifest_object(manifest))
        return outcome

    patch.setattr(Publication, "store_manifest", storing)
    patch.setattr(Publication, "move_head", moving)


def a_rollback_withholds_nothing(patch: Patch) -> None:
    """Duplicates of what was undone bring it back piece by piece."""
    patch.setattr(rollback, "left_behind", lambda old, now: Withheld({}, {}, {}))


def what_is_withheld_is_no_barrier_to_removals(patch: Patch) -> None:
    """A removal that was undone is done again by its duplicate."""
    patch.setattr(
        join._Batch, "_tombstone", _without_withheld(join._Batch._tombstone, lambda held: replace(held, tombstones={}))
    )


def what_is_withheld_is_no_barrier_to_runs(patch: Patch) -> None:
    """The same for runs."""
    patch.setattr(join._Batch, "_run", _without_withheld(join._Batch._run, lambda held: replace(held, runs={})))


def _without_withheld(original: Any, less: Callable[[Withheld], Withheld]) -> Callable[[Any, Any], Any]:
    def joining(self: Any, change: Any) -> Any:
        held, self._withheld = self._withheld, less(self._withheld)
        try:
            return original(self, change)
        finally:
            self._withheld = held

    return joining


def a_reapply_forgets_the_runs(patch: Patch) -> None:
    """Fields and removals count again, and merged deltas do not."""
    original = reapplying.withheld.reapply

    def careless(*args: Any) -> Joined:
        joined = original(*args)
        joined.runs.clear()
        joined.merged.clear()
        return joined

    patch.setattr(reapplying.withheld, "reapply", careless)


def a_sweep_spares_what_nobody_reaches(patch: Patch) -> None:
    """Stored bytes grow for ever."""
    patch.setattr(sweep, "judge", lambda *args, **named: replace(judge(*args, **named), condemned=()))


def a_resync_believes_what_is_known(patch: Patch) -> None:
    """An item that differs from what the table says stays as it was."""
    original = reading._Comparing._field

    def believing(self: Any, key: Any, change: Any, as_of: int) -> None:
        if key not in self._known:
            original(self, key, change, as_of)

    patch.setattr(reading._Comparing, "_field", believing)


def what_a_dead_process_left_stays(patch: Patch) -> None:
    """Working directories pile up on the disk of a container."""
    patch.setattr(workspace, "_clear", lambda root: None)


def what_is_older_than_the_reading_counts(patch: Patch) -> None:
    """Of an item that the table no longer holds an old message brings values, under a mapping that came later."""
    patch.setattr(LedgerMappings, "read_at", lambda self: 0)


def a_key_that_no_rule_sets_any_more_stays(patch: Patch) -> None:
    """A changed mapping leaves what the old one set."""
    patch.setattr(remapping._Remapper, "_of_deltas", lambda self, freed: iter(()))


def a_function_goes_on_under_the_old_mapping(patch: Patch) -> None:
    """Its facts lack what the new mapping reads."""
    patch.setattr(Cycle, "_check_mapping", lambda self, published: None)


def a_changed_mapping_keeps_the_facts_of_the_old_one(patch: Patch) -> None:
    """What the new mapping takes from nobody is still known."""
    original = Ledger.store

    def store(self: Ledger, changes: LedgerChanges, **options: Any) -> None:
        original(self, replace(changes, anew=False), **options)

    patch.setattr(Ledger, "store", store)


def a_reshard_forgets_what_came_meanwhile(patch: Patch) -> None:
    """What is there is taken for brought."""

    def found(*args: Any) -> Any:
        published, _ = brought.find_brought(*args)
        return published, published is not None

    patch.setattr(bring, "find_brought", found)
    patch.setattr(resharding, "require_brought", lambda *args: None)


def a_closed_shard_takes_changes(patch: Patch) -> None:
    """What is published behind the reshard's back is in no new shard."""
    patch.setattr(Head, "require_open", lambda self: None)


def a_reshard_leaves_behind_what_is_withheld(patch: Patch) -> None:
    """Duplicates of what was undone bring it back in the new shards."""
    copy = portions._copy

    def careless(connection: Any, table: str, condition: str) -> None:
        if not table.startswith("withheld"):
            copy(connection, table, condition)

    patch.setattr(portions, "_copy", careless)


def a_failed_shard_is_answered_for(patch: Patch) -> None:
    """Early acknowledgement: the messages of a shard are not named when its cycle failed."""
    lost = compactor._Ends.lost

    def early(self: Any, collection: str, *args: Any) -> None:
        if whole_of(collection) is None:
            lost(self, collection, *args)

    patch.setattr(compactor._Ends, "lost", early)


MUTANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        a_lost_swap_is_taken_for_landed,
        a_refusal_is_taken_for_our_own_write,
        the_swap_takes_whatever_head_there_is,
        an_older_image_replaces_a_newer_one,
        an_older_removal_replaces_a_newer_one,
        a_failed_collection_is_answered_for,
        what_one_collection_applied_hides_what_the_other_failed,
        a_bad_message_is_called_a_duplicate,
        a_cap_drops_the_tail,
        a_batch_that_moves_nothing_is_published,
        any_event_of_a_pending_item_begins_its_run,
        a_run_is_completed_before_it_is_published,
        the_table_is_told_nothing,
        a_status_that_could_not_be_written_is_forgotten,
        the_removal_of_an_unknown_item_leaves_no_fact,
        facts_without_records_are_not_kept,
        a_deltas_metadata_beats_facts,
        what_a_new_delta_lacks_stays,
        head_is_moved_before_its_manifest_is_stored,
        what_a_dead_process_left_stays,
        a_rollback_withholds_nothing,
        what_is_withheld_is_no_barrier_to_removals,
        what_is_withheld_is_no_barrier_to_runs,
        a_reapply_forgets_the_runs,
        a_sweep_spares_what_nobody_reaches,
        a_resync_believes_what_is_known,
        what_is_older_than_the_reading_counts,
        a_key_that_no_rule_sets_any_more_stays,
        a_function_goes_on_under_the_old_mapping,
        a_changed_mapping_keeps_the_facts_of_the_old_one,
    )
}
IN_SHARDS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        a_reshard_forgets_what_came_meanwhile,
        a_closed_shard_takes_changes,
        a_reshard_leaves_behind_what_is_withheld,
        a_failed_shard_is_answered_for,
    )
}
"""Those that only collections in shards can show."""
