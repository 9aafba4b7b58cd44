"""Rollback and reapply on real parts: what was undone stays away until it is reapplied."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.values import Version
from tests.model.reference import Reference, typed
from tests.support.repairs import manifest_of, reapply_all, roll_back
from tests.support.story import POOL, WORDS, expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.telling import ToldTable
from tests.support.world import IMAGE, World, label


def told(world: World) -> list[dict[str, Any]]:
    """Publish the story in two versions of words: 2 has the first run, 3 the rest."""
    write_pool(world)
    records = story(Table())
    world.compact(records[:1])
    world.compact(records[1:])
    assert 3 == world.version()
    return records


def expected_words(records: list[dict[str, Any]]) -> Any:
    return typed({"words": Reference(POOL).replay(records)["words"]})


def test_a_rollback_publishes_the_old_content_and_one_small_pack(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old version's chain, and a pack for the ledger inside the manifest; Chroma is not opened."""
    records = told(world)
    with monkeypatch.context() as patched:
        patched.setattr(ManagedClient, "open", None)
        done = roll_back(world, 2)

    manifest, old = world.published().manifest, manifest_of(world, 2)
    assert (4, "rollback", old.name) == (
        manifest.version.number,
        manifest.details.summary.action,
        manifest.source and manifest.source.name,
    )
    assert old.chain.base == manifest.chain.base
    assert old.chain.packs == manifest.chain.packs[:-1]
    assert manifest.carries_pack
    assert manifest.stored_bytes < 6_000
    assert [f for f in old.files if f.path != "ledger.sqlite3"] == [
        f for f in manifest.files if f.path != "ledger.sqlite3"
    ]
    # the place, ten labels, a removal, a run
    assert 13 == done.withheld == manifest.details.counts.withheld
    assert (0, 40, 0) == (
        manifest.details.summary.added,
        manifest.details.summary.changed,
        manifest.details.summary.removed,
    )
    assert expected_words(records[:1]) == typed({"words": world.records()})
    assert world.published().manifest == world.published(store=world.mirror).manifest


def test_nothing_that_was_undone_comes_back_by_itself(world: World) -> None:
    """D1d: duplicates and stragglers of what was undone move nothing; `reapply` brings all of it back."""
    records = told(world)
    roll_back(world, 2)

    again = world.compact(records)
    assert (len(records), 0, 0) == (again.no_op, again.applied, again.failed)
    assert 4 == world.version()

    report = reapply_all(world)
    assert (True, 5) == (report.published, report.version)
    assert ("reapply", 0) == (
        world.published().manifest.details.summary.action,
        world.published().manifest.details.counts.withheld,
    )
    expect_model(world, records)
    assert not reapply_all(world).published
    assert 5 == world.version()


def test_a_newer_change_takes_the_place_of_what_is_withheld(world: World) -> None:
    """Its item counts again, all others stay withheld; after `reapply` the newest counts."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records[:1])
    world.compact(records[1:])
    roll_back(world, 2)
    newer = table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="newer")

    assert 1 == world.compact([newer]).applied
    assert 12 == world.published().manifest.details.counts.withheld
    assert expected_words([records[0], newer]) == typed({"words": world.records()})

    reapply_all(world)
    assert expected_words([*records, newer]) == typed({"words": world.records()})


def test_versions_older_than_a_rollback_can_be_gone_back_to_as_well(world: World) -> None:
    """A rollback of a rollback withholds what either withholds, and lets count what counted then."""
    records = told(world)
    roll_back(world, 2)
    roll_back(world, 3)
    assert expected_words(records) == typed({"words": world.records()})
    assert 0 == world.published().manifest.details.counts.withheld

    roll_back(world, 1)
    assert {} == world.records()
    assert 14 == world.published().manifest.details.counts.withheld
    reapply_all(world)
    assert expected_words(records) == typed({"words": world.records()})


def test_a_rollback_that_loses_its_swap_withholds_what_the_winner_brought(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: another writer publishes first; its change is withheld too."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records[:1])
    world.compact(records[1:])
    late, move_head = label(table, "late"), Publication.move_head

    def second(self: Publication, *args: Any) -> Any:
        monkeypatch.setattr(Publication, "move_head", move_head)
        with world.compactor("another") as machine:
            assert 1 == machine.compact(in_sqs([late])).applied
        return move_head(self, *args)

    monkeypatch.setattr(Publication, "move_head", second)
    done = roll_back(world, 2)

    assert (5, 4, 14) == (world.version(), done.left.number, done.withheld)
    assert expected_words(records[:1]) == typed({"words": world.records()})


def test_a_version_that_is_condemned_meanwhile_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep raises the floor between reading and swapping: the old version must not live again."""
    told(world)
    move_head = Publication.move_head

    def condemned(self: Publication, *args: Any) -> Any:
        monkeypatch.setattr(Publication, "move_head", move_head)
        amend_head(world.store, "words", lambda head: replace(head, floor=Version(3), sweeps=1), writer="a sweep")
        return move_head(self, *args)

    monkeypatch.setattr(Publication, "move_head", condemned)
    with pytest.raises(BadInput, match="version 2 of words is not there"):
        roll_back(world, 2)
    assert 3 == world.version()


def test_a_damaged_old_version_is_not_published(world: World) -> None:
    """Every object of it is read from the store first, whatever the workspace holds."""
    told(world)
    broken = world.home / "store" / next(manifest_of(world, 2).chain.base.parts).object
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(bytes(data))

    with pytest.raises(Corrupt, match="version 2 of words is damaged"):
        roll_back(world, 2)
    assert 3 == world.version()


def test_a_moment_stands_for_the_version_that_was_the_newest_then(world: World) -> None:
    """`--at`: by the time in the manifest; before the first there is none."""
    records = told(world)
    done = roll_back(world, manifest_of(world, 2).written_at)

    assert 2 == done.source.number
    assert expected_words(records[:1]) == typed({"words": world.records()})
    with pytest.raises(BadInput, match="the oldest is version 1"):
        roll_back(world, datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("version", "why"), [(3, "the newest already"), (9, "is not there")])
def test_there_must_be_something_to_go_back_to(world: World, version: int, why: str) -> None:
    """The newest version, and one that nobody published, are refused."""
    told(world)

    with pytest.raises(BadInput, match=why):
        roll_back(world, version)
    assert 3 == world.version()


def test_a_withheld_delta_that_is_gone_is_named(world: World) -> None:
    """Nothing is reapplied until every withheld run's delta can be read, with the content that it had."""
    records = told(world)
    roll_back(world, 2)
    delta = world.home / "deltas" / "r2.parquet"
    kept = delta.read_bytes()
    delta.unlink()
    with pytest.raises(BadInput, match=r"1 withheld deltas of words cannot be read: r2\.parquet of PK=IMAGE#a"):
        reapply_all(world)

    world.write_delta("r2", {WORDS[0]: (3, "other", {})})
    with pytest.raises(BadInput, match="other content"):
        reapply_all(world)
    assert 4 == world.version()

    delta.write_bytes(kept)
    reapply_all(world)
    assert expected_words(records) == typed({"words": world.records()})


def test_what_counts_again_is_told_to_the_table(world: World) -> None:
    """A message that comes while its run is withheld writes no status, and does not come again: the reapply does."""
    table = Table()
    write_pool(world)
    records = story(table)
    world.compact(records[:1])
    world.compact(records[1:])  # nobody tells the table of the second run
    roll_back(world, 2)
    told = ToldTable(table)

    def says() -> dict[str, str]:
        return {
            item["words_delta_prefix"]: item["words_state"] for item in table.items.values() if "words_state" in item
        }

    with world.compactor() as machine:
        machine._around = replace(machine._around, status=told)
        assert 0 == machine.compact(in_sqs(records)).failed
    before = says()
    told.away = True
    untold = reapply_all(world, status=told)
    assert (1, before) == (untold.outcomes["failed"], says())

    roll_back(world, 2)
    told.away = False
    assert {} == reapply_all(world, status=told).outcomes
    assert {"PENDING"} < {*before.values()}
    assert {"COMPLETED"} == {*says().values()}


def test_a_rollback_says_of_how_many_runs_the_table_may_not_know_that_they_count_again(world: World) -> None:
    """L9: back to the version before a rollback; who was answered for meanwhile wrote no status."""
    told(world)

    assert 0 == roll_back(world, 2).runs_again
    assert 1 == roll_back(world, 3).runs_again
    assert 0 == roll_back(world, 4).runs_again
