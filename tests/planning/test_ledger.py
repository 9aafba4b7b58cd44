"""The ledger keeps what it is told, and answers by reach, by id and by run."""

from __future__ import annotations

import hashlib
import resource
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.values import ADOPTED, Digest, ItemKey, Position

RUN = ItemKey("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r1")
DIGEST = Digest("0" * 64)


def at(sequence: int, created_seconds: int = 7) -> Position:
    return Position.of_stream("label", sequence, created_seconds)


def field_fact(**changes: object) -> FieldFact:
    fields = {
        "rule": "place",
        "item": ItemKey("IMAGE#a", "RECEIPT#00001#PLACE"),
        "reach": "IMAGE#a#RECEIPT#00001",
        "position": at(5),
        "seen": at(9),
        "present": True,
        "attributes": {"merchant_name": {"S": "Zoë \ud800"}},
        "later": {"place_id": (at(9), {"N": "7"})},
    }
    return FieldFact(**{**fields, **changes})  # type: ignore[arg-type]


def filled(path: Path) -> Ledger:
    ledger = Ledger.create(path)
    ledger.store(
        LedgerChanges(
            fields=(field_fact(),),
            tombstones=(Tombstone("word", ItemKey("IMAGE#a", "x"), "IMAGE#a#RECEIPT#00001", at(3)),),
            runs=(RunFact(RUN, "r1/words", at(4), DIGEST, 3),),
            written={(RUN, "r1/words"): ["IMAGE#a#RECEIPT#00001", "IMAGE#a#RECEIPT#00001#LINE#00002", "IMAGE#a!"]},
        ),
        received_seconds=100,
    )
    return ledger


def test_facts_come_back_as_they_were_stored(tmp_path: Path) -> None:
    """Every kind of fact survives closing and opening, with text that UTF-8 cannot carry."""
    filled(tmp_path / "ledger.sqlite3").close()

    with Ledger.open(tmp_path / "ledger.sqlite3", read_only=True) as ledger:
        reach = "IMAGE#a#RECEIPT#00001"
        assert {reach: [field_fact()]} == ledger.field_facts([reach, "other"])
        assert [at(3)] == [fact.position for fact in ledger.tombstones([reach])[reach]]
        assert RunFact(RUN, "r1/words", at(4), DIGEST, 3) == ledger.run(RUN, "r1/words")
        assert ledger.digest_at("r1/words") == DIGEST
        assert ledger.digest_at("elsewhere") is None
        assert ledger.counts() == {"records": 3, "facts": 3, "withheld": 0}


def test_the_kinds_of_position_are_told_those_of_withheld_facts_too(tmp_path: Path) -> None:
    """A run from an adopted snapshot, a message's tombstone, a stream record's fact that is withheld."""
    with Ledger.create(tmp_path / "ledger") as ledger:
        assert frozenset() == ledger.origins()
        flat = Tombstone("word", ItemKey("IMAGE#a", "x"), "IMAGE#a", Position.of_message(5, DIGEST))
        ledger.store(
            LedgerChanges(tombstones=(flat,), runs=(RunFact(RUN, "r1", ADOPTED, DIGEST, 3),)), received_seconds=1
        )
        assert {"flat", "adopted"} == ledger.origins()
        ledger.withhold(Withheld({("IMAGE#a", field_fact().item): field_fact()}), received_seconds=1, version=2)
        assert {"flat", "adopted", "stream"} == ledger.origins()


@pytest.mark.parametrize(
    ("newer", "withheld"),
    [
        (field_fact(position=at(7, 771), seen=at(7, 771), later={}, as_of=650), 0),
        (field_fact(position=at(7, 737), seen=at(7, 737), later={}, as_of=650), 0),
        (field_fact(position=at(5), seen=at(9, 771), later={"place_id": (at(9, 771), {"N": "7"})}, as_of=650), 1),
    ],
    ids=["a full image", "one of the second of the reading", "a partial one, which says nothing of the rest"],
)
def test_what_is_newer_than_a_withheld_reading_takes_its_place(tmp_path: Path, newer: FieldFact, withheld: int) -> None:
    """A rollback withholds that the table was read since; a full image that came after that says more."""
    read = field_fact(position=at(5), seen=at(5), later={}, as_of=737)
    with Ledger.create(tmp_path / "ledger") as ledger:
        ledger.withhold(Withheld({(read.reach, read.item): read}), received_seconds=1, version=2)
        ledger.store(LedgerChanges(fields=(newer,)), received_seconds=2)

        assert withheld == ledger.counts()["withheld"]


def test_a_reach_covers_its_own_id_and_what_goes_on_with_the_separator(tmp_path: Path) -> None:
    """`IMAGE#a` covers neither `IMAGE#a!` nor `IMAGE#ab`; only the id itself and `IMAGE#a#...`."""
    with filled(tmp_path / "ledger.sqlite3") as ledger:
        below = ledger.records_below(["IMAGE#a", "IMAGE#a!", "IMAGE#"])
        assert {
            "IMAGE#a": {"IMAGE#a#RECEIPT#00001", "IMAGE#a#RECEIPT#00001#LINE#00002"},
            "IMAGE#a!": {"IMAGE#a!"},
        } == {reach: set(records) for reach, records in below.items()}


def test_a_run_that_begins_again_keeps_its_records(tmp_path: Path) -> None:
    """A newer position moves the run fact, and with it the records that it wrote."""
    with filled(tmp_path / "ledger.sqlite3") as ledger:
        ledger.store(LedgerChanges(runs=(RunFact(RUN, "r1/words", at(8), DIGEST, 3),)), received_seconds=101)

        assert at(8) == ledger.writers(["IMAGE#a!"])["IMAGE#a!"].position
        assert len(list(ledger.runs())) == 1


def test_many_ids_are_asked_for_in_pieces(tmp_path: Path) -> None:
    """More ids than SQLite takes variables are no problem."""
    ids = [f"IMAGE#a#{number:06d}" for number in range(3_001)]
    with filled(tmp_path / "ledger.sqlite3") as ledger:
        ledger.store(LedgerChanges(written={(RUN, "r1/words"): ids}), received_seconds=101)

        assert set(ids) == set(ledger.writers(ids))
        assert sorted([*ids, "IMAGE#a!", "IMAGE#a#RECEIPT#00001", "IMAGE#a#RECEIPT#00001#LINE#00002"]) == list(
            ledger.record_ids()
        )


def test_reading_changes_no_byte(tmp_path: Path) -> None:
    """The pristine copy can be read without being changed."""
    path = tmp_path / "ledger.sqlite3"
    filled(path).close()
    before = hashlib.sha256(path.read_bytes()).digest()

    with Ledger.open(path, read_only=True) as ledger:
        list(ledger.record_ids())

    assert before == hashlib.sha256(path.read_bytes()).digest()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty or foreign file is damage, not a new ledger."""
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(content)

    with pytest.raises(Corrupt, match="ledger"):
        Ledger.open(path, read_only=True)


def test_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    """C12: the error names the version found and the version known."""
    path = tmp_path / "ledger.sqlite3"
    filled(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()

    with pytest.raises(BadInput, match=r"format 9.*formats up to 1"):
        Ledger.open(path)


def test_a_full_disk_is_told_and_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """C15: a write that does not fit raises NoRoom; the facts of before are still there."""
    path = tmp_path / "ledger.sqlite3"
    filled(path).close()
    child = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from chroma_lifecycle.errors import NoRoom
        from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges
        from tests.planning.test_ledger import RUN
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ids = ["IMAGE#a#%09d" % n for n in range(20_000)]
        with Ledger.open(Path({str(path)!r})) as ledger:
            try:
                ledger.store(LedgerChanges(written={{(RUN, "r1/words"): ids}}), received_seconds=1)
            except NoRoom as problem:
                print("told:", problem)
    """)
    result = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)

    assert "told: the ledger" in result.stdout
    with Ledger.open(path) as ledger:
        assert ledger.counts()["records"] == 3
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
