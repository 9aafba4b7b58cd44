"""A fork brings a client's open files into the child, and not its threads: the child is told, and harms nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.chroma.ownership import owner_of
from chroma_lifecycle.errors import NotClosed, NotOwned
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.chroma_directories import COLLECTION, opened


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[tuple[int, str]]:
    """Do *work* in a forked child that stays to the end of the block; yield its process and what it was told."""
    answer, says = os.pipe()
    stays, goes = os.pipe()
    if not (child := os.fork()):
        signal.alarm(30)  # a close that waits for threads that are not there would wait for ever
        try:
            work()
            os.write(says, b"nothing raised")
        except NotOwned as told:
            os.write(says, str(told).encode())
        finally:
            os.write(says, b".")
            os.close(goes)
            os.read(stays, 1)
            os._exit(0)
    os.close(says)
    os.close(stays)
    try:
        yield child, os.read(answer, 4096).decode()
    finally:
        os.close(goes)
        os.close(answer)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_client_of_before_the_fork_is_refused_in_the_child_and_names_it_in_the_parent(directory: Path) -> None:
    """Its end would hang there for ever; here, the descriptors that the child inherited make the close fail."""
    client, collection = opened(directory)
    with forked(lambda: close_client(client)) as (child, told):
        assert "make a client in each worker, after the fork" in told
        assert collection.count() > 0
        with pytest.raises(NotClosed, match=f"process {child}"):
            close_client(client)
    assert close_client(client).proven


def test_a_managed_client_stays_its_parents(directory: Path) -> None:
    """Leaving the block in the child, as an exception does, takes neither the record nor the lock away."""
    with ManagedClient.open(directory, COLLECTION) as managed:
        with forked(managed.close) as (_, told):
            assert "before this process was forked" in told
        assert owner_of(directory) is not None
        assert (directory.parent / ".chroma.owner").exists()
    assert () == below(directory)
