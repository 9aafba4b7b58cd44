"""Whatever fails, and whenever: no system stays in Chroma's cache, no descriptor stays open.

The fixture ``nothing_left`` looks after every test of this directory.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from chromadb.errors import InternalError

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient, open_engine
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.chroma.engine_errors import is_panic
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoRoom, NotClosed, NotOwned
from chroma_lifecycle.planning.plan import Plan, Write
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.chroma_directories import COLLECTION, connect, fill, make_directory, vectors
from tests.support.closing_cycles import write_and_close
from tests.support.mounts import without_mounts

DATABASE = "chroma.sqlite3"


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 8192 * 4096)


def _flipped_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200)


@pytest.mark.parametrize("damage", [_garbage, _half, _flipped_page])
def test_a_constructor_that_fails_half_way_leaves_nothing(directory: Path, damage: Callable[[Path], None]) -> None:
    """A dead system in the cache would be given to the next opening, which then fails for no cause."""
    path = directory / DATABASE
    sound = path.read_bytes()
    damage(path)
    with pytest.raises(Corrupt, match="opening"):
        open_engine(directory)
    assert ((), ()) == (systems.on_directory(directory), below(directory))

    path.write_bytes(sound)
    with ManagedClient.open(directory, COLLECTION) as client:
        assert 40 == client.collection.count()


def test_a_panic_is_an_error_that_passes_every_handler_of_exceptions(directory: Path) -> None:
    """It is a BaseException; ours is told instead, and the path can be opened again."""
    path = directory / DATABASE
    sound = path.read_bytes()
    _flipped_page(path)
    with pytest.raises(BaseException, match="malformed") as raw:
        connect(directory)
    assert is_panic(raw.value)
    assert not isinstance(raw.value, Exception)
    systems.evict(systems.on_directory(directory)[0])
    assert wait_until(lambda: not below(directory), timeout_seconds=5.0)
    with pytest.raises(Corrupt, match="malformed"):
        open_engine(directory)

    path.write_bytes(sound)
    ManagedClient.open(directory, COLLECTION).close()


def test_the_corpse_of_a_plain_client_that_failed_is_taken_away(directory: Path) -> None:
    """Somebody's constructor failed; his system stands in the cache under our path."""
    path = directory / DATABASE
    sound = path.read_bytes()
    _garbage(path)
    with pytest.raises(InternalError):
        connect(directory)
    # Until its threads have let go, they take whatever is put there for their database.
    assert wait_until(lambda: not below(directory), timeout_seconds=5.0)
    path.write_bytes(sound)
    assert 1 == len(systems.on_directory(directory))

    with ManagedClient.open(directory, COLLECTION) as client:
        assert 40 == client.collection.count()


@pytest.mark.parametrize("problem", [BadInput("x", hint="y"), KeyboardInterrupt(), RuntimeError()])
def test_an_error_in_the_block_closes_the_client_and_goes_on(directory: Path, problem: BaseException) -> None:
    """The client is closed whatever is raised, and what was raised is what the caller gets."""
    with pytest.raises(type(problem)) as raised, ManagedClient.open(directory, COLLECTION) as client:
        raise problem
    assert problem is raised.value
    assert client.close().proven


def test_an_error_in_apply_closes_the_client(directory: Path) -> None:
    """A plan that names a delta which is not there."""
    plan = Plan(writes=(Write("gone.parquet", frozenset("a"), frozenset()),))
    with (
        pytest.raises(BadInput, match=r"gone\.parquet"),
        ManagedClient.open(directory, COLLECTION) as client,
    ):
        client.apply(plan, {})


def test_a_database_spoilt_beneath_the_client_is_corrupt(directory: Path) -> None:
    """The engine says so at the next write; the close says so too, after it let go."""
    with pytest.raises(Corrupt), ManagedClient.open(directory, COLLECTION) as client:
        with (directory / DATABASE).open("r+b") as file:
            file.write(b"\xff" * (directory / DATABASE).stat().st_size)
        client.apply(Plan(updates={"r1": {"label": True}}), {})


def test_a_directory_removed_beneath_the_client_is_not_ours_any_more(directory: Path) -> None:
    """The write fails, the close lets go of the deleted files."""
    client = ManagedClient.open(directory, COLLECTION)
    shutil.rmtree(directory)
    # What the engine says depends on the connection of its pool that it takes.
    with pytest.raises(NotOwned, match=r"update in collection words.*removed or made read-only beneath the client"):
        client.apply(Plan(updates={"r1": {"label": True}}), {})
    report = client.close()

    assert (True, None) == (report.proven, report.soundness)
    assert "removed beneath" in report.note


def test_a_client_ended_by_somebody_else_says_so(directory: Path) -> None:
    """Before 1.5.2, stopping one client's system ends every client of the path."""
    client = ManagedClient.open(directory, COLLECTION)
    systems.stop(systems.on_directory(directory)[0])
    with pytest.raises(NotOwned, match="ended beneath"):
        client.apply(Plan(deletes=("r1",)), {})
    assert client.close().proven


@contextmanager
def _small_disk(room: Path) -> Iterator[None]:
    """A file system of 3 MB at *room*."""
    room.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(room)], capture_output=True)
    if mounted.returncode:
        without_mounts("mounting needs root; the limit on file sizes stands for it")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(room)], check=True)


@contextmanager
def _small_files(room: Path) -> Iterator[None]:
    """No file above 1 MB: what a full disk looks like to a write, without root."""
    room.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("full", "kind"), [(_small_disk, NoRoom), (_small_files, (NoRoom, Corrupt))])
def test_a_full_disk_is_told_and_everything_is_let_go(
    tmp_path: Path, full: Callable[[Path], AbstractContextManager[None]], kind: type[LifecycleError]
) -> None:
    """C15: a clear error; the working directory is thrown away."""
    room = tmp_path / "room"
    with full(room):
        client = ManagedClient.open(room / "chroma", COLLECTION, create=CollectionSettings("cosine", 256))
        with pytest.raises(kind, match="filling"):
            _fill_up(client)
        # What is left may be torn; that it is let go is what counts.
        with suppress(Corrupt, NotClosed):
            assert client.close().proven
        assert () == below(room)


def _fill_up(client: ManagedClient) -> None:
    for number in range(20):
        with client.errors("filling"):
            ids = [f"{number}-{row}" for row in range(500)]
            client.collection.upsert(ids=ids, embeddings=vectors(500, dimension=256))


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Let other processes use up the processors."""
    command = [sys.executable, "-c", "while True: pass"]
    siblings = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for sibling in siblings:
            sibling.kill()
            sibling.wait()


def test_the_close_is_proven_beside_busy_processes(directory: Path, rounds: Callable[[int, int], int]) -> None:
    """The engine's threads get little time to let go; the close waits for them."""
    with _busy(2 * (os.cpu_count() or 1)):
        for number in range(rounds(3, 50)):
            write_and_close(directory, number, close_client)


def test_the_close_is_proven_with_several_collections_loaded(tmp_path: Path) -> None:
    """Each loaded collection has files of its own open."""
    names = tuple(f"collection-{number}" for number in range(4))
    make_directory(tmp_path / "chroma", names=names)
    client = connect(tmp_path / "chroma")
    for name in names:
        client.get_collection(name, embedding_function=None).query(query_embeddings=vectors(1), n_results=1)
    assert len(below(tmp_path / "chroma")) > 4 * len(names)
    report = close_client(client)

    assert report.proven
    assert report.soundness is not None
    assert list(names) == [state.name for state in report.soundness.collections]


def test_the_close_is_proven_with_3000_operations_pending(tmp_path: Path) -> None:
    """They stay in the queue, complete, for the next reader."""
    make_directory(tmp_path / "chroma", records=0, sync_threshold=10_000)
    client = connect(tmp_path / "chroma")
    fill(client.get_collection(COLLECTION, embedding_function=None), 3000)
    report = close_client(client)

    assert report.soundness is not None
    assert [(0, 3000)] == [(state.flushed, state.tail) for state in report.soundness.collections]
    write_and_close(tmp_path / "chroma", 0, close_client)


def test_other_collections_are_named(tmp_path: Path) -> None:
    """One directory holds one collection, of the name asked for."""
    make_directory(tmp_path / "two", names=("places", "words"))
    make_directory(tmp_path / "one", names=("places",))
    for name in ("one", "two"):
        with pytest.raises(BadInput, match=r"holds places.*, not words alone"):
            ManagedClient.open(tmp_path / name, COLLECTION)


def test_a_new_collection_needs_an_empty_directory(directory: Path, tmp_path: Path) -> None:
    """An existing one is never written over; a missing one is made."""
    settings = CollectionSettings("l2", 8)
    with pytest.raises(BadInput, match="is not empty"):
        ManagedClient.open(directory, COLLECTION, create=settings)
    with ManagedClient.open(tmp_path / "new" / "chroma", COLLECTION, create=settings) as client:
        assert (8, "l2") == (client.dimension, client.collection.configuration_json["hnsw"]["space"])


def test_no_directory_is_bad_input(tmp_path: Path) -> None:
    """L13, L23: opening never creates."""
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        with pytest.raises(BadInput, match=name):
            ManagedClient.open(tmp_path / name, COLLECTION)
    assert ["empty"] == [path.name for path in tmp_path.rglob("*")]


def test_a_name_that_chroma_refuses_leaves_nothing(tmp_path: Path) -> None:
    """The client was open by then: it is closed again."""
    with pytest.raises(BadInput, match="collection x"):
        ManagedClient.open(tmp_path / "new", "x", create=CollectionSettings("ip", 8))
    assert ((), ()) == (systems.on_directory(tmp_path / "new"), below(tmp_path))
