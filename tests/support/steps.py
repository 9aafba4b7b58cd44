"""Stopping a program at one of its system calls: by an error, or by SIGKILL.

Run as a script, it carries out one action on a directory store again and again, in a process that
is killed at the first, the second, the third of its calls, and so on until one runs through.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CALLS = ("open", "mkdir", "fsync", "link", "rename", "unlink", "rmdir", "fdopen", "scandir", "listdir")
"""The functions of `os` through which the store in a directory does everything."""

OnStep = Callable[[str], None]


def kill(name: str) -> None:
    """End this process as the system does when it has had enough."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail_with(code: int) -> OnStep:
    """Let the call fail."""

    def step(name: str) -> None:
        raise OSError(code, os.strerror(code))

    return step


@contextmanager
def stopping_at(
    step: int, on_step: OnStep, *, after: bool = False, calls: Sequence[str] = CALLS
) -> Iterator[list[str]]:
    """Do *on_step* at call number *step* of *calls*, before it or after it took effect; gives the calls made."""
    made: list[str] = []
    originals = {name: getattr(os, name) for name in calls}

    def wrapped(name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            made.append(name)
            if len(made) == step and not after:
                on_step(name)
            number = len(made)
            try:
                return originals[name](*args, **kwargs)
            finally:
                if number == step and after:
                    on_step(name)

        return call

    for name in calls:
        setattr(os, name, wrapped(name))
    try:
        yield made
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


Action = Callable[[Path], None]


def main(root: Path, action: str, when: str) -> None:
    """Run *action* from `tests.support.actions` below *root*, killed at each call in turn."""
    from tests.support import actions

    prepare: Action = actions.prepare
    act: Action = getattr(actions, action)
    for step in range(1, 1_000):
        place = root / f"{step:03}"
        place.mkdir()
        prepare(place)
        child = os.fork()
        if child == 0:
            with stopping_at(step, kill, after=when == "after"):
                act(place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0, "the action itself failed"
            print(step - 1)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
