"""C1: write, close, copy the instant that the close returns, open the copy; and proof that this can fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from chromadb.api.client import Client

from chroma_lifecycle.chroma import closing, systems
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.errors import Corrupt, NotClosed
from chroma_lifecycle.snapshot.descriptors import below
from scripts.closing_experiment import old_recipe
from scripts.closing_holder import Holder, writing
from tests.support.closing_cycles import write_and_close


def test_a_copy_taken_when_the_close_returns_is_whole(directory: Path, rounds: Callable[[int, int], int]) -> None:
    """C1: no descriptor, quick check, count and nearest neighbour, in each of 200 cycles on one path."""
    for number in range(rounds(12, 200)):
        write_and_close(directory, number, close_client)


def test_beside_a_second_client_that_writes_no_close_succeeds(
    directory: Path, rounds: Callable[[int, int], int]
) -> None:
    """C1, C6: each close fails and lists the descriptors; when the other has ended, the copy is whole."""
    for number in range(rounds(4, 200)):
        with writing(directory) as other:
            with pytest.raises(NotClosed, match=r"chroma\.sqlite3 \(process"):
                write_and_close(directory, number, close_client)
            assert other.problem is None, "the other client was not harmed"
        close_client(other.client)
        write_and_close(directory, number, close_client)


@pytest.fixture
def copies(template: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Make fresh copies: what two systems that write leave behind is not sound, and may look it.

    Each has its own picture of the HNSW files; the one that writes them last wins, and vectors of
    the other are gone while every size and count is right.
    """
    return lambda number: Path(shutil.copytree(template, tmp_path / f"chroma-{number}"))


def test_beside_another_spelling_of_the_path_no_close_succeeds(
    copies: Callable[[int], Path], rounds: Callable[[int, int], int]
) -> None:
    """C6: to Chroma another spelling is another system, which its count of clients does not know."""
    for number in range(rounds(2, 50)):
        directory = copies(number)
        with writing(f"{directory}/.") as other, pytest.raises(NotClosed, match="another client of this process"):
            write_and_close(directory, number, close_client)
        with suppress(Corrupt):
            close_client(other.client)


def test_beside_another_process_that_writes_no_close_succeeds(
    copies: Callable[[int], Path], holder: Holder, rounds: Callable[[int, int], int]
) -> None:
    """C6: a holder in another process that came after the opening is found by its descriptors."""
    for number in range(rounds(2, 20)):
        directory = copies(number)

        def close(client: Any, directory: Path = directory) -> None:
            assert "did open" == holder.tell("open", directory)
            close_client(client)

        with pytest.raises(NotClosed, match=rf"process {holder.pid}"):
            write_and_close(directory, number, close)
        holder.tell("close")


@pytest.fixture
def cleared(directory: Path) -> Any:
    """End whatever a broken close left open."""
    yield
    for system in systems.on_directory(directory):
        systems.stop(system)
    wait_until(lambda: not below(directory), timeout_seconds=5.0)


@pytest.mark.usefixtures("cleared")
def test_the_cycle_goes_red_with_the_old_recipe(directory: Path) -> None:
    """Mutation: clearing references, collecting garbage and waiting releases nothing, at the first cycle."""
    with pytest.raises(AssertionError, match="while the directory was open"):
        write_and_close(directory, 0, old_recipe)


@pytest.mark.usefixtures("cleared")
def test_the_cycle_goes_red_without_the_proof(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation: beside a second client, a close that does not wait and look lets a copy begin.

    Mostly it reports success, and the descriptors show the lie; or what it reads is torn by then.
    """
    monkeypatch.setattr(closing, "_prove_closed", lambda *_, **__: None)
    with writing(directory), pytest.raises((AssertionError, Corrupt, NotClosed)):
        write_and_close(directory, 0, close_client)


@pytest.mark.usefixtures("cleared")
@pytest.mark.skipif(not hasattr(Client, "close"), reason="this Chroma has no close()")
def test_the_cycle_goes_red_with_chromas_close_alone(directory: Path) -> None:
    """Mutation: beside a second client, Chroma's own close() releases nothing."""
    with writing(directory), pytest.raises(AssertionError, match="while the directory was open"):
        write_and_close(directory, 0, lambda client: client.close())
