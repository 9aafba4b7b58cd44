"""Warm cycles of every kind, against Chroma alone with the same changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.alone import Call, ChromaAlone, chroma_alone
from benchmarks.figures import Spread, by_turns, ratio, seconds_of
from benchmarks.function_process import as_the_function
from benchmarks.receipts import Editor, by_image, records
from benchmarks.site import Site, published_by
from chroma_lifecycle.compactor import Compactor
from tests.support.s3 import FaultProxy, fault_proxy
from tests.support.table import in_sqs


@dataclass(frozen=True, slots=True)
class Change:
    """One batch: the stream records that the product gets, and the call to the same effect."""

    events: list[dict[str, Any]]
    call: Call


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of cycle, and what the project promises of it.

    Attributes:
        limit: Most times as long as Chroma alone.
        limit_megabytes: Most that is published, as a rule.
        limit_crossing: The same when Chroma writes its HNSW files within the cycle.
    """

    name: str
    title: str
    limit: float
    limit_megabytes: float
    make: Callable[[Site, Editor], Change]
    limit_crossing: float | None = None


def labels(count: int) -> Callable[[Site, Editor], Change]:
    """Return what changes the labels of *count* words that lie anywhere."""

    def make(_: Site, editor: Editor) -> Change:
        made = editor.labels(count)
        return Change(made.events, Call("update", {"ids": made.ids, "metadatas": made.metadatas}))

    return make


def merchant(_: Site, editor: Editor) -> Change:
    """Return what gives one receipt a merchant."""
    made = editor.merchant()
    return Change(made.events, Call("update", {"ids": made.ids, "metadatas": made.metadatas}))


def upserts(count: int) -> Callable[[Site, Editor], Change]:
    """Return what adds *count* new words, in one delta for each of their images."""

    def make(site: Site, editor: Editor) -> Change:
        words = editor.new_words(count)
        addresses = []
        for some in by_image(words):
            address = f"new-{some[0].number}.parquet"
            site.put_delta(address, some)
            addresses.append((some[0].image, address))
        made = records(words, site.dimension)
        fields = {"ids": made.ids, "embeddings": made.vectors, "documents": made.documents, "metadatas": made.metadatas}
        return Change(editor.runs(addresses), Call("upsert", fields))

    return make


KINDS = (
    Kind("labels-100", "100 scattered label updates", 1.4, 0.05, labels(100)),
    Kind("labels-1000", "1,000 scattered label updates", 1.35, 1.0, labels(1_000)),
    Kind("upserts-1000", "1,000 upserts", 1.6, 4.5, upserts(1_000)),
    Kind("merchant", "one receipt of 200 words gets a merchant", 1.4, 0.05, merchant, limit_crossing=0.6),
)


# A container whose first cycle is behind it: it has nothing to restore and something to copy from.
_FIRST = labels(100)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed a proxy before the server.

    Attributes:
        requests: By method.
        sent_bytes: Of the bodies that went to the server.
        received_bytes: Of those that came back.
    """

    requests: dict[str, int]
    sent_bytes: int
    received_bytes: int


def traffic(proxy: FaultProxy) -> Traffic:
    """Return what has passed since the proxy was made to forget."""
    return Traffic(
        dict(proxy.count()),
        sum(seen.sent_bytes for seen in proxy.seen),
        sum(seen.received_bytes for seen in proxy.seen),
    )


class Sides:
    """A workspace of ours and two directories of Chroma alone, which all get the same changes.

    Attributes:
        alone: Chroma as anybody runs it.
        keeping: Chroma in a process that keeps freed memory, as ours does.
    """

    def __init__(self, site: Site, editor: Editor, alone: ChromaAlone, keeping: ChromaAlone) -> None:
        self.site = site
        self.editor = editor
        self.alone = alone
        self.keeping = keeping

    @classmethod
    @contextmanager
    def at(cls, site: Site) -> Iterator[Sides]:
        """Give them, on a fresh site."""
        with ExitStack() as stack:
            alone = stack.enter_context(chroma_alone(site.lay_out("alone")))
            keeping = stack.enter_context(chroma_alone(site.lay_out("keeping"), keeps_memory=True))
            stack.enter_context(as_the_function())
            yield cls(site, Editor(site.records, generation=1), alone, keeping)

    @contextmanager
    def warm(self, url: str | None = None) -> Iterator[Compactor]:
        """Give a compactor after its first cycle."""
        with self.site.compactor("workspace", url=url) as machine:
            first = _FIRST(self.site, self.editor)
            published_by(machine, first.events)
            self.follow(first)
            yield machine

    def follow(self, change: Change) -> None:
        """Let Chroma alone have a change that nobody measures."""
        for side in (self.alone, self.keeping):
            side.cycle(change.call)

    def changes(self, kind: Kind, count: int) -> list[Change]:
        """Return *count* changes, made before the clock runs."""
        return [kind.make(self.site, self.editor) for _ in range(count)]


def measure(sides: Sides, kind: Kind, rounds: int, counted: int) -> dict[str, Any]:
    """Time *rounds* cycles of a kind by turns with Chroma alone; count requests and bytes of *counted* more."""
    phases: list[Mapping[str, float]] = []
    with sides.warm() as machine:
        changes = sides.changes(kind, rounds)

        def ours(number: int) -> float:
            event = in_sqs(changes[number].events)
            return seconds_of(lambda: phases.append(machine.compact(event).collections[0].seconds))

        others = (partial(_alone, side, changes) for side in (sides.alone, sides.keeping))
        product, alone, keeping = by_turns(rounds, ours, *others)
    return {
        "title": kind.title,
        "ratio": ratio(product, alone),
        "limit": kind.limit,
        "seconds": Spread.of(product).rounded(4),
        "alone_seconds": Spread.of(alone).rounded(4),
        "keeping_seconds": Spread.of(keeping).rounded(4),
        "keeping_ratio": ratio(product, keeping),
        "phases_ms": {name: round(1000 * median(each.get(name, 0.0) for each in phases), 1) for name in phases[0]},
        **_count(sides, kind, counted),
    }


def _alone(side: ChromaAlone, changes: Sequence[Change], number: int) -> float:
    return side.cycle(changes[number].call)


def _count(sides: Sides, kind: Kind, rounds: int) -> dict[str, Any]:
    with fault_proxy(sides.site.url) as proxy, sides.warm(proxy.url) as machine:
        seen = []
        for change in sides.changes(kind, rounds):
            proxy.forget()
            published_by(machine, change.events)
            seen.append(traffic(proxy))
            sides.follow(change)
    megabytes = sorted(round(each.sent_bytes / 1e6, 4) for each in seen)
    return {
        "limit_megabytes": kind.limit_megabytes,
        "limit_crossing_megabytes": kind.limit_crossing,
        "sent_megabytes": {"median": median(megabytes), "most": megabytes[-1]},
        "received_megabytes": round(median(each.received_bytes for each in seen) / 1e6, 4),
        "requests": seen[-1].requests,
    }


def measure_no_op(sides: Sides, rounds: int) -> dict[str, Any]:
    """Send a batch of 100 messages again that were applied before."""
    with sides.warm() as machine:
        event = _applied(machine, sides)
        seconds = [seconds_of(lambda: machine.compact(event)) for _ in range(rounds)]
    with fault_proxy(sides.site.url) as proxy, sides.warm(proxy.url) as machine:
        event = _applied(machine, sides)
        proxy.forget()
        machine.compact(event)
        seen = traffic(proxy)
    return {
        "title": "a batch of 100 messages that moves no fact",
        "limit_ms": 10,
        "seconds": Spread.of(seconds).rounded(5),
        "requests": seen.requests,
        "sent_megabytes": seen.sent_bytes / 1e6,
        "received_megabytes": round(seen.received_bytes / 1e6, 4),
    }


def _applied(machine: Compactor, sides: Sides) -> dict[str, Any]:
    change = _FIRST(sides.site, sides.editor)
    published_by(machine, change.events)
    sides.follow(change)
    return in_sqs(change.events)
