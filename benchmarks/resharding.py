"""Shards cut anew, and given new vectors, while labels come; and how long whoever brings them waits.

``python -m benchmarks.resharding URL BUCKET MAPPING WORKSPACE WORDS`` is the function meanwhile: until its input
ends it compacts a batch every half second, and prints what it saw.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from benchmarks.bulk import Load, new_load
from benchmarks.cycles import traffic
from benchmarks.figures import seconds_of
from benchmarks.receipts import COLLECTION, Editor
from benchmarks.servers import ROOT, endpoint
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Settings
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.wiring import compactor, open_store
from tests.support.s3 import FaultProxy, fault_proxy
from tests.support.table import in_sqs

FROM, TO = 2, 4
_LABELS, _EVERY_SECONDS, _AGAIN_SECONDS = 50, 0.5, 0.25
_NEW_DIMENSIONS = 2  # times as many


@dataclass(frozen=True, slots=True)
class Seen:
    """What a function saw that compacted all the time.

    Attributes:
        batches: How many it published.
        median_seconds: What a batch took, by its median.
        slowest_seconds: What the slowest one took, from its first attempt to its last.
        refused: How many attempts were refused or failed.
    """

    batches: int
    median_seconds: float
    slowest_seconds: float
    refused: int


def measure_resharding(url: str, number: int, dimension: int, room: Path) -> dict[str, Any]:
    """Build two shards, make four of them, and give all records other vectors; count what passes to the server."""
    with fault_proxy(url) as proxy, endpoint(proxy.url):
        load = new_load(number, dimension, room, shards=FROM)
        load.put_data_set("data", dimension)
        load.put_data_set("renewed", _NEW_DIMENSIONS * dimension, edition=1)
        given = {"store": load.store("cut"), "mapping": load.mapping(shards=True), "workspace": load.room / "cutting"}
        options = [*(f"--{option}={value}" for option, value in given.items()), "--workers=2"]
        load.run("bulk", "build", f"s3://{load.bucket}/data", f"--dimension={dimension}", *options)
        ways = [
            ("reshard", f"{FROM} shards become {TO}", [f"--shards={TO}"]),
            (
                "reembed",
                f"{TO} shards get vectors of {_NEW_DIMENSIONS * dimension} dimensions",
                [f"s3://{load.bucket}/renewed", f"--dimension={_NEW_DIMENSIONS * dimension}"],
            ),
        ]
        return {
            "records": number,
            "dimension": dimension,
            "load": round(os.getloadavg()[1], 1),
            "labels": _LABELS,
            "every_seconds": _EVERY_SECONDS,
            "ways": [
                {"title": title, **_measured(load, url, proxy, ["bulk", name, *words, *options])}
                for name, title, words in ways
            ],
        }


def _measured(load: Load, url: str, proxy: FaultProxy, words: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with labelling(load, url) as seen:
        proxy.forget()
        seconds = seconds_of(lambda: told.update(load.run(*words)))
        passed = traffic(proxy)
    store = open_store(load.store("cut"))
    names = [shard.name for shard in read_layout(store, COLLECTION).layout.shards]
    found = sum(read_published(store, name).manifest.details.counts.records for name in names)
    if (len(names), found) != (TO, load.records):
        raise RuntimeError(f"{found} of {load.records} records in {len(names)} shards")
    return {
        "seconds": round(seconds, 2),
        "rounds": told["rounds"],
        "closed_seconds": told["closed_seconds"],
        "requests": passed.requests,
        "sent_megabytes": round(passed.sent_bytes / 1e6, 1),
        "received_megabytes": round(passed.received_bytes / 1e6, 1),
        **asdict(seen[0]),
    }


@contextmanager
def labelling(load: Load, url: str) -> Iterator[list[Seen]]:
    """Let labels be compacted meanwhile, past the proxy; give what was seen, once it is over."""
    arguments = [url, load.bucket, str(load.mapping(shards=True)), str(load.room / "labelling"), str(load.records)]
    seen: list[Seen] = []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.resharding", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "begun\n":
            raise RuntimeError("the function that labels did not begin")
        yield seen
        process.stdin.close()
        seen.append(Seen(**json.loads(process.stdout.readline())))


def _label(url: str, bucket: str, mapping: Path, workspace: Path, words: int) -> None:
    settings = Settings(
        store=f"s3://{bucket}/cut", mapping=str(mapping), workspace=workspace, deadline_reserve_seconds=1.0
    )
    editor, over = Editor(words, generation=1 + os.getpid() % 50), threading.Event()
    threading.Thread(target=_wait_for_end, args=(over,), daemon=True).start()
    took, refused = list[float](), 0
    with endpoint(url), compactor(settings) as machine:
        while not over.is_set():
            batch, began = editor.labels(_LABELS).events, SYSTEM_CLOCK.monotonic()
            while batch:
                try:
                    failed = set(machine.compact(in_sqs(batch)).failed_sources())
                except LifecycleError:
                    failed = {f"message-{number}" for number in range(len(batch))}
                batch = [each for number, each in enumerate(batch) if f"message-{number}" in failed]
                if batch:
                    refused += 1
                    threading.Event().wait(_AGAIN_SECONDS)
            if not took:
                print("begun", flush=True)
            took.append(SYSTEM_CLOCK.monotonic() - began)
            over.wait(_EVERY_SECONDS)
    took = took[1:] or took  # the first one restored its shards
    median, slowest = sorted(took)[len(took) // 2], max(took)
    print(json.dumps(asdict(Seen(len(took), round(median, 3), round(slowest, 3), refused))), flush=True)


def _wait_for_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _label(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
