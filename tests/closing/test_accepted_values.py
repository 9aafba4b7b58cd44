"""What the checks let through, Chroma takes and gives back: on every supported release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.plan import Plan, Write

EDGES: list[Any] = [
    *(True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1),
    *(0.0, 1.5, -2.25, 1e300, 5e-324),
    *("", " ", "a#b", "Zoë", "日本", "\U0001f600", "line\nbreak", "x" * 10_000),
]
REFUSED: list[Any] = [2**63, -(2**63) - 1, float("nan"), float("inf"), [1, 2], {"a": 1}, "\ud800", b"bytes"]


def test_every_value_that_is_accepted_comes_back_as_it_was(tmp_path: Path) -> None:
    """L16: numbers at their limits, texts of all kinds; type and value are the same afterwards."""
    ids = [f"r#{number}" for number in range(len(EDGES))]
    metadatas = [{"edge": value, "same": number} for number, value in enumerate(EDGES)]
    with DeltaWriter(tmp_path / "delta.parquet", dimension=2) as writer:
        writer.add(ids, np.ones((len(ids), 2), np.float32), [str(value) or None for value in EDGES], metadatas)
    expected = Expectation("words", 2, None, lambda _: True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    delta = open_delta("delta.parquet", directory_deltas(tmp_path), scratch, expected)

    with ManagedClient.open(tmp_path / "chroma", "words", create=CollectionSettings("l2", 2)) as client:
        client.apply(Plan(writes=(Write(delta.address, frozenset(ids), existing=frozenset()),)), {delta.address: delta})
        found = client.collection.get(ids=ids, include=["metadatas", "documents"])

    back = dict(zip(found["ids"], found["metadatas"], strict=True))
    assert [(type(value), value) for value in EDGES] == [(type(back[id_]["edge"]), back[id_]["edge"]) for id_ in ids]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_chroma_refuses_or_spoils_is_refused_before(tmp_path: Path, value: Any) -> None:
    """L16: an integer past 64 bits, NaN, a list, a lone surrogate: the writer says so, and nothing is written."""
    with pytest.raises(BadInput), DeltaWriter(tmp_path / "delta.parquet", dimension=2) as writer:
        writer.add(["r"], np.ones((1, 2), np.float32), [None], [{"edge": value}])

    assert [] == list(tmp_path.iterdir())
