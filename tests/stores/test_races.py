"""Real processes that swap HEAD at the same moment, on every kind of store."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.ports import HeadToken, Store
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.swap import Landed, swap
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.stores.swapping import HeadFiles
from tests.support.heads import COLLECTION, head_spec, write_id
from tests.support.planting import Plant, soundly
from tests.support.racing import run_race
from tests.support.s3 import fault_proxy, new_bucket, s3_client, use_server


def check_race(store: Store, kind: str, *, processes: int, rounds: int, plant: Plant = soundly) -> None:
    assert isinstance(swap(store, head_spec(1), None, parent_of=None), Landed)

    results = run_race(kind, store.address, processes=processes, rounds=rounds, plant=plant)

    for version in range(2, rounds + 2):
        outcomes = {number: outcome for found, number, outcome, _ in results if found == version}
        assert Counter(outcomes.values()) == {"Landed": 1, "Lost": processes - 1}
        (winner,) = (number for number, outcome in outcomes.items() if outcome == "Landed")
        assert {write_id(100 + winner)} == {newest for found, _, _, newest in results if found == version}
    assert read_head(store, COLLECTION).head.version.number == rounds + 1


def a_claim_replaces_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """A rename takes the name also from the writer that has it."""

    def claim(self: Any, unfinished: int, temporary: str, heads: int, serial: int, body: bytes) -> None:
        os.link(temporary, f"{temporary}-claim", src_dir_fd=unfinished, dst_dir_fd=heads)
        os.rename(f"{temporary}-claim", self._leaf(serial), src_dir_fd=heads, dst_dir_fd=heads)

    patch.setattr(HeadFiles, "_claim", claim)


def a_swap_asks_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """A PUT that replaces whatever HEAD there is."""

    def put(self: S3Store, collection: str, body: bytes, **_: object) -> HeadToken:
        answer = self._client.put_object(**self._object(Names(collection).head), **self._body(body))
        return HeadToken(answer["ETag"])

    patch.setattr(S3Store, "swap_head", put)


def test_of_processes_that_link_at_the_same_moment_one_lands(tmp_path: Path) -> None:
    """L5, L6: five writers have compared, none holds a lock: each round one lands, and each loser knows by whom."""
    check_race(DirectoryStore(tmp_path), "directory", processes=5, rounds=10)


def test_of_processes_that_put_at_the_same_moment_one_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    """L5, L6: four writers send their PUT on one ETag together: each round one lands, and each loser knows by whom."""
    with fault_proxy() as proxy:
        use_server(monkeypatch, proxy.url)
        store = S3Store(S3Address(new_bucket(), "p"), s3_client())
        check_race(store, "s3", processes=4, rounds=4)


@pytest.mark.soak
def test_a_planted_defect_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The races are not blind: without the condition of the link, or of the PUT, several land."""
    with pytest.raises(AssertionError, match="'Landed': "):
        check_race(DirectoryStore(tmp_path), "directory", processes=3, rounds=1, plant=a_claim_replaces_what_is_there)
    use_server(monkeypatch)
    store = S3Store(S3Address(new_bucket(), "p"), s3_client())
    with pytest.raises(AssertionError, match="'Landed': "):
        check_race(store, "s3", processes=3, rounds=1, plant=a_swap_asks_for_nothing)
