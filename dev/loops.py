"""Work that goes on in a thread until it is told to stop; what it fails of is told to the one who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Loop:
    """Calls *step* again and again: at once while it has something to do, else after a pause.

    Args:
        name: For people.
        step: Does something, and returns whether there was anything to do.
        pause_seconds: Between two looks at nothing.
    """

    def __init__(self, name: str, step: Callable[[], bool], pause_seconds: float = 0.1) -> None:
        self.problem: BaseException | None = None
        self._step = step
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the step that is under way finish, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._step():
                    self._stopping.wait(self._pause_seconds)
        except Exception as problem:  # noqa: BLE001  the thread has nobody else to tell
            self.problem = problem
