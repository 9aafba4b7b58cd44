"""Processes that swap HEAD at the same moment: each has compared before any of them writes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.swap import swap
from chroma_lifecycle.stores import swapping
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.heads import COLLECTION, head_spec
from tests.support.planting import Plant, soundly

_WAIT_SECONDS = 60


def meet_before(function: Callable[..., object], barrier: Barrier) -> Callable[..., object]:
    """Return *function* that waits for the others first, each time that the barrier is armed."""

    def met(*args: object, **kwargs: object) -> object:
        barrier.wait(_WAIT_SECONDS)
        return function(*args, **kwargs)

    return met


def open_directory(address: str, barrier: Barrier) -> Store:
    """Open a directory whose lock is worth nothing, as after a lease that ended: the link alone decides."""
    swapping._try_lock = lambda lock: True
    os.link = meet_before(os.link, barrier)  # type: ignore[assignment]
    return DirectoryStore(Path(address))


def open_s3(address: str, barrier: Barrier) -> Store:
    """Open a store in S3 whose requests leave together."""
    client: Any = make_client("s3")
    client.put_object = meet_before(client.put_object, barrier)
    return S3Store(S3Address.parse(address), client)


def race(kind: str, address: str, number: int, rounds: int, barrier: Barrier, results: Any, plant: Plant) -> None:
    """Try to publish a version on top of each HEAD that there is, *rounds* times; tell how each ended."""
    plant(pytest.MonkeyPatch())
    store = (open_s3 if kind == "s3" else open_directory)(address, barrier)
    for _ in range(rounds):
        seen = read_head(store, COLLECTION)
        version = seen.head.version.number + 1
        new = replace(head_spec(version, 100 + number), serial=seen.head.serial + 1)
        outcome = swap(store, new, seen, parent_of=lambda ref: None)
        newest = outcome.newest.head if hasattr(outcome, "newest") else None
        results.put((version, number, type(outcome).__name__, newest and newest.write_id))
        barrier.wait(_WAIT_SECONDS)


def run_race(
    kind: str, address: str, *, processes: int, rounds: int, plant: Plant = soundly
) -> list[tuple[int, int, str, str | None]]:
    """Return (version, process, outcome, write id of the newest HEAD) for each process and round."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    racers = [
        context.Process(target=race, args=(kind, address, number, rounds, barrier, results, plant))
        for number in range(processes)
    ]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=_WAIT_SECONDS) for _ in range(processes * rounds)]
    for racer in racers:
        racer.join(_WAIT_SECONDS)
        assert racer.exitcode == 0
    return found
