"""A second holder of a Chroma directory, in a process of its own, that does what it is told.

It reads commands, a line each, and answers each with a line (``did ...`` or ``failed: ...``).
``open <path>`` opens the directory with a plain client and goes on writing to its first
collection; ``hold <path>`` opens it with the managed client and leaves it alone; ``close`` closes
what is open. It ends with its input.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]


class Writer:
    """A plain client that writes to a directory, in a thread, until it is stopped."""

    def __init__(self, path: str) -> None:
        import chromadb  # the parent process needs none of it
        import numpy as np
        from chromadb.config import Settings

        self.client = chromadb.PersistentClient(path, settings=Settings(anonymized_telemetry=False))
        name = next(each if isinstance(each, str) else each.name for each in self.client.list_collections())
        self._collection: Any = self.client.get_collection(name, embedding_function=None)
        self._dimension = len(self._collection.get(limit=1, include=["embeddings"])["embeddings"][0])
        # Others each time: among hundreds of equal vectors HNSW does not find every record, whoever wrote them.
        self._random = np.random.default_rng(1)
        self._ending = threading.Event()
        self.problem: BaseException | None = None
        self._write(0)
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            try:
                self._write(number)
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is what is looked for
                self.problem = problem
                return

    def _write(self, number: int) -> None:
        vectors = self._random.random((20, self._dimension), dtype="f4")
        ids = [f"other-{number % 50}-{row}" for row in range(len(vectors))]
        self._collection.upsert(ids=ids, embeddings=vectors)

    def stop(self) -> None:
        """Write no more; the client stays open."""
        self._ending.set()
        self._thread.join()


class Holder:
    """The parent's end."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    @property
    def pid(self) -> int:
        """The holder's process."""
        return self._process.pid

    def tell(self, command: str, path: Path | str = "") -> str:
        """Give a command and return the answer."""
        assert self._process.stdin is not None, "it was made with a pipe"
        assert self._process.stdout is not None, "it was made with a pipe"
        self._process.stdin.write(f"{command} {path}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it as the kernel does, with everything open."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def writing(path: Path | str) -> Iterator[Writer]:
    """Let a second client of this process write until the block ends."""
    writer = Writer(str(path))
    try:
        yield writer
    finally:
        writer.stop()


def main() -> None:
    """Obey the lines of standard input."""
    import structlog  # as above

    from chroma_lifecycle.chroma.client import ManagedClient
    from chroma_lifecycle.chroma.closing import close_client

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    endings: list[Callable[[], object]] = []
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        answer = f"did {command}"
        try:
            if command == "open":
                writer = Writer(path)
                endings += [writer.stop, lambda held=writer.client: close_client(held)]
            elif command == "hold":
                endings.append(ManagedClient.open(Path(path), "words").close)
            while command == "close" and endings:
                endings.pop(0)()
        except Exception as problem:  # noqa: BLE001 - two writers spoil a directory in every way
            answer = f"failed: {problem!r}"
        print(answer.replace("\n", " "), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
