"""How much memory a cycle takes at most, beside Chroma alone: each in a process of its own.

``python -m benchmarks.memory ours|alone ARGUMENTS`` does the work and prints megabytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from benchmarks.alone import cycle_alone
from benchmarks.cycles import KINDS, Change, Kind
from benchmarks.function_process import as_the_function
from benchmarks.receipts import COLLECTION, Editor
from benchmarks.servers import ROOT
from benchmarks.site import Site, published_by
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site as Upkept
from chroma_lifecycle.upkeep import rebase_now
from tests.support.memory import forget_peak, peak_megabytes

LIMIT_MEGABYTES = 150
_GENERATION = 50


def measure_memory(site: Site) -> dict[str, Any]:
    """Return the peaks of our works, in the order in which they need each other, and of Chroma alone for each."""
    site.lay_out("memory-alone")
    peaks = {}
    for name, work in WORKS.items():
        ours, alone = (_peak(who, name, site) for who in ("ours", "alone"))
        peaks[name] = {"title": work.title, "ours": ours, "alone": alone, "over": ours - alone}
    return {"limit_megabytes": LIMIT_MEGABYTES, "kinds": peaks}


def _peak(who: str, name: str, site: Site) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", who, name, json.dumps(_spell(site))]
    with as_the_function() if who == "ours" else nullcontext():
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return int(done.stdout.splitlines()[-1])


def _spell(site: Site) -> dict[str, Any]:
    return {
        "url": site.url,
        "bucket": site.bucket,
        "room": str(site.room),
        "records": site.records,
        "dimension": site.dimension,
    }


def _cycles(site: Site, changes: Sequence[Change]) -> None:
    with site.compactor("memory") as machine:
        for change in changes:
            published_by(machine, change.events)


def _new_base(site: Site, changes: Sequence[Change]) -> None:
    _cycles(site, changes)
    with Workspace.open(site.room / "memory" / COLLECTION) as workspace:
        rebase_now(Upkept(COLLECTION, site.store(), None, workspace, SYSTEM_CLOCK, "bench"))


@dataclass(frozen=True, slots=True)
class Work:
    """What takes memory.

    Attributes:
        kinds: Of its cycles, one after the other; Chroma alone gets their changes.
        ours: Takes the changes, and does what comes after them.
    """

    title: str
    kinds: tuple[Kind, ...]
    ours: Callable[[Site, Sequence[Change]], None] = _cycles


_LABELS, _UPSERTS = KINDS[0], KINDS[2]
WORKS = {
    "cold": Work("a cold start: everything restored, then 100 label updates", (_LABELS,)),
    _LABELS.name: Work(_LABELS.title, (_LABELS, _LABELS)),
    _UPSERTS.name: Work(_UPSERTS.title, (_LABELS, _UPSERTS)),
    "base": Work("100 label updates, then a new base", (_LABELS,), _new_base),
}
"""The first one finds no workspace, and leaves one to the others."""


def _alone(site: Site, changes: Sequence[Change]) -> None:
    for change in changes:
        cycle_alone(site.room / "memory-alone" / "chroma", change.call)


def main() -> None:
    """Do one side's work and print its peak."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    who, name, spelt = sys.argv[1:]
    fields = json.loads(spelt)
    site = Site(**{**fields, "room": Path(fields["room"])})
    editor = Editor(site.records, generation=_GENERATION + list(WORKS).index(name))
    changes = [kind.make(site, editor) for kind in WORKS[name].kinds]
    forget_peak()
    (WORKS[name].ours if who == "ours" else _alone)(site, changes)
    print(peak_megabytes())


if __name__ == "__main__":
    main()
