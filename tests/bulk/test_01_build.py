"""Bulk builds: what is built, and what is refused with everything as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.bulk import shards
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.bulk.work import Work
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Settings
from chroma_lifecycle.deltas import allowance
from chroma_lifecycle.errors import BadInput, LifecycleError, NotInitialised, NotOwned, Retryable
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import ADOPTED
from chroma_lifecycle.wiring import compactor, create_store
from tests.support import bombs
from tests.support.bulk import COLLECTION, Build, data_set_records, ids, write_input
from tests.support.table import Table, in_sqs
from tests.support.watching import Crash, whole_store

STEPS: tuple[tuple[Any, str], ...] = (
    (publication.Publication, "store_objects"),
    (publication.Publication, "store_manifest"),
    (publication.Publication, "move_head"),
    (Work, "put"),
    (shards, "publish_layout"),
)
FILES = (ids(0, 90), ids(90, 150), ids(150, 151))


@pytest.mark.parametrize("parts", [0, 3])
def test_what_is_built_is_what_the_files_hold(tmp_path: Path, parts: int) -> None:
    """Every record of every file is there with its content, in the shard that its id decides, and nothing else."""
    build = Build(tmp_path, parts).write(*FILES)

    told: list[int] = []
    *_, finished = build.run(told.append)

    assert data_set_records(*sorted((tmp_path / "data").iterdir())) == build.records()
    assert 151 == sum(shard["records"] for shard in finished["shards"])
    assert 151 == sum(told) - sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert [] == build.left()
    for name in build.lineages():
        assert not verify_store(read_published(build.store, name), build.store).damage


def test_a_bomb_in_a_data_set_is_refused(tmp_path: Path) -> None:
    """C11: the file is named, and nothing is built; what packs as well in the hands of a task is none."""
    build = Build(tmp_path, 2).write(FILES[0])
    bombs.vectors(tmp_path / "data/part-1.parquet", groups=100)

    with pytest.raises(BadInput, match=r"part-1\.parquet.* unpack to 1,310,834,900 or more; allowed: 268,435,456"):
        build.run()

    assert not list((tmp_path / "store").rglob("HEAD"))


def test_what_a_task_packed_well_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be taken as it is: its shards, which pack better, are taken as well."""
    build = Build(tmp_path, 2).write(FILES[0])
    monkeypatch.setattr(allowance, "ALWAYS_BYTES", 0)
    monkeypatch.setattr(allowance, "MOST_TIMES", 100)
    split, *rest = list(build.events())
    run_task(split, build.here)
    held = data_set_records(*(tmp_path / "data").iterdir())
    monkeypatch.setattr(allowance, "MOST_TIMES", 0)

    for event in rest:
        run_task(event, build.here)

    assert held == build.records()


def test_a_shard_without_records_is_there(tmp_path: Path) -> None:
    """A layout names every shard, so one that gets no record begins empty."""
    build = Build(tmp_path, 3).write(["USER#1#NOTE#1"])

    *_, finished = build.run()

    assert [0, 0, 1] == sorted(shard["records"] for shard in finished["shards"])
    assert {"USER#1#NOTE#1"} == build.records().keys()


def test_what_is_built_is_older_than_every_change(tmp_path: Path) -> None:
    """The records belong to one run at the position of an adoption: what the stream brings wins."""
    build = Build(tmp_path).write(*FILES)
    build.run()

    published = read_published(build.store, COLLECTION)
    with files_of(published.manifest, Stores(build.store)) as files, Ledger.open(files / LEDGER) as ledger:
        (run,) = ledger.runs()

        assert (ADOPTED, 151) == (run.position, run.records)
        assert {"adopted"} == ledger.origins()
    assert ("bulk-build", 151) == (
        published.manifest.details.summary.action,
        published.manifest.details.summary.added,
    )


def test_a_build_that_is_done_is_done(tmp_path: Path) -> None:
    """Run again, every task finds its work done; not one byte of the store changes."""
    build = Build(tmp_path, 2).write(*FILES)
    first = build.run()
    before = whole_store(tmp_path / "store")

    again = build.run()

    assert before == whole_store(tmp_path / "store")
    assert [True] * 2 == [shard["already"] for shard in again[-3:-1]]
    assert [shard["lineage"] for shard in first[-3:-1]] == [shard["lineage"] for shard in again[-3:-1]]


def test_a_build_that_is_done_stays_done_when_changes_have_come(tmp_path: Path) -> None:
    """Records that were removed since are not missing."""
    build, table = Build(tmp_path).write(*FILES), Table()
    build.run()
    (tmp_path / "deltas").mkdir()
    around = Settings(store=build.here.store, mapping=str(build.here.mapping), workspace=tmp_path / "compacting")
    table.put("USER#1", "NOTE#1", title="new")
    with compactor(around) as machine:
        machine.compact(in_sqs([table.remove("USER#1", "NOTE#1")]))
    assert 150 == len(build.records())

    *_, finished = build.run()

    assert [150] == [shard["records"] for shard in finished["shards"]]


def _dead_at(build: Build, at: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the build, dead before or after the step of this number that stores or publishes; return whether it died."""
    steps = 0

    def dying(original: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == at and not after:
                raise Crash("before")
            result = original(*args, **kwargs)
            if steps == at:
                raise Crash("after")
            return result

        return step

    with monkeypatch.context() as patch:
        for owner, name in STEPS:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        try:
            build.run()
        except Crash:
            return True
    return False


@pytest.mark.parametrize("after", [False, True])
def test_a_build_that_dies_anywhere_goes_on(tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead at any step that stores something, run again: the same lineages, every record once, nothing to recover."""
    build = Build(tmp_path, 2).write(ids(0, 30), ids(30, 40))
    at, died = 1, True
    while died:
        died = _dead_at(build, at, after, monkeypatch)
        at += 2  # a step that was done is found done, so each attempt comes further

    assert at > 7, "it should have died a few times"
    assert set(ids(0, 40)) == build.records().keys()
    assert [1, 1] == [read_published(build.store, name).manifest.version.number for name in build.lineages()]
    assert [] == build.left()


def test_an_attempt_that_was_cut_off_before_its_head_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest without HEAD, of the same job, is left behind; that of anybody else still asks for `recover`."""
    build = Build(tmp_path).write(*FILES)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(publication.Publication, "move_head", _crash)
        build.run()
    manifests = list((tmp_path / "store/notes/manifests").iterdir())
    assert 1 == len(manifests)

    other = Build(tmp_path, work="other")
    with pytest.raises(BadInput, match="has no HEAD") as refused:
        other.run()
    assert "recover" in refused.value.hint
    build.run()

    assert 151 == len(build.records())


def _crash(*args: object) -> None:
    raise Crash("here")


# What is refused.


def refused(build: Build, match: str, **changed: Any) -> LifecycleError:
    """Run a build that is refused; no HEAD and no layout is there afterwards, and no task left anything."""
    with pytest.raises(BadInput, match=match) as problem:
        build.run(**changed)
    assert build.store.read_head(COLLECTION) is None
    assert [] == build.left()
    return problem.value


def test_an_id_that_two_files_have_is_refused(tmp_path: Path) -> None:
    """Which of the two is meant nobody can say: the file and the id are named, the shard is not begun."""
    build = Build(tmp_path, 2).write(ids(0, 20), ids(19, 30))

    problem = refused(build, r"part|00001-0.*USER#6#NOTE#19.*an id that another record")

    assert "USER#6#NOTE#19" in problem.message


def test_a_vector_of_another_dimension_is_refused(tmp_path: Path) -> None:
    """The file, the record and both dimensions are named before anything is built."""
    build = Build(tmp_path).write(ids(0, 20))
    write_input(tmp_path / "data/part-1.parquet", ids(20, 30), dimension=3)

    refused(build, r"part-1\.parquet.*record 1 .*3 numbers; collection 'notes' has dimension 4")


def test_an_id_that_the_mapping_does_not_know_is_refused(tmp_path: Path) -> None:
    """A record that no change could ever reach is none of the collection's."""
    refused(Build(tmp_path).write(["ELSE#1"]), "does not fit the mapping's pattern for 'notes'")


@pytest.mark.parametrize(("name", "content"), [("part-1.parquet", b"torn"), ("notes.txt", b"hello")])
def test_what_is_no_parquet_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A damaged file and a foreign one are named."""
    build = Build(tmp_path).write(ids(0, 20))
    (tmp_path / "data" / name).write_bytes(content)

    refused(build, name)


@pytest.mark.parametrize("parts", [0, 2])
def test_a_collection_that_is_there_is_left_alone(tmp_path: Path, parts: int) -> None:
    """A build begins a collection; where there is one, nothing is touched and nothing is read for long."""
    Build(tmp_path, parts).write(*FILES).run()
    before = whole_store(tmp_path / "store")

    with pytest.raises(BadInput, match="notes is already initialised"):
        Build(tmp_path, parts, work="other").run()

    assert before == whole_store(tmp_path / "store")
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize("parts", [0, 2])
def test_what_was_cut_anew_is_not_built_over(tmp_path: Path, parts: int) -> None:
    """The layout was lost, and a later generation is there: what was built then would stand beside what has gone on."""
    build = Build(tmp_path, parts).write(ids(0, 5))
    with Workspace.open(tmp_path / "other") as workspace:
        name = f"{COLLECTION}.2-0"
        store = create_store(build.here.store)
        begin(Beginning(name, None, store, workspace, SYSTEM_CLOCK, "x"), CollectionSettings("l2", 4))
    with pytest.raises(BadInput, match=rf"{name} says that {COLLECTION} was cut anew"):
        build.run()
    assert not (tmp_path / build.work / COLLECTION).exists()


def test_a_shard_that_somebody_else_has_begun_is_left_alone(tmp_path: Path) -> None:
    """Its lineage is not the job's: the build ends there, and the layout is not made."""
    build = Build(tmp_path, 2).write(*FILES)
    events = list(build.events())
    for event in events[:4]:
        run_task(event, build.here)
    other = Build(tmp_path, 2, work="other")
    for event in list(other.events())[:5]:
        run_task(event, other.here)

    with pytest.raises(BadInput, match=r"notes\.1-0 is already initialised"):
        run_task({**events[4], "number": 0}, build.here)
    assert build.store.read_head(COLLECTION) is None


@pytest.mark.parametrize(
    ("changed", "named"), [({"dimension": 5}, "dimension"), ({"space": "ip"}, "space"), ({"source": "/"}, "source")]
)
def test_another_build_in_the_same_place_is_refused(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    """Going on means the same job: what differs is named."""
    build = Build(tmp_path).write(*FILES)
    list(build.events())

    hint = refused(build, f"begun with another {named}", **changed).hint
    assert "--work" in hint
    # What the hint says can be done: given up, the other one begins.
    shutil.rmtree(hint.partition("remove ")[2].partition(";")[0])
    if named != "source":
        run_task({**build.event, **changed}, build.here)


def test_a_data_set_that_changed_under_way_is_refused(tmp_path: Path) -> None:
    """What the job was begun with is no longer there."""
    build = Build(tmp_path).write(*FILES)
    list(build.events())
    (tmp_path / "data/part-1.parquet").unlink()

    refused(build, r"part-1\.parquet' is gone since the build began")
    write_input(tmp_path / "data/part-1.parquet", ids(90, 95))
    refused(build, r"part-1\.parquet' has another size since the build began")


def test_tasks_out_of_turn_wait_for_theirs(tmp_path: Path) -> None:
    """An engine that runs them in another order is told so, and can try again."""
    build = Build(tmp_path, 2).write(*FILES)
    *_, gather, first, _, finish = build.events()
    for event in (gather, first, finish):
        with pytest.raises(Retryable, match="not done"):
            run_task(event, build.here)
    with pytest.raises(NotInitialised):
        read_published(build.store, "notes.1-0")
    build.run()

    assert 151 == len(build.records())


def test_two_that_do_the_same_task_do_not_meet(tmp_path: Path) -> None:
    """On one machine the second is refused while the first is at work."""
    build = Build(tmp_path).write(*FILES)
    events = list(build.events())

    with Workspace.open(tmp_path / "workspace/.bulk/tasks/notes.split-0"), pytest.raises(NotOwned, match="in use by"):
        run_task(events[0], build.here)
    build.run()

    assert 151 == len(build.records())


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({}, "no task None"),
        ({"task": "plan"}, "collection"),
        ({"task": "split", "collection": "notes", "work": "nowhere"}, "no build of notes"),
        ({"task": "plan", "collection": "notes", "work": "w", "space": "round", "source": "s"}, "space 'round'"),
    ],
)
def test_an_event_that_is_none_is_refused(
    tmp_path: Path, event: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an engine was told to send is checked like any other input."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(BadInput, match=named):
        run_task(event, Build(tmp_path).here)
