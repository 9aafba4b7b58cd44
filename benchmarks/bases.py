"""What a new base adds to the cycles before it: bytes and objects, after as many packs as the policy lets be."""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from benchmarks.cycles import labels, traffic, upserts
from benchmarks.receipts import Editor
from benchmarks.site import Site, published_by
from tests.support.s3 import fault_proxy

_KINDS = {"100 scattered label updates": labels(100), "100 upserts": upserts(100)}


def measure_bases(site: Site, editor: Editor) -> list[dict[str, Any]]:
    """Return for each kind of cycle what a new base took, and what a cycle takes with its share of it.

    A cycle that is followed by a new base sends both; what is over that of the others is the base's.
    """
    rows = []
    with fault_proxy(site.url) as proxy, site.compactor("bases", url=proxy.url) as machine:
        for title, make in _KINDS.items():
            sent: list[int] = []
            puts: list[int] = []
            packs = len(site.published().manifest.chain.packs)
            while True:
                change = make(site, editor)
                proxy.forget()
                published_by(machine, change.events)
                seen = traffic(proxy)
                before, packs = packs, len(site.published().manifest.chain.packs)
                if packs <= before and len(sent) > 1:
                    break
                if packs <= before:  # a base that was due from what came before
                    sent.clear()
                    puts.clear()
                    continue
                sent.append(seen.sent_bytes)
                puts.append(seen.requests["PUT"])
            rows.append(
                {
                    "title": title,
                    "packs": before + 1,
                    "cycle_megabytes": round(median(sent) / 1e6, 4),
                    "base_megabytes": round((seen.sent_bytes - median(sent)) / 1e6, 4),
                    "base_objects": seen.requests["PUT"] - round(median(puts)),
                    "mean_megabytes": round(mean([*sent, seen.sent_bytes]) / 1e6, 4),
                }
            )
    return rows
