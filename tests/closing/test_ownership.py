"""C6: one client owns a directory; every other is refused and told who has it."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from chroma_lifecycle.chroma import ownership, systems
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.chroma.ownership import Owner, own, owner_of, record_path
from chroma_lifecycle.errors import BadInput, NotClosed, NotOwned
from chroma_lifecycle.snapshot.descriptors import below
from scripts.closing_holder import Holder
from tests.support.chroma_directories import COLLECTION, connect


def test_two_directories_in_one_process_are_nothing_to_each_other(directory: Path, tmp_path: Path) -> None:
    """C5: this covers a case where both clients had one settings object before 1.5.2, and so one path: a compactor
    beside a reader could not close, and a directory was taken for another one.
    """
    second = Path(shutil.copytree(directory, tmp_path / "second"))
    with ManagedClient.open(directory, COLLECTION) as one, ManagedClient.open(second, COLLECTION) as other:
        homes = [systems.directory_of(systems.system_of(each._client)) for each in (one, other)]
        assert [directory.resolve(), second.resolve()] == homes
        assert one.collection.count() == other.collection.count()
        other.close()
        assert () == below(second)
        assert one.collection.count()


def test_a_second_managed_client_is_refused_by_name(directory: Path) -> None:
    """The error says which process, which host, since when, for which collection."""
    with ManagedClient.open(directory, COLLECTION) as client:
        owner = owner_of(directory)
        with pytest.raises(NotOwned) as refusal:
            ManagedClient.open(directory, COLLECTION)
        assert client.collection.count() == 40

    assert owner is not None
    assert (os.getpid(), socket.gethostname(), COLLECTION) == (owner.pid, owner.host, owner.collection)
    assert f"process {os.getpid()} on {socket.gethostname()} since {owner.since}" in str(refusal.value)
    assert owner_of(directory) is None


@pytest.mark.parametrize("spelling", ["{}/.", "{}/../chroma", "link"])
def test_another_spelling_of_the_path_is_the_same_directory(directory: Path, spelling: str) -> None:
    """Six spellings are six systems to Chroma; ownership goes by the resolved path."""
    link = directory.with_name("link")
    link.symlink_to(directory)
    again = link if spelling == "link" else Path(spelling.format(directory))
    with ManagedClient.open(directory, COLLECTION), pytest.raises(NotOwned, match="in this process already"):
        ManagedClient.open(again, COLLECTION)


def test_a_plain_client_of_this_process_is_a_holder(directory: Path) -> None:
    """Chroma's cache tells of clients that nobody passed to us, however they spelled the path."""
    plain = connect(f"{directory}/")
    with pytest.raises(NotOwned, match="another Chroma client"):
        ManagedClient.open(directory, COLLECTION)
    close_client(plain)

    with ManagedClient.open(directory, COLLECTION) as client:
        assert client.collection.count() == 40


def test_an_open_file_of_this_process_is_a_holder(directory: Path) -> None:
    """Somebody hashes the database: opening it now, or closing their handle then, would drop locks."""
    with (directory / "chroma.sqlite3").open("rb"), pytest.raises(NotOwned, match=r"chroma\.sqlite3"):
        own(directory, COLLECTION, timeout_seconds=0.05)
    own(directory, COLLECTION).release()


def test_a_managed_client_of_another_process_is_refused_by_name(directory: Path, holder: Holder) -> None:
    """The owner's record stands beside the directory, and is locked."""
    assert "did hold" == holder.tell("hold", directory)
    owner = owner_of(directory)
    with pytest.raises(NotOwned, match=rf"in another process: process {holder.pid} on .* for collection {COLLECTION}"):
        ManagedClient.open(directory, COLLECTION)
    holder.tell("close")

    assert owner is not None
    assert holder.pid == owner.pid
    assert not record_path(directory).exists()
    ManagedClient.open(directory, COLLECTION).close()


def test_an_owner_that_was_killed_is_recognised_as_stale(directory: Path, holder: Holder) -> None:
    """The kernel drops its lock; the record is told, and replaced."""
    holder.tell("hold", directory)
    holder.kill()
    assert record_path(directory).exists()
    assert owner_of(directory) is None

    ours = own(directory, COLLECTION)
    assert ours.stale is not None
    assert (holder.pid, os.getpid()) == (ours.stale.pid, ours.owner.pid)
    ours.release()
    assert not record_path(directory).exists()


def test_a_plain_client_of_another_process_is_a_holder(directory: Path, holder: Holder) -> None:
    """It has no record; its descriptors tell, at the opening and at the close."""
    with ManagedClient.open(directory, COLLECTION) as client:
        holder.tell("open", directory)
        with pytest.raises(NotClosed, match=rf"process {holder.pid}"):
            client.close()
        with pytest.raises(NotOwned, match=rf"process {holder.pid}"):
            ManagedClient.open(directory, COLLECTION)
        holder.tell("close")


def test_a_record_that_was_cut_off_names_nobody_and_stops_nobody(directory: Path) -> None:
    """A process died while it wrote the record."""
    record_path(directory).write_bytes(b'{"format": "chroma-li')
    ours = own(directory, COLLECTION)
    assert ours.stale is None
    ours.release()


def test_a_record_that_goes_while_we_wait_for_its_lock_is_made_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner gave the directory back after we had opened the file: a lock on a file without a name stops nobody."""
    try_lock = ownership._try_lock

    def after_it_went(handle: int, kind: int) -> bool:
        monkeypatch.setattr(ownership, "_try_lock", try_lock)
        record_path(directory).unlink()
        return try_lock(handle, kind)

    monkeypatch.setattr(ownership, "_try_lock", after_it_went)
    ours = own(directory, COLLECTION)
    assert Owner.parse(record_path(directory).read_bytes()) == ours.owner
    ours.release()


def test_nothing_of_the_record_is_in_the_directory(directory: Path) -> None:
    """What is in the directory gets published."""
    before = sorted(path.name for path in directory.iterdir())
    ours = own(directory, COLLECTION)
    assert before == sorted(path.name for path in directory.iterdir())
    assert directory.parent == record_path(directory).parent
    ours.release()
    ours.release()


def test_an_owner_reads_back_as_written() -> None:
    owner = Owner(7, "host", "2026-01-01T00:00:00+00:00", "words")
    assert owner == Owner.parse(owner.encode())


def test_a_record_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    """The directory's name leaves no room for the record's beside it."""
    long = tmp_path / ("x" * 255)
    long.mkdir()
    with pytest.raises(BadInput, match="owner's record"):
        own(long, COLLECTION)
