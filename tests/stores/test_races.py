"""Real processes that swap HEAD at the same moment, on every kind of store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.swap import Landed, swap
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.heads import COLLECTION, head_spec, write_id
from tests.support.racing import run_race
from tests.support.s3 import fault_proxy, new_bucket, s3_client, use_server


def check_race(store: Store, kind: str, *, processes: int, rounds: int) -> None:
    assert isinstance(swap(store, head_spec(1), None, parent_of=None), Landed)

    results = run_race(kind, store.address, processes=processes, rounds=rounds)

    for version in range(2, rounds + 2):
        outcomes = {number: outcome for found, number, outcome, _ in results if found == version}
        assert Counter(outcomes.values()) == {"Landed": 1, "Lost": processes - 1}
        (winner,) = (number for number, outcome in outcomes.items() if outcome == "Landed")
        assert {write_id(100 + winner)} == {newest for found, _, _, newest in results if found == version}
    assert read_head(store, COLLECTION).head.version.number == rounds + 1


def test_of_processes_that_link_at_the_same_moment_one_lands(tmp_path: Path) -> None:
    """L5, L6: five writers have compared, none holds a lock: each round one lands, and each loser knows by whom."""
    check_race(DirectoryStore(tmp_path), "directory", processes=5, rounds=10)


def test_of_processes_that_put_at_the_same_moment_one_lands(monkeypatch: pytest.MonkeyPatch) -> None:
    """L5, L6: four writers send their PUT on one ETag together: each round one lands, and each loser knows by whom."""
    with fault_proxy() as proxy:
        use_server(monkeypatch, proxy.url)
        store = S3Store(S3Address(new_bucket(), "p"), s3_client())
        check_race(store, "s3", processes=4, rounds=4)
