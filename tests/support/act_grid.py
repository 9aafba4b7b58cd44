"""Every request of an act on real Chroma fails in turn, in every way; then the same again ends right, without help.

An act is what a command or a function does as a whole. Its store, and its deltas, are in S3 behind a proxy.
"""

from __future__ import annotations

import itertools
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.deltas import S3DeltaSource
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.deltas.addresses import BucketRoot, Roots
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.ports import Store
from tests.support.requests import FAULTS
from tests.support.s3 import (
    HASTY,
    STEADY,
    FaultProxy,
    client_at,
    new_bucket,
    put,
    s3_client,
)
from tests.support.world import World

Ends = Mapping[str, str]
"""How an act ended for each lineage that it is about: "done", or the error."""


@dataclass(frozen=True)
class Way:
    """A way to what is in S3: past the proxy, or beside it."""

    store: Store
    deltas: RootedDeltas

    @classmethod
    def of(cls, bucket: str, client: Any) -> Way:
        return cls(
            S3Store(S3Address(bucket, "store"), client),
            RootedDeltas(Roots.parse([f"s3://{bucket}/deltas/"]), {BucketRoot: S3DeltaSource(client)}),
        )


@dataclass
class Case:
    """One copy of what was prepared, its store in a bucket of its own."""

    world: World
    bucket: str
    past: Way
    beside: Way


class Act(ABC):
    """What is done, and what must be true when it failed, and when it was done again."""

    @abstractmethod
    def prepare(self, home: Path) -> World:
        """Make what it is done to, in a directory."""

    def spoil(self, case: Case) -> None:  # noqa: B027 - most acts need nothing
        """Make the case what it must be before the act."""

    @abstractmethod
    def do(self, case: Case, way: Way) -> Ends:
        """Do it.

        Raises:
            LifecycleError: It failed as a whole.
        """

    @abstractmethod
    def look(self, case: Case) -> Any:
        """Return what is there before."""

    @abstractmethod
    def expect(self, case: Case, before: Any, ends: Ends | None, failed: str | None) -> None:
        """Check what is there after a failure: *ends*, or the error that it *failed* with as a whole."""

    @abstractmethod
    def expect_done(self, case: Case) -> None:
        """Check what is there when it was done again."""


@dataclass
class ActGrid:
    """Cases of one act.

    Attributes:
        ends: How it ended, and how often.
    """

    act: Act
    proxy: FaultProxy
    prepared: World
    ends: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def requests(self) -> list[str]:
        """Return the requests of the act when nothing fails: method and name."""
        case = self._case("none")
        self.proxy.forget()
        self.act.do(case, case.past)
        found = [f"{seen.method} {seen.path.partition('?')[0].rpartition('/')[2]}" for seen in self.proxy.seen]
        self.act.expect_done(case)
        shutil.rmtree(case.world.home)
        return found

    def run(self, number: int, fault: str, *, lasting: bool) -> None:
        """Let one request fail; nothing is lost or half done, and the same again without a fault ends right."""
        case = self._case(fault)
        before = self.act.look(case)
        self.proxy.forget()
        self.proxy.nth(number, FAULTS[fault], lasting=lasting)
        ends, failed = None, None
        try:
            ends = self.act.do(case, case.past)
        except LifecycleError as problem:
            failed = type(problem).__name__
        finally:
            self.proxy.forget()
        self.ends[failed or " and ".join(sorted(set((ends or {}).values()))) or "done"] += 1
        try:
            self.act.expect(case, before, ends, failed)
            self.act.do(case, case.beside)
            self.act.expect_done(case)
        except BaseException as problem:
            problem.add_note(f"request {number}, {fault}, lasting: {lasting}; {ends}, {failed}")
            raise
        shutil.rmtree(case.world.home)

    def _case(self, fault: str) -> Case:
        home = Path(shutil.copytree(self.prepared.home, self.prepared.home.parent / f"case-{next(self._numbers)}"))
        bucket = new_bucket()
        for folder in ("store", "deltas"):
            for path in (home / folder).rglob("*"):
                if path.is_file() and path.name != ".lock":
                    name = f"{folder}/{path.relative_to(home / folder)}"
                    put(bucket, name, path.read_bytes())
        patience = HASTY if "time-out" in fault else STEADY
        case = Case(
            type(self.prepared)(home),
            bucket,
            Way.of(bucket, client_at("s3", self.proxy.url, patience)),
            Way.of(bucket, s3_client()),
        )
        self.act.spoil(case)
        return case
