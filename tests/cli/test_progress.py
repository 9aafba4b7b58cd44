"""What a terminal is told of long work: how much of how much, how fast, how long still; and who counts it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chroma_lifecycle.cli.progress import Watched, alone, counted, moved
from tests.support.command_line import CommandLine
from tests.support.memory_store import MemoryStore


def test_a_line_says_what_is_known() -> None:
    """At first nothing but what is done; then the rate; what is left where the whole is known."""
    assert "restoring: 0 B" == moved("restoring", 0, None, None, None)
    assert "restoring: 1.5 MB of 3.0 GB" == moved("restoring", 1_500_000, 3e9, None, None)
    assert "restoring: 1.5 MB of 3.0 GB, 12.0 MB/s, 4 min left" == moved("restoring", 1_500_000, 3e9, 12e6, 250.0)
    assert "moving: 1.5 MB, 12.0 MB/s" == moved("moving", 1_500_000, None, 12e6, None)
    assert "items read: 1,200, 56/s" == counted("items read", 1_200, None, 56.4, None)
    assert "sweeping" == alone("sweeping", 1, 2, 3, 4)


def test_a_watched_store_counts_what_goes_through_it_in_any_thread() -> None:
    """Objects read and written, to the byte; more than was expected is the whole."""
    told: list[tuple[int, int | None]] = []
    store = MemoryStore()
    watched = Watched(store, lambda done, total: told.append((done, total)), 3_000)
    names = [f"notes/objects/{number}" for number in range(40)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: watched.write(name, bytes(100)), names))
    assert bytes(100) == watched.read(names[0], limit_bytes=100)

    assert [*range(100, 4_200, 100)] == [done for done, _ in told]
    assert {3_000} == {total for done, total in told if done <= 3_000}
    assert (4_100, 4_100) == told[-1]
    assert 40 == len(list(store.list("notes/")))


def test_a_pipe_is_told_nothing(cli: CommandLine) -> None:
    """Whoever reads standard error by a program gets errors alone."""
    for command in (["restore", "--to", "out"], ["verify"], ["log"]):
        assert "" == cli.at(*command).err
