"""How much memory a cycle takes at most, beside Chroma alone: each in a process of its own.

``python -m benchmarks.memory ours|alone ARGUMENTS`` does the work and prints megabytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from benchmarks.alone import ChromaAlone
from benchmarks.cycles import KINDS, Kind
from benchmarks.receipts import Editor
from benchmarks.servers import ROOT
from benchmarks.site import Site, published_by
from tests.support.memory import forget_peak, peak_megabytes

LIMIT_MEGABYTES = 150
_GENERATION = 50


def measure_memory(site: Site) -> dict[str, Any]:
    """Return the peaks of warm cycles of two kinds, and of Chroma alone with the same changes."""
    site.lay_out("memory-alone")
    peaks = {}
    for kind in (KINDS[0], KINDS[2]):
        ours, alone = (_peak(who, kind, site) for who in ("ours", "alone"))
        peaks[kind.name] = {"title": kind.title, "ours": ours, "alone": alone, "over": ours - alone}
    return {"limit_megabytes": LIMIT_MEGABYTES, "kinds": peaks}


def _peak(who: str, kind: Kind, site: Site) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", who, kind.name, json.dumps(_spell(site))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=os.environ)
    return int(done.stdout.splitlines()[-1])


def _spell(site: Site) -> dict[str, Any]:
    return {
        "url": site.url,
        "bucket": site.bucket,
        "room": str(site.room),
        "records": site.records,
        "dimension": site.dimension,
    }


@dataclass(frozen=True, slots=True)
class _Task:
    site: Site
    kind: Kind
    editor: Editor


def _ours(task: _Task) -> None:
    with task.site.compactor("memory") as machine:
        for kind in (KINDS[0], task.kind):
            published_by(machine, kind.make(task.site, task.editor).events)


def _alone(task: _Task) -> None:
    directory = ChromaAlone(task.site.room / "memory-alone" / "chroma")
    for kind in (KINDS[0], task.kind):
        directory.cycle(kind.make(task.site, task.editor).call)


def main() -> None:
    """Do one side's work and print its peak."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    who, name, spelt = sys.argv[1:]
    fields = json.loads(spelt)
    site = Site(**{**fields, "room": Path(fields["room"])})
    kind = next(each for each in KINDS if each.name == name)
    task = _Task(site, kind, Editor(site.records, generation=_GENERATION + KINDS.index(kind)))
    forget_peak()
    (_ours if who == "ours" else _alone)(task)
    print(peak_megabytes())


if __name__ == "__main__":
    main()
