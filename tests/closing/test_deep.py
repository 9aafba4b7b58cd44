"""The deep check: records of every collection find themselves, in a child whose death is an answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chroma_lifecycle.chroma import deep
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.deep import Probe, verify_deep
from chroma_lifecycle.errors import Corrupt, NotClosed, NoTime
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.hnsw_files import HnswHeader
from tests.support.chroma_directories import COLLECTION, content, make_directory, segment_of


def test_every_record_of_sound_collections_finds_itself(tmp_path: Path) -> None:
    """Flushed or in the queue, empty or full; the directory is not changed."""
    directory = tmp_path / "chroma"
    make_directory(directory, records=90, names=("places", "words"))
    before = content(directory)
    assert (Probe("places", 90, 64, 64), Probe("words", 90, 64, 64)) == verify_deep(directory)
    assert before == content(directory)


def test_neighbours_that_are_lost_are_found(tmp_path: Path) -> None:
    """C16: no element knows a neighbour; every size and structure is right, and searches miss."""
    directory = tmp_path / "chroma"
    make_directory(directory, records=90)
    segment = segment_of(directory)
    header = HnswHeader.parse((segment / "header.bin").read_bytes())
    data = bytearray((segment / "data_level0.bin").read_bytes())
    for element in range(header.elements):
        data[element * header.element_bytes : element * header.element_bytes + 4] = bytes(4)
    (segment / "data_level0.bin").write_bytes(data)
    soundness.examine(directory, full=True)

    with pytest.raises(Corrupt, match=r"\d of 64 records of collection words find themselves"):
        verify_deep(directory)


def test_a_crash_of_the_engine_is_an_answer(directory: Path) -> None:
    """C16: random bytes among the vectors end the process that reads them: not this one."""
    elements = segment_of(directory) / "data_level0.bin"
    elements.write_bytes(os.urandom(elements.stat().st_size))
    with pytest.raises(Corrupt):
        verify_deep(directory)
    # Without the structural check before it, the child is what stands between the engine and us.
    with pytest.raises(Corrupt, match=r"died \(SIG|records|engine|hnsw|Error"):
        _require_found(deep._ask_child(directory, directory, 64, 600.0))


def _require_found(probes: tuple[Probe, ...]) -> None:
    for probe in probes:
        if probe.found < probe.asked:
            raise Corrupt("fewer records were found", hint="")


def test_an_open_directory_is_not_copied(directory: Path) -> None:
    with ManagedClient.open(directory, COLLECTION), pytest.raises(NotClosed):
        verify_deep(directory, closed_within_seconds=0.05)


def test_a_child_that_gives_no_answer_is_ended(directory: Path) -> None:
    """S11: it may hang instead of dying."""
    with pytest.raises(NoTime, match="no answer"):
        verify_deep(directory, timeout_seconds=0.2)
