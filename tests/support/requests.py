"""Every request of an activity in S3 fails in turn, in every way; then nothing is lost and the next cycle works."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing.history import verify_version
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.retention import expire
from chroma_lifecycle.publishing.sweep import reached, sweep
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.upkeep import Site as Upkept
from chroma_lifecycle.upkeep import rebase_now
from tests.support.s3 import (
    HASTY,
    STEADY,
    Exchange,
    FaultProxy,
    Step,
    breaks_off,
    client_at,
    does_and_says,
    hangs,
    loses_the_answer,
    loses_the_request,
    new_bucket,
    put,
    s3_client,
    says,
)
from tests.support.snapshots import COLLECTION, Site, facts


def does_and_hangs(exchange: Exchange) -> None:
    """The server carries it out, and its answer never comes."""
    exchange.forward()
    hangs(exchange)


def flips_the_last_bit(exchange: Exchange) -> None:
    """The answer's body arrives damaged, without a checksum beside it; an answer without one arrives."""
    status, headers, body = exchange.forward()
    kept = [(name, value) for name, value in headers if not name.startswith("x-amz-checksum")]
    exchange.answer(status, kept, body[:-1] + bytes([body[-1] ^ 1]) if body else body)


FAULTS: dict[str, Step] = {
    "request lost": loses_the_request,
    "answer lost": loses_the_answer,
    "time-out before": hangs,
    "time-out after": does_and_hangs,
    "409 before": says(409, "ConditionalRequestConflict"),
    "409 after": does_and_says(409, "ConditionalRequestConflict"),
    "412 before": says(412, "PreconditionFailed"),
    "412 after": does_and_says(412, "PreconditionFailed"),
    "404": says(404, "NoSuchKey"),
    "403": says(403, "AccessDenied"),
    "500 before": says(500, "InternalError"),
    "500 after": does_and_says(500, "InternalError"),
    "503 before": says(503, "SlowDown"),
    "503 after": does_and_says(503, "SlowDown"),
    "truncated": breaks_off(1),
    "bit flipped": flips_the_last_bit,
}


def _cycle(site: Site) -> None:
    site.cycle(fact="new", label="VALID")


def _restore(site: Site) -> None:
    site.restore()


def _base(site: Site) -> None:
    rebase_now(Upkept(COLLECTION, site.store, None, site.workspace, site.clock, site.writer))


def _expire(site: Site) -> None:
    expire(site.store, COLLECTION, keep=1, writer="test")


def _sweep(site: Site) -> None:
    sweep(site.store, COLLECTION, grace=timedelta(0), delete=True, writer="test")


ACTIVITIES: dict[str, Callable[[Site], None]] = {
    "cycle": _cycle,
    "restore": _restore,
    "base": _base,
    "expire": _expire,
    "sweep": _sweep,
}
PUBLISHES = {"cycle": 1, "base": 1}
"""How many versions an activity makes."""


@dataclass
class Grid:
    """What befell an activity, and what it came to.

    Attributes:
        prepared: A store in a directory, with some history; each case begins on a copy of it in a bucket of its own.
        ends: How the activities ended: "done", or the error that they raised.
    """

    proxy: FaultProxy
    prepared: Path
    place: Path
    ends: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def prepare(cls, proxy: FaultProxy, place: Path) -> Grid:
        """Make a history: a base, packs of which one is an object of its own, and an older base that has expired."""
        (place / "prepared").mkdir()
        with Workspace.open(place / "preparing") as workspace:
            site = Site(workspace, DirectoryStore(place / "prepared"))
            site.initialise()
            site.cycle(fact="first", label="A")
            site.publish_base(fact="second")
            site.cycle(fact="third", label="B", numbers=range(1_200))
            now = site.store.now() - timedelta(seconds=1)  # the clock of S3, which the sweep asks, tells whole seconds
            site.store.now = lambda: now
            expire(site.store, COLLECTION, keep=2, writer="test")
        return cls(proxy, place / "prepared", place)

    def requests(self, activity: str) -> list[str]:
        """Return the requests that an activity makes when nothing fails, by method and the end of the name."""
        with self._site("none") as site:
            self.proxy.forget()
            ACTIVITIES[activity](site)
            return [f"{seen.method} {seen.path.partition('?')[0].rpartition('/')[2]}" for seen in self.proxy.seen]

    def run(self, activity: str, number: int, fault: str, *, lasting: bool) -> None:
        """Let request *number* of an activity fail, and look at what comes of it."""
        with self._site(fault) as site:
            beside = S3Store(site.store._at, s3_client())  # type: ignore[attr-defined]
            before = read_published(beside, COLLECTION)
            self.proxy.forget()
            self.proxy.nth(number, FAULTS[fault], lasting=lasting)
            try:
                ACTIVITIES[activity](site)
                ended = "done"
            except LifecycleError as problem:
                ended = type(problem).__name__
            finally:
                self.proxy.forget()
            self.ends[ended] += 1
            found = read_published(beside, COLLECTION)
            made = found.manifest.version.number - before.manifest.version.number
            all_of_it = PUBLISHES.get(activity, 0)
            wanted = {"done": {all_of_it}, "OutcomeUnknown": {0, all_of_it}}.get(ended, {0})
            assert made in wanted, f"{ended}, and {made} versions"
            self._expect_whole(beside, found)
            self._expect_more(site, beside, {"new"} if activity == "cycle" and made else set())

    def _expect_more(self, site: Site, beside: S3Store, new: set[str]) -> None:
        """The next cycle works without help, on what the fault left, and a sweep after it leaves a whole store."""
        site.store = beside  # who soon gives up would do so on a busy machine, too
        site.cycle(fact="again")
        sweep(beside, COLLECTION, grace=timedelta(0), delete=True, writer="test")
        published = read_published(beside, COLLECTION)
        self._expect_whole(beside, published)
        with Workspace.open(self.place / f"another-{next(self._numbers)}") as workspace:
            Site(workspace, beside).restore()
            assert {"first", "second", "third", "again"} | new == set(facts(workspace.pristine.root))
        shutil.rmtree(workspace.root)

    def _expect_whole(self, store: S3Store, published: Published) -> None:
        assert reached(store, published.head) == store.present(reached(store, published.head))
        assert not verify_version(published.manifest, store).damage

    @contextmanager
    def _site(self, fault: str) -> Iterator[Site]:
        """A compactor without a local copy, whose requests pass the proxy, on a copy of what was prepared."""
        bucket, place = new_bucket(), self.place / f"workspace-{next(self._numbers)}"
        for path in self.prepared.rglob("*"):
            if path.is_file() and path.name != ".lock":
                put(bucket, f"store/{path.relative_to(self.prepared)}", path.read_bytes())
        patience = HASTY if "time-out" in fault else STEADY
        with ExitStack() as stack:
            workspace = stack.enter_context(Workspace.open(place))
            stack.callback(shutil.rmtree, place)
            yield Site(workspace, S3Store(S3Address(bucket, "store"), client_at("s3", self.proxy.url, patience)))
