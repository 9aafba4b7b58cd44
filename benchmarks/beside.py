"""One change, published by us and by every opponent, by turns: seconds, bytes and requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.alone import Call, ChromaAlone, chroma_alone
from benchmarks.cycles import Traffic, traffic
from benchmarks.figures import Spread, by_turns, ratio, seconds_of
from benchmarks.function_process import as_the_function
from benchmarks.opponents import BatchedCopy, Opponent, WholeCopy, has_lance, lance
from benchmarks.receipts import Editor, Labels
from benchmarks.site import Site, published_by
from chroma_lifecycle.compactor import Compactor
from tests.support.s3 import fault_proxy

OURS = "chroma-lifecycle"
_LABELS = 100
_COUNTED = 3


class Ours:
    """This project, warm, with a mirror on a mounted disk as the whole copies have one."""

    name = OURS

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self.mirror = site.room / "mirror"
        self.mirror.mkdir()
        self._machine: tuple[str, Compactor] | None = None

    def cycle(self, change: Labels, url: str) -> float:
        machine = self._at(url)
        return seconds_of(lambda: published_by(machine, change.events))

    def _at(self, url: str) -> Compactor:
        if self._machine is None or self._machine[0] != url:
            if self._machine:
                self._machine[1].close()
            machine = self._site.compactor("beside", url=url, mirror=self.mirror)
            self._stack.callback(machine.close)
            self._machine = (url, machine)
        return self._machine[1]


class AloneAsOpponent:
    """Chroma alone: it publishes nothing."""

    name = "Chroma alone (publishes nothing)"

    def __init__(self, alone: ChromaAlone) -> None:
        self._alone = alone

    def cycle(self, change: Labels, url: str) -> float:
        del url
        return self._alone.cycle(Call("update", {"ids": change.ids, "metadatas": change.metadatas}))


def measure_beside(site: Site, editor: Editor, rounds: int) -> dict[str, Any]:
    """Publish 100 scattered labels by everybody in turn, each change by all of them."""
    with ExitStack() as stack:
        start = site.lay_out("start")
        rivals: list[Opponent] = [
            Ours(site, stack),
            WholeCopy(site, start),
            BatchedCopy(site, start),
            *([stack.enter_context(lance(site))] if has_lance() else []),
            AloneAsOpponent(stack.enter_context(chroma_alone(start))),
        ]
        stack.enter_context(as_the_function())
        for rival in rivals:  # the first cycle of each restores, opens tables, makes clients
            rival.cycle(editor.labels(_LABELS), site.url)
        changes = [editor.labels(_LABELS) for _ in range(rounds)]
        seconds = by_turns(rounds, *(_cycles(rival, changes, site.url) for rival in rivals))
        return {
            "labels": _LABELS,
            "rows": [
                {
                    "name": rival.name,
                    "seconds": Spread.of(took).rounded(4),
                    "times_alone": ratio(took, seconds[-1]),
                    **counted(rival, editor, site, rounds=_COUNTED),
                }
                for rival, took in zip(rivals, seconds, strict=True)
            ],
        }


def _cycles(rival: Opponent, changes: list[Labels], url: str) -> Callable[[int], float]:
    return lambda number: rival.cycle(changes[number], url)


def counted(rival: Opponent, editor: Editor, site: Site, *, rounds: int) -> dict[str, Any]:
    """Count what passes a proxy, and what comes to and from the mounted disk."""
    with fault_proxy(site.url) as proxy:
        rival.cycle(editor.labels(_LABELS), proxy.url)
        seen: list[tuple[Traffic, int, int]] = []
        for _ in range(rounds):
            proxy.forget()
            before = dict(_files(site, rival))
            rival.cycle(editor.labels(_LABELS), proxy.url)
            after = dict(_files(site, rival))
            written = sum(size for path, (stamp, size) in after.items() if before.get(path) != (stamp, size))
            seen.append((traffic(proxy), written, _read_from_disk(rival, before)))
        # What was led to the proxy goes back, before the proxy ends.
        rival.cycle(editor.labels(_LABELS), site.url)
    return {
        "sent_megabytes": round(median(each.sent_bytes for each, _, _ in seen) / 1e6, 4),
        "received_megabytes": round(median(each.received_bytes for each, _, _ in seen) / 1e6, 4),
        "reads": sum(seen[-1][0].requests.get(method, 0) for method in ("GET", "HEAD")),
        "writes": sum(seen[-1][0].requests.get(method, 0) for method in ("PUT", "POST")),
        "disk_written_megabytes": round(median(written for _, written, _ in seen) / 1e6, 4),
        "disk_read_megabytes": round(median(read for _, _, read in seen) / 1e6, 4),
    }


def _files(site: Site, rival: Opponent) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files of the mounted disk that *rival* uses: inode with time, and size."""
    places = {"mirror": OURS, "whole-mount": WholeCopy.name}
    for place, name in places.items():
        if rival.name == name:
            for path in (site.room / place).rglob("*"):
                if path.is_file():
                    status = path.stat()
                    yield str(path), (hash((status.st_ino, status.st_mtime_ns)), status.st_size)


def _read_from_disk(rival: Opponent, before: dict[str, tuple[int, int]]) -> int:
    """Return what is read from the mounted disk in a cycle: by a whole copy all of it, by us nothing but HEAD."""
    return sum(size for path, (_, size) in before.items() if rival.name == WholeCopy.name or Path(path).name == "HEAD")
