"""A local copy whose bytes change under a sound store: whoever meets that restores it, and needs no help."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.report import Report
from tests.support.table import Table, in_sqs
from tests.support.world import WORD, World, label, with_word

PAGES_BYTES = 6 * 4096


def ends(report: Report) -> tuple[int, int]:
    """Return how many messages were applied, and how many failed."""
    return report.applied, report.failed


def damage(path: Path) -> None:
    """Overwrite the last pages of a file, which stays as long as it is."""
    with path.open("r+b") as file:
        begin = max(0, file.seek(0, os.SEEK_END) - PAGES_BYTES)
        file.seek(begin)
        file.write(b"\xa5" * (path.stat().st_size - begin))


@pytest.mark.parametrize(
    ("file", "warm"), [("chroma/chroma.sqlite3", False), ("ledger.sqlite3", False), ("ledger.sqlite3", True)]
)
def test_a_damaged_local_copy_costs_one_restore(world: World, told: list[str], file: str, warm: bool) -> None:
    """C13: the batch that meets it, in a new container or a warm one, is published; the next finds a sound copy."""
    table, pristine = Table(), world.home / "workspace/words/pristine"
    with_word(world, table)
    with world.compactor() as machine:
        assert 2 == machine.compact(in_sqs([label(table, "before"), label(table, "other")])).applied
        damage(pristine / file)
        if not warm:
            machine.close()
        assert (1, 0) == ends(machine.compact(in_sqs([label(table, "after")])))
        assert 1 == sum(line.startswith("the local copy is damaged") for line in told)
        assert (1, 0) == ends(machine.compact(in_sqs([label(table, "again")])))
        assert 1 == sum(line.startswith("the local copy is damaged") for line in told)
    assert {"label_before", "label_after", "label_again"} <= world.records()[WORD][2].keys()
    assert not verify_store(world.published(), world.store, every_version=True).damage


def test_what_fails_on_a_sound_copy_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle that ends as corrupt, while the copy is what was published, fails once and leaves the copy be."""
    table, attempts = Table(), 0
    with_word(world, table)

    def fail(*given: object, **named: object) -> None:
        nonlocal attempts
        attempts += 1
        raise Corrupt("something else", hint="none")

    with world.compactor() as machine, monkeypatch.context() as patch:
        patch.setattr(cycle, "seal", fail)
        with pytest.raises(Corrupt, match="something else"):
            machine.compact(in_sqs([label(table, "a")]))
    assert 2 == attempts, "one for each collection"
    assert (world.home / "workspace/words/stamp").exists()
