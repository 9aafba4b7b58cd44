"""A crowd that queries a reader without a pause, and what it saw: for tests of swaps, and for the figures in docs."""

from __future__ import annotations

import subprocess
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.reader import SnapshotReader
from tests.support.news import WORDS
from tests.support.world import World

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """One query: when it began, how long it took, of which version the answer was, and which one its records say.

    The two differ after a re-base, which is a version of the same records.
    """

    began: float
    seconds: float
    version: int
    said: int


@dataclass
class Crowd:
    """Threads that ask, each question for the nearest records and for those that tell the version.

    Attributes:
        answers: Of each thread, in order.
        failures: What was raised; a wrong answer is raised too.
    """

    reader: SnapshotReader
    world: World
    threads: int = 8
    answers: list[list[Answer]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let all threads ask for as long as the block lasts."""
        over = threading.Event()
        self.answers = [[] for _ in range(self.threads)]
        threads = [
            threading.Thread(target=self._ask, args=(over, number), name=f"crowd {number}")
            for number in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask(self, over: threading.Event, number: int) -> None:
        chance = np.random.default_rng(number)
        try:
            while not over.is_set():
                self.answers[number].append(self._answer(chance.random(self.world.dimension, np.float32)))
        except BaseException as problem:
            self.failures.append(problem)

    def _answer(self, question: np.ndarray) -> Answer:
        began = SYSTEM_CLOCK.monotonic()
        with self.reader.collection() as words:
            found = words.query(query_embeddings=[question], n_results=8)
            seconds = SYSTEM_CLOCK.monotonic() - began
            assert 8 == len(found["ids"][0])
            metadatas = words.get(ids=list(WORDS), include=["metadatas"])["metadatas"]
            assert len(WORDS) == len(metadatas)
            [said] = {metadata["merchant_name"] for metadata in metadatas}
            return Answer(began, seconds, words.version, int(said))

    def all_answers(self) -> list[Answer]:
        return [answer for each in self.answers for answer in each]


@dataclass
class Publisher:
    """Another process that publishes a version every so many seconds, and says when it did."""

    world: World
    every_seconds: float
    published: list[tuple[float, int]] = field(default_factory=list)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Let it publish for as long as the block lasts."""
        command = [sys.executable, "-m", "tests.support.publish_often", str(self.world.home)]
        command += [str(self.world.dimension), str(self.every_seconds)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            listener = threading.Thread(target=self._listen, args=(child,))
            listener.start()
            try:
                yield
            finally:
                child.stdin.close()
                listener.join()
        assert 0 == child.returncode

    def _listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            moment, version = line.split()
            self.published.append((float(moment), int(version)))

    def staleness(self, answer: Answer) -> float:
        """Return for how long a newer version than the answer's had been published when the question was asked."""
        newer = [moment for moment, version in self.published if version > answer.version]
        return max(0.0, answer.began - newer[0]) if newer else 0.0


def percentile(answers: list[Answer], share: float) -> float:
    """Return the milliseconds within which this share of the questions was answered."""
    ordered = sorted(answer.seconds for answer in answers)
    return 1_000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def expect_true(answers: list[Answer], published: Iterable[int]) -> None:
    """Expect that the records of each version say the newest of the *published* ones up to it."""
    ordered = sorted(published)
    for version, said in {(answer.version, answer.said) for answer in answers}:
        assert said == ordered[bisect_right(ordered, version) - 1], (version, said)
