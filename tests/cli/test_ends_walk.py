"""The two other ends, walked through with bad inputs as a new user would: each a sentence, a way out, and no trace."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from pathlib import Path

import pytest

from chroma_lifecycle.errors import LifecycleError, NoRoom, NotInitialised, NotOwned
from chroma_lifecycle.reader import SnapshotReader
from tests.support.command_line import CommandLine, Ended
from tests.support.deltas import record, write_jsonl
from tests.support.mounts import mounted

KEY = ("--mapping", "notes.yaml", "--key", "user=u", "--key", "run=9")
QUESTION = [[1.0, 2.0, 3.0]]


@pytest.fixture(autouse=True)
def workspace(empty: CommandLine) -> None:
    empty.monkeypatch.setenv("CHROMA_LIFECYCLE_WORKSPACE", "workspace")


def told(ended: Ended, code: int, *words: str) -> None:
    """One sentence and one hint, on standard error alone."""
    assert (code, "") == (ended.code, ended.out), ended.err
    assert [1, 1] == [ended.err.count(word) for word in ("error: ", "hint: ")]
    for word in words:
        assert word in ended.err


def said(problem: LifecycleError, *words: str) -> None:
    assert problem.hint
    for word in words:
        assert word in str(problem)


def test_a_store_with_nothing_in_it(empty: CommandLine) -> None:
    """L13: to each end the same sentence; `init` is the way out, and nobody else makes anything."""
    (empty.home / "store").mkdir()

    for command in (("export", "-o", "x.jsonl"), ("upload", "--to", "http://127.0.0.1:9"), ("query", "--id", "x")):
        told(empty.at(*command), 2, "collection notes has no HEAD in store", "chroma-lifecycle init")
    told(empty("delta", "write", "deltas/run-1.parquet", "--store", "store", *KEY), 2, "has no HEAD in store")
    with SnapshotReader.open("store", "notes", workspace="reader") as reader:
        with pytest.raises(NotInitialised) as refused:
            reader.refresh()
        said(refused.value, "collection notes has no HEAD in store", "chroma-lifecycle init")
        assert str(reader.status().problem) in str(refused.value)
    assert {} == empty.contents("store")


def test_a_version_that_is_gone(cli: CommandLine) -> None:
    """Expired and swept, or never there: what there is, and the command that lists it."""
    assert 0 == cli.at("expire", "--keep", "1").code
    assert 0 == cli.at("sweep", "--grace", "0s", "--delete").code

    for version in ("1", "9"):
        for command in (
            ("export", "-o", "x.jsonl"),
            ("upload", "--to", "http://127.0.0.1:9"),
            ("restore", "--to", "x"),
        ):
            told(
                cli.at(*command, "--version", version),
                2,
                f"version {version} of notes is not there",
                "`chroma-lifecycle log`",
            )
    assert not (cli.home / "x.jsonl").exists()


def test_a_disk_that_is_really_too_small(cli: CommandLine) -> None:
    """S4, C15: a reader's workspace, the scratch of an export, the root of deltas: the numbers, and nothing is left."""
    write_jsonl(cli.home / "long.jsonl", [record("USER#u#NOTE#a", document=secrets.token_hex(450_000))])
    with mounted(cli.home / "small", "size=200k") as small:
        with SnapshotReader.open("store", "notes", workspace="small/reader") as reader:
            with pytest.raises(NoRoom) as refused:
                reader.refresh()
            said(refused.value, "bytes are missing", "workspace")
            assert reader.status().version is None
        (small / "deltas").mkdir()
        full = cli("delta", "write", "long.jsonl", "--dimension", "3", "--deltas", "small/deltas", *KEY)
        told(full, 3, "the disk is full", "make room there")
        cli.monkeypatch.setattr("tempfile.tempdir", str(small))
        told(cli.at("export", "-o", "x.jsonl"), 3, "bytes are missing")
        left = [path for path in small.rglob("*") if path.is_file() and "reader/notes" not in str(path)]
        assert [] == left + list(small.rglob("serving-*"))  # the reader's pristine copy found room, and may stay
    assert not (cli.home / "x.jsonl").exists()


def test_a_disk_that_fills_up_beneath_a_reader(cli: CommandLine) -> None:
    """S4: the version that is served goes on; when there is room again, the reader catches up by itself."""
    with (
        mounted(cli.home / "small", "size=40M") as small,
        SnapshotReader.open("store", "notes", workspace="small/reader", check_seconds=None) as reader,
    ):
        assert 3 == reader.refresh().version
        assert 0 == cli.compact("third.json").code
        fill(small)
        status = reader.refresh()
        with reader.collection() as notes:
            assert [3, 3] == [notes.version, len(notes.query(query_embeddings=QUESTION)["ids"][0])]
        (small / "filler").unlink()
        later = reader.refresh()
    assert (3, True, True) == (status.version, bool(status.problem), bool(status.hint))
    assert (4, None) == (later.version, later.problem)


def fill(disk: Path) -> None:
    """Leave nothing free on a disk."""
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_two_readers_on_one_workspace(cli: CommandLine) -> None:
    """The second is told who has it, and to take another; the first goes on."""
    with SnapshotReader.open("store", "notes", workspace="reader") as one:
        one.refresh()
        with SnapshotReader.open("store", "notes", workspace="reader") as other:
            with pytest.raises(NotOwned) as refused:
                other.refresh()
            said(refused.value, "is in use by process", "another directory")
        with one.collection() as notes:
            assert 3 == notes.count()
        with SnapshotReader.open("store", "notes", workspace="other") as other:
            assert 3 == other.refresh().version


def test_vectors_of_the_wrong_dimension(cli: CommandLine) -> None:
    """On the way in and out, by command and library: both numbers."""
    store = ("--store", "store")
    told(cli("delta", "write", "deltas/of-four.parquet", *store, *KEY), 2, "4 numbers", "'notes' has dimension 3")
    told(cli.at("query", "--vector", "[1, 2]"), 2, "has 2 numbers, notes has 3 dimensions")
    with SnapshotReader.open("store", "notes", workspace="reader") as reader, reader.collection() as notes:
        with pytest.raises(LifecycleError) as refused:
            notes.query(query_embeddings=[[1.0, 2.0]])
        said(refused.value, "vectors of 2 numbers, notes has 3 dimensions")


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"\xff\xfe{}"])
@pytest.mark.parametrize("name", ["torn.parquet", "torn.jsonl", "torn.tar.gz"])
def test_a_delta_that_cannot_be_read(cli: CommandLine, name: str, body: bytes) -> None:
    """Whatever lies in the file: a sentence, exit 2, from every command; nothing is delivered."""
    if name == "torn.jsonl" and body == b"":
        body = b'{"id": "a", "embedding": [1, 2'
    (cli.home / name).write_bytes(body)
    at, mapping = ("-c", "notes"), ("--mapping", "notes.yaml", "--dimension", "3")

    told(cli("delta", "inspect", name, *at), 2, "torn")
    told(cli("delta", "convert", name, "x.jsonl", *at), 2, "torn")
    told(cli("delta", "write", name, "--store", "store", *at, *KEY), 2, "torn")
    listed = cli("delta", "validate", name, *mapping, *at, "--json")
    assert (2, {"file": 1}) == (listed.code, json.loads(listed.out)["by_kind"])
    assert not (cli.home / "x.jsonl").exists()
    assert not [name for name in cli.contents() if "USER_u" in name]
