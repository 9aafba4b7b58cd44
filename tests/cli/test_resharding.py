"""``bulk reshard`` and ``bulk sweep`` by the command line: what they say, and what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.bulk import local_reshard, reshard_tasks
from chroma_lifecycle.bulk.here import Here
from chroma_lifecycle.bulk.local import Run
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.cli.app import run
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import NoRoom
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.wiring import open_store
from tests.cli.test_shards import MAPPING, Shell
from tests.support.schemas import problems
from tests.support.table import Table


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection in three shards, without records."""
    home = tmp_path_factory.mktemp("resharding") / "made"
    home.mkdir()
    (home / "mapping.yaml").write_text(MAPPING)
    at = [
        "--mapping",
        str(home / "mapping.yaml"),
        "--store",
        str(home / "store"),
        "--workspace",
        str(home / "workspace"),
    ]
    assert 0 == run(["init", "--dimension", "3", "--space", "l2", *at])
    return home


@pytest.fixture
def shell(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    home = Path(shutil.copytree(begun, tmp_path / "home"))
    for name, value in {"STORE": "store", "WORKSPACE": "workspace", "MAPPING": "mapping.yaml"}.items():
        monkeypatch.setenv(f"CHROMA_LIFECYCLE_{name}", str(home / value))
    monkeypatch.chdir(home)
    return Shell(home, capsys)


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the tasks here: the processes have tests of their own, and take seconds each."""

    @contextmanager
    def here_and_now(here: Here, workers: int) -> Iterator[Run]:
        del workers
        yield lambda events, tell: [run_task(event, here, tell) for event in events]

    monkeypatch.setattr(local_reshard, "processes", here_and_now)


def printed(shell: Shell, name: str, *arguments: str) -> dict[str, Any]:
    """Run a command for programs; what it prints is what its schema says."""
    value = json.loads(shell(*name.split(), *arguments, "--json"))
    assert [] == problems(name, value)
    return dict(value)


@pytest.mark.usefixtures("_in_this_process")
def test_a_reshard_from_its_estimate_to_what_it_leaves(shell: Shell) -> None:
    """Each says what is so and what comes next; the same again does nothing; the old shards go after the grace."""
    assert "from 3 shards to 2" in shell("bulk", "reshard", "--shards", "2", "--dry-run")
    assert "dry-run" == printed(shell, "bulk reshard", "--shards", "2", "--dry-run")["outcome"]
    done = printed(shell, "bulk reshard", "--shards", "2")
    assert ("resharded", 2, 3) == (done["outcome"], done["generation"], done["from"])
    assert ["notes.2-0", "notes.2-1"] == [shard["name"] for shard in done["shards"]]
    assert not list((shell.home / "workspace/.bulk/tasks").iterdir())

    assert "already" == printed(shell, "bulk reshard", "--shards", "2")["outcome"]
    assert "notes is in 2 shards: there is nothing to do" in shell("bulk", "reshard", "--shards", "2")
    assert "notes.1-0 holds records of notes too" in shell("erase", "USER#a#NOTE#1", "--unknown", code=2)
    left = printed(shell, "bulk sweep")
    assert ["notes.1-0", "notes.1-1", "notes.1-2"] == [shard["name"] for shard in left["shards"]]
    assert "younger than 24 h" in shell("bulk", "sweep", "--delete", code=2)
    assert printed(shell, "bulk sweep", "--delete", "--grace", "0s")["deleted"]
    assert "no shard is left behind" in shell("bulk", "sweep")
    for name in ("HEAD", "heads"):
        (shell.home / "store/notes" / name).rename(shell.home / name)
    for options in ([], ["--dry-run"]):
        told = shell("init", "--dimension", "3", "--space", "l2", *options, code=2)
        assert "notes.2-0 says that notes was cut anew" in told
    for name in ("HEAD", "heads"):
        (shell.home / name).rename(shell.home / "store/notes" / name)
    assert not [path for path in (shell.home / "store/notes.1-0").rglob("*") if path.is_file() and path.name != ".lock"]
    assert 2 == len(shell.json("verify"))


def test_what_is_under_way_is_named_and_can_be_given_up(shell: Shell) -> None:
    """Another number is refused with the number to go on with; --undo leads back, and again does no harm."""
    here = Here(str(shell.home / "store"), shell.home / "workspace", str(shell.home / "mapping.yaml"), 500)
    run_task({"task": "reshard", "collection": "notes", "shards": 4}, here)
    assert "a reshard to 4 shards is under way" in shell("status")
    run_task({"task": "close", "collection": "notes", "generation": 2}, here)

    assert "notes.2-0 holds records" in shell("erase", "USER#a#NOTE#1", "--unknown", code=2)
    assert "bulk reshard --shards 4" in shell("bulk", "reshard", "--shards", "5", code=2)
    layout = shell.home / "store/notes"
    layout.rename(shell.home / "lost")
    for options in ([], ["--dry-run"]):
        told = shell("init", "--dimension", "3", "--space", "l2", *options, code=2)
        assert "notes.1-0 says that notes was cut anew" in told
    (shell.home / "lost").rename(layout)
    assert "The shard is closed: a reshard hands over to generation 2" in shell("status")
    given_up = printed(shell, "bulk reshard", "--undo")
    assert ["notes.1-0", "notes.1-1", "notes.1-2"] == given_up["opened"]
    assert [] == printed(shell, "bulk reshard", "--undo")["opened"]
    assert "notes: it is in 3 shards of generation 1, and no other shards come" in shell("bulk", "reshard", "--undo")
    assert () == read_layout(open_store(str(shell.home / "store")), "notes").layout.coming


@pytest.mark.usefixtures("_in_this_process")
def test_what_fails_while_writers_wait_lets_them_go_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: the shards are open again, the reshard is under way, and the same command ends it."""
    finish = reshard_tasks.finish

    def full(*_: object) -> None:
        raise NoRoom("the disk is full", hint="make room")

    monkeypatch.setattr(reshard_tasks, "finish", full)
    assert "the disk is full" in shell("bulk", "reshard", "--shards", "2", code=3)
    store = open_store(str(shell.home / "store"))
    layout = read_layout(store, "notes").layout
    assert ([None] * 3, 2) == (
        [read_head(store, shard.name).head.closed_for for shard in layout.shards],
        len(layout.coming),
    )
    monkeypatch.setattr(reshard_tasks, "finish", finish)
    assert "2 shards in force" in shell("bulk", "reshard", "--shards", "2")


@pytest.mark.usefixtures("_in_this_process")
def test_new_vectors_for_every_record(shell: Shell) -> None:
    """Of another dimension: what comes with the old one afterwards fails alone, and the same again does nothing."""
    (shell.home / "deltas").mkdir()
    table = Table()
    ids = [f"USER#{user}#NOTE#{note}" for user in "abc" for note in range(2)]

    def run_of(user: str, name: str, *, dimension: int = 3) -> None:
        rows = [{"id": each, "embedding": [1.0] * dimension, "document": each} for each in ids if each[5] == user]
        (shell.home / f"deltas/{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        record = table.put(f"USER#{user}", f"RUN#{name}", delta=f"{name}.jsonl", state="PENDING")
        (shell.home / f"{name}.json").write_text(json.dumps({"Records": [record]}))

    for user in "abc":
        run_of(user, user)
        assert "1 applied" in shell("compact", f"{user}.json", "--deltas", "deltas")
    title = table.put("USER#a", "NOTE#1", title="kept")
    (shell.home / "title.json").write_text(json.dumps({"Records": [title]}))
    shell("compact", "title.json", "--deltas", "deltas")
    (shell.home / "new").mkdir()
    given = ["new", "--dimension", "2"]
    for name in ("notes", "notes.1-0"):
        one_by_one = shell("rebuild", "--vectors", *given, "--collection", name, code=2)
        assert "notes is in shards, and all of them get new vectors at once" in one_by_one
    write_vectors(shell.home / "new/1.parquet", ids[:-1])
    told = shell("bulk", "reembed", *given, code=2)
    assert "1 records of notes.2-" in told
    assert "have no vector in" in told
    assert "1 records" in shell("query", "--id", ids[0])

    write_vectors(shell.home / "new/2.parquet", ids[-2:])
    assert f"record '{ids[-2]}' of notes.2-" in (told := shell("bulk", "reembed", *given, code=2))
    assert "has two vectors" in told
    (shell.home / "new/2.parquet").unlink()
    write_vectors(shell.home / "new/3.parquet", ids[-1:])
    assert "reshard of notes to 3 shards with the vectors of" in shell("bulk", "reshard", "--shards", "3", code=2)
    assert "reembedded" == printed(shell, "bulk reembed", *given)["outcome"]
    found = json.loads(shell("query", "--vector", "[0, 1]", "-n", "10", "--json"))
    assert set(ids) == {record["id"] for record in found}
    assert {"title": "kept"} == next(record["metadata"] for record in found if record["id"] == "USER#a#NOTE#1")
    assert "already" == printed(shell, "bulk reembed", *given)["outcome"]
    run_of("a", "late")
    late = shell("compact", "late.json", "--deltas", "deltas", code=1)
    assert "has a vector of 3 numbers" in late
    run_of("a", "later", dimension=2)
    assert "1 applied" in shell("compact", "later.json", "--deltas", "deltas")


def write_vectors(path: Path, ids: Sequence[str]) -> None:
    with DeltaWriter(path, dimension=2) as writer:
        writer.add(list(ids), np.array([[number, 1] for number in range(len(ids))], np.float32))


def test_wrong_use_is_told(shell: Shell) -> None:
    """Without a number, of a collection that is not in shards, or beyond what there can be."""
    assert "how many shards are there to be?" in shell("bulk", "reshard", code=2)
    assert "--shards" in shell("bulk", "reshard", "--shards", "0", code=2)
    assert "--shards" in shell("bulk", "reshard", "--shards", "300", code=2)
    for command in (["reshard", "--shards", "2"], ["sweep"]):
        assert "has neither a HEAD nor a layout" in shell("bulk", *command, "--collection", "other", code=2)
    (shell.home / "mapping.yaml").write_text(MAPPING.replace("notes:", "others:").replace("[notes]", "[others]"))
    refused = shell("bulk", "reshard", "--shards", "2", "--collection", "notes", code=2)
    assert "the mapping has no collection notes: it has others" in refused


@pytest.fixture
def whole(shell: Shell) -> Shell:
    """A collection in one piece, of two notes; the mapping says nothing of shards."""
    (shell.home / "mapping.yaml").write_text(MAPPING.replace("shards:\n  notes: 3\n", ""))
    for name in ("store", "workspace"):
        shutil.rmtree(shell.home / name)
    (shell.home / "notes.jsonl").write_text(
        "\n".join(json.dumps({"id": f"USER#{user}#NOTE#1", "embedding": [1.0, 2.0, 3.0]}) for user in "ab")
    )
    shell("init", "--from", "notes.jsonl")
    return shell


@pytest.mark.usefixtures("_in_this_process")
def test_one_piece_is_cut_from_its_estimate_to_what_it_leaves(whole: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the mapping as it is; what stands in the way is told, and the same again does nothing."""
    table = Table()
    title = table.put("USER#a", "NOTE#1", title="one")
    (whole.home / "title.json").write_text(json.dumps({"Records": [title]}))
    told = whole("bulk", "reshard", "--shards", "2", "--dry-run")
    assert "notes: from one piece to 2, 2 records" in told
    assert "its history ends where its shards begin" in told
    assert "notes is in one piece: there is nothing to do" in whole("bulk", "reshard", "--shards", "1")
    assert "rebuild --vectors" in whole("bulk", "reembed", ".", "--dimension", "2", code=2)
    whole("pin", "first")
    assert "notes has pins (first)" in whole("bulk", "reshard", "--shards", "2", code=2)
    whole("unpin", "first")

    here = Here(str(whole.home / "store"), whole.home / "workspace", str(whole.home / "mapping.yaml"), 500)
    run_task({"task": "reshard", "collection": "notes", "shards": 2}, here)
    assert "A reshard to 2 shards is under way." in whole("status")
    assert "notes.1-0 holds records of notes too" in whole("erase", "USER#a#NOTE#1", code=2)
    run_task({"task": "close", "collection": "notes", "generation": 1}, here)
    assert "The collection is closed: a reshard hands over to generation 1" in whole("status")
    assert "notes is closed" in whole("compact", "title.json", code=3)
    given_up = printed(whole, "bulk reshard", "--undo")
    assert (0, ["notes"], ["notes"]) == (given_up["generation"], given_up["shards"], given_up["opened"])
    assert "notes: it is in one piece, and no other shards come" in whole("bulk", "reshard", "--undo")

    done = printed(whole, "bulk reshard", "--shards", "2")
    assert ("resharded", 2, 1) == (done["outcome"], done["generation"], done["from"])
    assert "notes is in 2 shards: there is nothing to do" in whole("bulk", "reshard", "--shards", "2")
    assert "already initialised" in whole("init", "--dimension", "3", code=2)
    assert "1 applied" in whole("compact", "title.json")
    assert "one" in whole("query", "--id", "USER#a#NOTE#1")
    (whole.home / "mirror").mkdir()
    assert "notes: 1 lineage" in (told := whole("bulk", "sweep", "--mirror", "mirror"))
    assert "in the mirror" in told
    swept = printed(whole, "bulk sweep", "--delete", "--grace", "0s", "--mirror", "mirror")
    assert (["notes"], []) == ([each["name"] for each in swept["shards"]], swept["mirror"])
    assert 2 == len(whole.json("verify"))
