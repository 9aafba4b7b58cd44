"""What a warm cycle handles itself follows the change, and not what the collection holds."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.planning.ledger_file import LedgerFile
from chroma_lifecycle.snapshot import comparing, pages, patch, rewriting, workspace
from tests.support.table import Table, in_sqs
from tests.support.watching import CountingStore
from tests.support.world import IMAGE, RUN, World, begins

_FEW, _MANY = 400, 2_000
_CHANGED = 20


def _of_words(source: Path, _: Path) -> int:
    """Return how long a file is; the other collection's cycle moves facts alone, and copies its ledger."""
    return source.stat().st_size if "words" in source.parts else 0


@contextmanager
def handled() -> Iterator[Counter[str]]:
    """Count the bytes that are hashed, compressed, copied and written locally, and the rows that are asked for."""
    seen: Counter[str] = Counter()

    def bytes_of(name: str, call: Any, measure: Any) -> Any:
        def counted(*given: Any) -> Any:
            seen[name] += measure(*given)
            return call(*given)

        return counted

    with pytest.MonkeyPatch.context() as patched:
        for module in (pages, comparing):
            patched.setattr(module, "leaf_digests", bytes_of("hashed", pages.leaf_digests, len))
        patched.setattr(patch, "press", bytes_of("compressed", patch.press, lambda new, old: len(new)))
        patched.setattr(workspace, "copy_file", bytes_of("copied", workspace.copy_file, _of_words))
        patched.setattr(rewriting, "write_at", bytes_of("written", rewriting.write_at, lambda fd, data, at: len(data)))
        rows = LedgerFile.rows

        def asked(self: LedgerFile, *given: Any, **more: Any) -> Iterator[tuple[Any, ...]]:
            for row in rows(self, *given, **more):
                seen["rows"] += 1
                yield row

        patched.setattr(LedgerFile, "rows", asked)
        yield seen


def warm(world: World, records: int) -> Table:
    """Publish so many records with documents that do not pack to nothing; a third of them get a label."""
    table, chance = Table(), random.Random(1)
    texts = {f"{IMAGE}#{_word(n)}": (n, chance.randbytes(200).hex(), {"n": n}) for n in range(records)}
    world.write_delta("all", texts)
    world.compact([table.put(*RUN, **begins("all"))])
    world.compact([label(table, "total", number) for number in range(0, records, 3)])
    return table


def _word(number: int) -> str:
    """Return the key of a word below its image: ten stand on a line."""
    line, word = divmod(number, 10)
    return f"RECEIPT#00001#LINE#{line + 1:05d}#WORD#{word + 1:05d}"


def label(table: Table, name: str, word: int) -> dict[str, Any]:
    """Label a word."""
    return table.put(IMAGE, f"{_word(word)}#LABEL#{name}", validation_status="VALID")


def cycle_on(home: Path, records: int) -> tuple[Counter[str], int, list[str]]:
    """Change labels in the middle of a collection of so many records; return what was handled, written and called."""
    world = World(home)
    table = warm(world, records)
    store = CountingStore(world.store)
    with world.compactor(store=store) as machine:
        # The first one copies the version; a warm container has it.
        machine.compact(in_sqs([label(table, "date", 100)]))
        changes = [label(table, "date", 100 + step) for step in range(1, _CHANGED + 1)]
        store.calls.clear()
        store.written = 0
        with handled() as seen:
            assert _CHANGED == machine.compact(in_sqs(changes)).applied
    return seen, store.written, [call.partition("-")[0] for call in store.calls]


def test_the_same_batch_on_five_times_the_records_handles_about_as_much(begun: Path, tmp_path: Path) -> None:
    """S2: warm, it hashes, compresses, writes, sends and looks up what changed, and copies nothing."""
    found = {}
    for records in (_FEW, _MANY):
        home = tmp_path / str(records)
        shutil.copytree(begun, home)
        found[records] = cycle_on(home, records)

    (few, few_sent, few_calls), (many, many_sent, many_calls) = found[_FEW], found[_MANY]
    assert 0 == few["copied"] == many["copied"]
    assert len(few_calls) == len(many_calls)
    assert few["rows"] == many["rows"] > 0
    # An index over more records is a level deeper at most.
    for name in ("hashed", "compressed", "written"):
        assert 0 < many[name] < 1.5 * few[name], name
    assert many_sent < 1.5 * few_sent


def test_bytes_sent_follow_the_number_of_changes(world: World) -> None:
    """D2: 1, 10 and 100 labels on 400 records: more for more, far less than their share, far below a whole copy.

    Which pages SQLite takes differs from run to run, by some kilobytes.
    """
    table = warm(world, _FEW)
    store = CountingStore(world.store)
    sent: dict[int, int] = {}
    with world.compactor(store=store) as machine:
        machine.compact(in_sqs([label(table, "date", 1)]))
        for count in (1, 10, 100):
            store.written = 0
            changes = [label(table, f"by-{count}", number) for number in range(0, 4 * count, 4)]
            assert count == machine.compact(in_sqs(changes)).applied
            sent[count] = store.written

    whole = world.published().manifest.size
    assert max(sent[1], sent[10]) < sent[100] < whole / 20
    assert sent[100] < 20 * sent[1]
    assert sent[10] < 5 * sent[1]
