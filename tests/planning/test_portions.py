"""The ledger of a shard out of those of others: every row goes with the beginning of its id, and to one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.planning.portions import add_portion, become
from chroma_lifecycle.values import ADOPTED, Digest, ItemKey, Position

MADE = iter(range(10**9))
DIGEST = Digest("d" * 64)


def position(number: int) -> Position:
    return Position.parse(f"stream L {number} 1700000000")


def item(part: str, sort: str = "x") -> ItemKey:
    return ItemKey(f"P#{part}", sort)


def field(part: str, number: int, value: str = "v", *, sort: str = "x") -> FieldFact:
    at = position(number)
    return FieldFact("rule", item(part, sort), f"P#{part}#{sort}", at, at, True, {"a": value})


def run(part: str, number: int, address: str = "r") -> RunFact:
    return RunFact(item(part, "run"), address, position(number), DIGEST, 2)


def changes(parts: str, number: int = 1) -> LedgerChanges:
    """Return a field fact, a tombstone and a run with two records for each partition."""
    runs = tuple(run(part, number) for part in parts)
    return LedgerChanges(
        fields=tuple(field(part, number) for part in parts),
        tombstones=tuple(Tombstone("gone", item(part), f"P#{part}#x", position(number)) for part in parts),
        runs=runs,
        written={(each.item, each.address): [f"{each.item.partition}#x", f"{each.item.partition}#y"] for each in runs},
    )


def written(place: Path, *stored: LedgerChanges, withheld: Withheld | None = None) -> Path:
    path = place / f"ledger-{next(MADE)}"
    with Ledger.create(path) as ledger:
        for number, each in enumerate(stored, start=1):
            ledger.store(each, received_seconds=number, version=number)
        if withheld:
            ledger.withhold(withheld, received_seconds=9, version=9)
            ledger.erase(["P#b#q"], received_seconds=9, version=9)
        ledger.mappings.remember(DIGEST, {"says": 1}, as_of=len(stored))
    return path


def rows(path: Path) -> dict[str, list[str]]:
    """Return what a ledger says, without the numbers that are its own."""
    with Ledger.open(path, read_only=True) as ledger:
        held = ledger.withheld()
        return {
            "fields": sorted(map(repr, ledger.every_field_fact())),
            "runs": sorted(map(repr, ledger.runs())),
            "records": list(map(repr, ledger.record_runs())),
            "left in": [repr((run, ledger.left_in(run, ["P#b#q", "P#b#r"]))) for run in held.runs.values()],
            "withheld": sorted(repr(f) for kind in (held.fields, held.tombstones, held.runs) for f in kind.values()),
            "tombstones": sorted(map(repr, ledger.tombstones([f"P#{p}#x" for p in "abcdef"]).items())),
        }


def portion(place: Path, owns: Callable[[str], bool], *sources: Path) -> Path:
    path = place / f"portion-{next(MADE)}"
    with Ledger.create(path) as ledger:
        for source in sources:
            add_portion(ledger, source, owns)
    return path


def below(parts: str) -> Callable[[str], bool]:
    return lambda reach: reach.split("#")[1] in parts


def test_every_row_goes_to_one_shard_and_comes_back(tmp_path: Path) -> None:
    """Cut in two and joined again, a ledger says what it said; what is withheld, parked and removed too."""
    held = Withheld({("P#a#x", item("a")): field("a", 7)}, {}, {(item("b", "run"), "old"): run("b", 8, "old")})
    parked = LedgerChanges(fields=(field("c", 3, sort="not there yet"),))
    whole = written(tmp_path, LedgerChanges(), changes("abcd"), parked, withheld=held)
    assert "('P#b#r',)" in rows(whole)["left in"][0]
    one, other = portion(tmp_path, below("ac"), whole), portion(tmp_path, below("bd"), whole)

    assert rows(whole) == rows(portion(tmp_path, lambda _: True, one, other))
    found = [rows(each) for each in (one, other)]
    with Ledger.open(one, read_only=True) as ledger:
        facts = [*ledger.every_field_fact(), *ledger.runs(), *ledger.tombstones(["P#a#x"])["P#a#x"]]
        assert {1} == {ledger.version_of(fact) for fact in facts}, "numbers of another lineage mean nothing here"
    for kind, all_of in rows(whole).items():
        assert sorted(all_of) == sorted(found[0][kind] + found[1][kind])
    assert all("P#b" not in row and "P#d" not in row for kind in found[0].values() for row in kind)


def test_an_adoption_is_joined_and_counts_what_it_has_here(tmp_path: Path) -> None:
    """Its run is in every shard; in a new one it has the records that lie there."""
    adopted = RunFact(ItemKey(""), "adopted", ADOPTED, DIGEST, 9)
    first, second = (
        written(tmp_path, LedgerChanges(runs=(adopted,), written={(adopted.item, "adopted"): ids}))
        for ids in (["P#a#1", "P#b#1"], ["P#c#1", "P#d#1", "P#d#2"])
    )
    made = portion(tmp_path, below("bd"), first, second)
    with Ledger.open(made, read_only=True) as ledger:
        assert [3] == [each.records for each in ledger.runs()]
        assert ["P#b#1", "P#d#1", "P#d#2"] == list(ledger.record_ids())


def test_of_two_readings_of_the_table_the_older_counts(tmp_path: Path) -> None:
    """By the newer one a change of the other shard could be taken for known that is still to come."""
    first, second = written(tmp_path, changes("a")), written(tmp_path, changes("b"), changes("c"))
    made = portion(tmp_path, lambda _: True, first, second)
    with Ledger.open(made, read_only=True) as ledger:
        assert 1 == ledger.mappings.read_at()


def test_what_a_ledger_becomes_says_which_records_differ(tmp_path: Path) -> None:
    """A field moves, a run is begun again, a record goes, one comes: these records and no others."""
    ledger_path = portion(tmp_path, lambda _: True, written(tmp_path, changes("abcd")))
    newer = LedgerChanges(
        fields=(field("a", 5, "w"),),
        runs=(run("b", 6), run("c", 7, "new")),
        written={(item("c", "run"), "new"): ["P#c#y", "P#c#z"]},
        deleted=["P#d#x"],
    )
    wanted = portion(tmp_path, lambda _: True, written(tmp_path, changes("abcd"), newer))
    with Ledger.open(ledger_path) as ledger:
        moved = become(ledger, wanted)
        assert {"P#a#x", "P#b#x", "P#b#y", "P#c#y", "P#c#z"} == moved.written
        assert {"P#d#x"} == moved.removed
        assert not become(ledger, wanted)
    assert rows(wanted) == rows(ledger_path)


def test_a_ledger_becomes_one_in_which_a_record_was_erased(tmp_path: Path) -> None:
    """What a withheld run is to leave out follows."""
    held = Withheld(runs={(item("b", "run"), "old"): run("b", 8, "old")})
    wanted = written(tmp_path, changes("b"), withheld=held)
    made = written(tmp_path, changes("b"))
    with Ledger.open(made) as ledger:
        become(ledger, wanted)
    assert rows(wanted) == rows(made)


parts = st.text("abcdef", max_size=6).map(lambda text: "".join(sorted(set(text))))
ledgers = st.lists(st.tuples(parts, st.integers(1, 4)), min_size=1, max_size=4)


@given(before=ledgers, after=ledgers)
def test_any_ledger_can_become_any_other(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    """Whatever it said: facts that a rollback took away go too, and so do runs."""
    with tempfile.TemporaryDirectory() as place:
        old, new = (
            portion(Path(place), lambda _: True, written(Path(place), *(changes(p, n) for p, n in steps)))
            for steps in (before, after)
        )
        with Ledger.open(old) as ledger:
            become(ledger, new)
        assert rows(new) == rows(old)
