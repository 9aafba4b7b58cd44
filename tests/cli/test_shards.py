"""A collection in shards by the command line: what works on all of them, and what refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.cli.app import run
from tests.support.schemas import problems
from tests.support.table import Table

MAPPING = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  notes: USER#{user}#NOTE#{note}
shards:
  notes: 3
rules:
  run:
    item: {PK: "USER#{user}", SK: "RUN#{run}"}
    merge:
      notes: {delta: delta, state: state}
  note:
    item: {PK: "USER#{user}", SK: "NOTE#{note}"}
    set:
      notes: [title]
    removal_deletes: [notes]
"""
USERS = "abcdef"


class Shell:
    """Runs the command line in a directory with a store, by the settings that a user exports."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command, which must end with *code*; return what it prints."""
        self._capsys.readouterr()
        ended = run(arguments)
        printed = self._capsys.readouterr()
        assert code == ended, printed
        return printed.out + printed.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command on each shard; return what it says of each."""
        return self.whole(*arguments, code=code)["shards"]

    def whole(self, *arguments: str, code: int = 0) -> Any:
        """Run a command on each shard; what it prints for programs is as the schemas say."""
        self._capsys.readouterr()
        assert code == run([*arguments, "--json"])
        value = json.loads(self._capsys.readouterr().out)
        assert [] == problems("in-shards", value)
        for shard in value["shards"]:
            if shard["result"] is not None:
                assert [] == problems(arguments[0], shard["result"])
        return value

    def ids(self) -> set[str]:
        self._capsys.readouterr()
        assert 0 == run(["query", "--vector", "[1,2,3]", "-n", "100", "--json"])
        return {record["id"] for record in json.loads(self._capsys.readouterr().out)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    (home / "deltas").mkdir()
    (home / "mirror").mkdir()
    (home / "notes.yaml").write_text(MAPPING)
    table, runs = Table(), []
    for number, user in enumerate(USERS):
        rows = [
            {"id": f"USER#{user}#NOTE#{note}", "embedding": [number, note, 1], "document": f"{note} of {user}"}
            for note in range(3)
        ]
        (home / "deltas" / f"{user}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        runs.append(table.put(f"USER#{user}", "RUN#1", delta=f"{user}.jsonl", state="PENDING"))
        table.put(f"USER#{user}", "NOTE#1", title="x")
    (home / "runs.json").write_text(json.dumps({"Records": runs}))
    removed = table.remove("USER#a", "NOTE#1")
    (home / "removed.json").write_text(json.dumps({"Records": [removed]}))
    return home


@pytest.fixture
def shell(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    home = Path(shutil.copytree(made, tmp_path / "home"))
    monkeypatch.chdir(home)
    for name, text in {"STORE": "store", "MAPPING": "notes.yaml", "WORKSPACE": "ws", "DELTAS": "deltas"}.items():
        monkeypatch.setenv(f"CHROMA_LIFECYCLE_{name}", text)
    return Shell(home, capsys)


def test_from_init_to_erase(shell: Shell) -> None:
    """Begun, filled, looked at, proven, rolled back to a moment and forward again, pinned, swept, erased."""
    assert "in 3 shards by USER#{user}" in shell("mapping", "check", "notes.yaml")
    assert ["notes.1-0", "notes.1-1", "notes.1-2"] == [
        each["shard"] for each in shell.json("init", "--dimension", "3", "--dry-run")
    ]
    shell.json("init", "--dimension", "3")
    assert "already initialised" in shell("init", "--dimension", "3", code=2)
    assert "6 applied" in shell("compact", "runs.json")
    everything = {f"USER#{user}#NOTE#{note}" for user in USERS for note in range(3)}
    assert everything == shell.ids()
    assert "1 of 3 shards: 1 records" in shell("query", "--id", "USER#a#NOTE#1")

    assert {1: 0, 2: 18} == _records_by_version(shell)
    since = max(each["result"][0]["written_at"] for each in shell.json("log"))
    assert "1 applied" in shell("compact", "removed.json")
    assert everything - {"USER#a#NOTE#1"} == shell.ids()
    rolled = shell.json("rollback", "--at", since)
    assert ["notes.1-2"] == [each["shard"] for each in rolled]
    assert everything == shell.ids()
    assert "there is nothing to do in any shard" in shell("rollback", "--at", "2999-01-01")
    shell.json("reapply")
    assert everything - {"USER#a#NOTE#1"} == shell.ids()

    for command in (["status"], ["show"], ["verify", "--deep"], ["pin", "before"], ["unpin", "before"], ["rebase"]):
        assert 3 == len(shell.json(*command))
    assert 3 == len(shell.json("mirror", "--mirror", "mirror", "--repair"))
    assert 3 == len(shell.json("expire", "--keep", "1"))
    assert 3 == len(shell.json("sweep", "--grace", "0s", "--delete", "--mirror", "mirror"))
    assert 3 == len(shell.json("rebuild"))
    assert ["notes.1-2"] == [each["shard"] for each in shell.json("explain", "USER#a#NOTE#1")]
    shell.json("report", "-o", "report.html")
    shell.json("restore", "--to", "out")
    assert ["notes.1-0", "notes.1-1", "notes.1-2"] == sorted(path.name for path in Path("out").iterdir())
    assert 3 == len(list(Path().glob("report-notes.1-*.html")))
    shell.json("erase", "USER#b#NOTE#0", "USER#c#NOTE#0", "--delete")
    assert everything - {"USER#a#NOTE#1", "USER#b#NOTE#0", "USER#c#NOTE#0"} == shell.ids()
    shell.json("verify", "--all")


def _records_by_version(shell: Shell) -> dict[int, int]:
    """Return how many records all shards have whose newest version has this number."""
    found: dict[int, int] = {}
    for each in shell.json("log"):
        newest = each["result"][0]
        found[newest["version"]] = found.get(newest["version"], 0) + newest["counts"]["records"]
    return found


def test_what_does_not_work_on_shards_refuses(shell: Shell) -> None:
    """With a sentence, and never by the answer of a part; a shard's own name works with everything."""
    shell("init", "--dimension", "3")
    for command in (["show", "--version", "1"], ["pin", "x", "--version", "1"], ["rollback", "1"], ["diff", "1", "2"]):
        assert "versions of its own" in shell(*command, code=2)
    assert "versions of its own" in shell("query", "--id", "x", "--version", "1", code=2)
    assert "manifests of its own" in shell("recover", "--manifest", "x", code=2)
    seconds = MAPPING.replace("mapping: 1", "mapping: 1\nordering: to_the_second")
    Path("seconds.yaml").write_text(seconds)
    told = shell("init", "--from", "out", "--mapping", "seconds.yaml", code=2)
    assert "delta convert out notes.parquet`, then `chroma-lifecycle bulk build notes.parquet" in told
    told = shell("init", "--from", "s3://b/x.parquet", "--mapping", "seconds.yaml", code=2)
    assert "bulk build s3://b/x.parquet --dimension N" in told
    assert "version 1" in shell("show", "--version", "1", "--collection", "notes.1-0")
    assert "is no shard of notes any more" in shell("reapply", "--collection", "notes.1-9", code=2)


def test_records_leave_the_shards_that_have_some(shell: Shell) -> None:
    """An empty shard gets no file, and is no failure; where none has any, that is one."""
    shell("init", "--dimension", "3")
    assert "of notes.1-0 has no records" in shell("export", "--output", "none.jsonl", code=2)
    assert not list(Path().glob("none*"))
    shell("compact", "runs.json")
    written = [each["result"]["records"] for each in shell.json("export", "--output", "notes.jsonl")]
    assert (2, 18) == (len(written), sum(written))
    assert {"notes-notes.1-0.jsonl", "notes-notes.1-2.jsonl"} == {path.name for path in Path().glob("notes-*")}


def test_records_begin_in_one_piece_and_are_cut_then(shell: Shell) -> None:
    """What the mapping says of shards is named as the next step."""
    shell("init", "--dimension", "3", "--store", "first")
    shell("compact", "runs.json", "--store", "first")
    shell("export", "--output", "notes.jsonl", "--store", "first")
    told = shell("init", "--from", "notes-notes.1-0.jsonl")
    assert "it is in one piece; `chroma-lifecycle bulk reshard --shards 3` cuts it" in told
    assert "notes version 1" in shell("verify")


def test_what_differs_is_told_of_each_shard(shell: Shell) -> None:
    """Since a moment, of records, or between the last two versions; a shard of one version has nothing to compare."""
    shell("init", "--dimension", "3")
    assert "there is nothing to do in any shard" in shell("diff")
    shell("compact", "runs.json")
    since = max(each["result"][0]["written_at"] for each in shell.json("log"))
    shell("compact", "removed.json")

    assert ["notes.1-2"] == [each["shard"] for each in shell.json("diff", "--since", since)]
    found = shell.json("diff")
    assert 1 == sum(each["result"]["records"]["removed"] for each in found)
    assert ["notes.1-2"] == [each["shard"] for each in shell.json("diff", "--record", "USER#a#NOTE#1")]
    shell("pin", "now")
    assert "there is nothing to do in any shard" in shell("diff", "now")
    assert "'never' is no version of notes.1-0" in shell("diff", "never", code=2)
    assert "give one of the two" in shell("diff", "now", "--since", since, "--collection", "notes.1-2", code=2)
    assert "--since" not in shell("diff", "--since", since, "--collection", "notes.1-2")


def test_it_is_copied_and_moved_and_comes_back(shell: Shell) -> None:
    """The shards and the layout, to where another command can go on; no place is made for a collection that is not."""
    shell("init", "--dimension", "3")
    assert "has no HEAD" in shell("copy", "--to", "other", "--collection", "none", code=2)
    assert not Path("other").exists()
    shell("compact", "runs.json")
    everything = shell.ids()

    assert 3 == len({each["result"]["lineage"] for each in shell.json("copy", "--to", "other")})
    assert "is not free for notes" in shell("copy", "--to", "other", code=2)
    shell("compact", "removed.json", "--store", "other")
    assert everything == shell.ids()
    assert "0 records" in shell("query", "--id", "USER#a#NOTE#1", "--store", "other")

    assert [2, 1, 2] == [each["result"]["version"] for each in shell.json("move", "--to", "third")]
    assert "moved to" in shell("compact", "removed.json", code=2)
    assert "has moved to" in shell("move", "--to", "third")
    assert "18 records" in shell("query", "--vector", "[1,2,3]", "-n", "100", "--store", "third")

    Path("third/notes/HEAD").unlink()
    Path("third/notes.1-1/HEAD").unlink()
    assert "recover" in shell("status", "--store", "third", code=2)
    assert "the layout would be that of serial" in shell("recover", "--store", "third", "--dry-run")
    shards = [f"notes.1-{number}" for number in range(3)]
    would, did = (shell.whole("recover", "--store", "third", *options) for options in (["--dry-run"], []))
    assert ([], False, shards) == (would["shards"], would["layout"]["done"], would["layout"]["shards"])
    assert (["notes.1-1"], True) == ([each["shard"] for each in did["shards"]], did["layout"]["done"])
    assert (1, "third") == (did["layout"]["generation"], did["layout"]["taken_from"])
    assert "there is nothing to do in any shard" in shell("recover", "--store", "third")
    assert "18 records" in shell("query", "--vector", "[1,2,3]", "-n", "100", "--store", "third")


def test_one_damaged_shard_is_told_and_the_others_are_still_proven(shell: Shell) -> None:
    """verify ends with the code of damage; a shard that is gone is an error after the others were looked at."""
    shell("init", "--dimension", "3")
    shell("compact", "runs.json")
    shutil.copytree("store", "second")
    damaged = next(path for path in Path("store/notes.1-0/objects").rglob("*") if path.is_file())
    damaged.write_bytes(b"torn")
    found = shell.json("verify", code=4)
    assert [True, False, False] == [bool(each["result"]["stored"]["damage"]) for each in found]
    assert f"{damaged.name} is damaged" in shell("recover", code=4)
    assert [("notes.1-0", 1)] == [
        (each["shard"], each["result"]["brought_from_mirror"]) for each in shell.json("recover", "--mirror", "second")
    ]
    assert "there is nothing to do in any shard" in shell("recover", "--mirror", "second")
    assert 3 == len(shell.json("verify"))
    shutil.rmtree("store/notes.1-1")
    told = shell("verify", code=2)
    assert "1 of 3 shards failed; notes.1-1: collection notes.1-1 has no HEAD" in told
    assert "== notes.1-2" in told


def test_the_store_says_whether_there_are_shards(shell: Shell) -> None:
    """A mapping that forgot them compacts into all of them; one that names them compacts what is in one piece."""
    shell("init", "--dimension", "3")
    Path("plain.yaml").write_text(MAPPING.replace("shards:\n  notes: 3\n", ""))
    assert "6 applied" in shell("compact", "runs.json", "--mapping", "plain.yaml")
    assert 3 == len(shell.json("verify", "--mapping", "plain.yaml"))
    shell("init", "--dimension", "3", "--mapping", "plain.yaml", "--store", "plain")
    assert "6 applied" in shell("compact", "runs.json", "--store", "plain")
    assert "notes version 2" in shell("verify", "--store", "plain")


def test_a_delta_for_shards_is_written_and_checked_as_for_one_collection(shell: Shell) -> None:
    """The store says the dimension; records of a run's partition are announced, as the mapping has them."""
    shell("init", "--dimension", "3")
    assert "all fit notes" in shell("delta", "validate", "deltas/a.jsonl", "--below", "USER#a")
    Path("wide.jsonl").write_text(json.dumps({"id": "USER#a#NOTE#1", "embedding": [1, 2, 3, 4]}))
    assert "has dimension 3" in shell("delta", "validate", "wide.jsonl", code=2)
    shell("delta", "write", "deltas/a.jsonl", "--key", "user=a", "--key", "run=9")
    assert "facts of notes.1-2 can all be compared" in shell("doctor", "--store", "store")
