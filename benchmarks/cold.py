"""A container that begins: a restore against plain GETs, with and without a bound; and one that is behind."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.cycles import labels, traffic
from benchmarks.figures import Spread, by_turns, ratio, seconds_of
from benchmarks.receipts import COLLECTION, Editor
from benchmarks.servers import held_to
from benchmarks.site import Site, published_by
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.publishing.transfer import WORKERS
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.s3 import fault_proxy

LINK_BYTES_A_SECOND = 75e6
_BEHIND = 10


def restore(site: Site, store: Store, name: str) -> None:
    """Bring the workspace of this name to the newest version, reading from *store*."""
    with Workspace.open(site.room / name) as workspace:
        published = read_published(store, COLLECTION, local=workspace.pristine.version())
        bring_forward(workspace, published, store, None, Deadline())


def measure_restore(site: Site, rounds: int) -> dict[str, Any]:
    """Restore into empty workspaces, by turns with plain GETs of the same objects by as many threads."""
    names = _objects(site)
    with held_to(site.url, LINK_BYTES_A_SECOND) as held:
        return {
            "megabytes": round(sum(names.values()) / 1e6, 2),
            "objects": len(names),
            "loopback": _compare(site, site.url, names, rounds, "loopback", 2.5),
            "held": _compare(site, held, names, rounds, "held", 1.3),
        }


def _compare(site: Site, url: str, names: dict[str, int], rounds: int, name: str, limit: float) -> dict[str, Any]:
    # A client takes as long to make as a version to read; it is made before, for us and for the plain GETs.
    client, store = site.s3(url), site.store(url)

    def get(key: str) -> int:
        return len(client.get_object(Bucket=site.bucket, Key=key)["Body"].read())

    def plain(_: int) -> float:
        with ThreadPoolExecutor(WORKERS) as threads:
            return seconds_of(lambda: sum(threads.map(get, names)))

    def ours(number: int) -> float:
        workspace = f"cold-{name}-{number}"
        seconds = seconds_of(lambda: restore(site, store, workspace))
        # What the next one writes shall find the memory of this one, as the plain GETs do.
        shutil.rmtree(site.room / workspace)
        return seconds

    restored, got = by_turns(rounds, ours, plain)
    return {
        "ratio": ratio(restored, got),
        "limit": limit,
        "seconds": Spread.of(restored).rounded(4),
        "plain_seconds": Spread.of(got).rounded(4),
    }


def _objects(site: Site) -> dict[str, int]:
    """Return the keys that a restore reads, and how long they are: counted where they pass."""
    with fault_proxy(site.url) as proxy:
        restore(site, site.store(proxy.url), "counted")
        return {
            seen.path.partition(f"/{site.bucket}/")[2].partition("?")[0]: seen.received_bytes for seen in proxy.seen
        }


def measure_behind(site: Site, editor: Editor) -> dict[str, Any]:
    """Publish ten versions, and bring a workspace that has the one before them forward."""
    restore(site, site.store(), "behind")
    sizes = []
    with fault_proxy(site.url) as writing, site.compactor("ahead", url=writing.url) as machine:
        for _ in range(_BEHIND):
            change = labels(100)(site, editor)
            writing.forget()
            published_by(machine, change.events)
            sizes.append(sum(seen.sent_bytes for seen in writing.seen if seen.path.rpartition("/")[2] != "HEAD"))
    with fault_proxy(site.url) as reading:
        store = site.store(reading.url)
        seconds = seconds_of(lambda: restore(site, store, "behind"))
        seen = traffic(reading)
    return {
        "versions": _BEHIND,
        "published_megabytes": round(sum(sizes) / 1e6, 4),
        "received_megabytes": round(seen.received_bytes / 1e6, 4),
        "requests": seen.requests,
        "seconds": round(seconds, 4),
    }
