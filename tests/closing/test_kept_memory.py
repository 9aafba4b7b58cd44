"""Chroma's memory stays for the next cycle, as the template says, unless the index may outgrow its room."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from chroma_lifecycle.config import keeps_freed_memory
from chroma_lifecycle.snapshot.hnsw_files import HnswHeader

# Each time another thread, as Chroma has them, allocates 40 MB, writes to every page and frees it. Told is how many
# pages the kernel gave, and what the process has then; twice more outside of the block, with more than was freed.
PROGRAM = """
import ctypes, resource, sys, threading
from pathlib import Path
from chroma_lifecycle.chroma.kept_memory import kept_memory
from chroma_lifecycle.planning.plan import Plan, Write

directory, *works = sys.argv[1:]

def use(size):
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    piece = libc.malloc(size)
    ctypes.memset(piece, 1, size)
    libc.free(piece)

def tell(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use, args=[size])
    thread.start()
    thread.join()
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    megabytes = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
    print(pages, megabytes)

for work in works:
    tail, updates, writes = map(int, work.split(","))
    ids = frozenset(f"new-{number}" for number in range(writes))
    plan = Plan(updates={f"old-{n}": {"label": 1} for n in range(updates)}, writes=(Write("d", ids, frozenset()),))
    with kept_memory(Path(directory), plan, tail):
        tell(40 << 20)
tell(80 << 20)
tell(80 << 20)
"""
PAGES = 40 * 256
FUNCTION = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
LABELS = "0,500,0"


def rounds(chroma: Path, *works: str, environment: dict[str, str] = FUNCTION) -> list[tuple[int, int]]:
    """Pages given and megabytes held, for each work of *tail,updates,writes*, and twice outside."""
    command = [sys.executable, "-c", PROGRAM, str(chroma), *works]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60, env=environment)
    return [(int(pages), int(megabytes)) for pages, megabytes in map(str.split, done.stdout.splitlines())]


def header(maximum: int, elements: int) -> bytes:
    data = struct.pack("<iQQQQQQiIQQQdQ", 0, 0, maximum, elements, 140, 132, 68, 0, 0, 8, 16, 8, 1.0, 100)
    assert (maximum, elements) == (HnswHeader.parse(data).maximum, HnswHeader.parse(data).elements)
    return data


@pytest.fixture
def chroma(tmp_path: Path) -> Path:
    """A directory whose index has room for 100 more elements."""
    (tmp_path / "segment").mkdir()
    (tmp_path / "segment" / "header.bin").write_bytes(header(1_000, 900))
    return tmp_path


@pytest.mark.parametrize("work", [LABELS, "100,500,0", "40,0,60"])
def test_what_was_freed_is_used_again(chroma: Path, work: str) -> None:
    """S2: the kernel need not empty the memory of each cycle anew; what is no work of Chroma's is not kept."""
    _, *again, _, (outside, _) = rounds(chroma, work, work, work)

    assert max(pages for pages, _ in again) < PAGES / 10
    assert outside > 2 * PAGES * 0.9


@pytest.mark.parametrize("work", ["101,500,0", "0,0,101", "50,0,51"])
def test_an_index_that_may_outgrow_its_room_is_mapped(chroma: Path, work: str) -> None:
    """It would be there twice while it is moved. What was kept is given back before: it would be there all along."""
    _, (_, kept), (given, mapped), *_ = rounds(chroma, LABELS, LABELS, work)

    assert given > PAGES * 0.9
    assert mapped < kept - 35


def test_an_index_that_is_not_on_the_disk_is_mapped(tmp_path: Path) -> None:
    """Its whole tail is replayed, from no room at all; so is one whose header says nothing."""
    assert min(pages for pages, _ in rounds(tmp_path, "1,0,0", "1,0,0")) > PAGES * 0.9
    (tmp_path / "segment").mkdir()
    (tmp_path / "segment" / "header.bin").write_bytes(b"torn")
    assert min(pages for pages, _ in rounds(tmp_path, "1,0,0", "1,0,0")) > PAGES * 0.9


@pytest.mark.parametrize("environment", [{}, {"MALLOC_ARENA_MAX": "1"}, {"MALLOC_TRIM_THRESHOLD_": "2147483647"}])
def test_a_process_that_was_told_nothing_is_left_as_it_is(chroma: Path, environment: dict[str, str]) -> None:
    """If memory is kept without, the settings can go."""
    assert not keeps_freed_memory(environment)
    assert min(pages for pages, _ in rounds(chroma, LABELS, LABELS, environment=environment)) > PAGES * 0.9
