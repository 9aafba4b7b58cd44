"""Killing a process (SIGKILL) at each of the system calls with which it changes the disk.

Run as a script: carries out one action again and again, each time on a fresh copy of what was
prepared and in a process of its own that dies at the first, the second, the third of its calls,
and so on until one runs through. After each it tells what a new process finds.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.publishing import publish as publishing
from chroma_lifecycle.publishing.restore import bring_forward, read_published
from chroma_lifecycle.snapshot import sealed
from chroma_lifecycle.snapshot import workspace as workspaces
from chroma_lifecycle.snapshot.pristine import Pristine
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.snapshots import COLLECTION, Site, facts

CALLS = ("fsync", "rename", "unlink", "rmdir", "mkdir", "pwrite", "ftruncate", "copy_file_range")

Arm = Callable[[], None]


def _site(place: Path, store: Path) -> Site:
    return Site(Workspace.open(place), DirectoryStore(store))


# The actions: each works in a workspace and a store, and calls *arm* where dying begins.


def follow(place: Path, store: Path, arm: Arm) -> None:
    """A workspace follows the version that its cycle has published."""
    site, original = _site(place, store), publishing._follow

    def armed(*args: object) -> None:
        arm()
        original(*args)  # type: ignore[arg-type]

    publishing._follow = armed  # type: ignore[assignment]
    sealed.require_closed = lambda *args, **kwargs: None  # it looks at every process; not the point here
    site.cycle(fact="new", label="VALID")


def cycle(place: Path, store: Path, arm: Arm) -> None:
    """A whole cycle: restore, copy, change, seal, publish, follow."""
    arm()
    _site(place, store).cycle(fact="new", label="VALID")


def restore(place: Path, store: Path, arm: Arm) -> None:
    """A workspace is brought to what is published, by whatever it lacks."""
    site = _site(place, store)
    published = read_published(site.store, COLLECTION)
    arm()
    bring_forward(site.workspace, published, site.store, None, Deadline())


def start(place: Path, store: Path, arm: Arm) -> None:
    """A process begins on what another one left."""
    for leftover in ("working-1", "restoring-2"):
        (place / leftover / "chroma").mkdir(parents=True)
        (place / leftover / "chroma" / "file").write_bytes(b"left")
    arm()
    Workspace.open(place)


PUBLISHES = {"follow", "cycle"}


# Defects that can be planted.


def the_stamp_stays() -> None:
    """A copy that is half brought forward says that it is of a version."""
    Pristine.forget = lambda self: None  # type: ignore[method-assign]


def nothing_is_cleared() -> None:
    """What dead processes leave piles up."""
    workspaces._clear = lambda root: None


@contextmanager
def _dying_at(step: int, *, after: bool) -> Iterator[Arm]:
    """Give a function that begins the counting of calls; the process dies at call number *step*."""
    made, armed = 0, False

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal made
            made += armed
            dies = armed and made == step
            if dies and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return original(*args, **kwargs)
            finally:
                if dies:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    def arm() -> None:
        nonlocal armed
        armed = True

    for name in CALLS:
        setattr(os, name, wrapped(getattr(os, name)))
    io.open = wrapped(io.open)  # type: ignore[assignment]
    yield arm


def _found(place: Path) -> str:
    """What a new process finds: the version of the proven copy, if there is one, and the leftovers."""
    with Workspace.open(place) as workspace:
        version = workspace.pristine.version()
        if version is None:
            found = "none"
        else:
            workspace.pristine.hash_again()
            found = f"{version.manifest.version.number} {sorted(facts(workspace.pristine.root))}"
        names = [path.name for path in workspace.root.iterdir() if "-" in path.name and "manifest" not in path.name]
        half_made = [name for name in names if name.startswith("restoring-")]
        assert len(half_made) <= 1  # the last restore can go on
        left = sorted({*names} - {*half_made})
        return f"{found} {left}" if left else found


def _check_that_it_heals(place: Path, store: Path) -> None:
    site = _site(place, store)
    assert site.restore().manifest == read_published(site.store, COLLECTION).manifest
    assert 0 == site.workspace.half_made_bytes()
    site.workspace.pristine.hash_again()
    site.workspace.close()


def main(prepared: Path, action: str, after: bool, every: int) -> Iterator[str]:
    """Yield what is found after each death, and after the run that nothing stopped."""
    os.fsync = lambda descriptor: None  # only the process dies here, and not the machine
    for number, step in enumerate(range(1, 5_000, every)):
        with TemporaryDirectory(prefix="killed-") as home:
            place, store = Path(home) / "workspace", prepared / "store"
            shutil.copytree(prepared / "workspace", place)
            if action in PUBLISHES:
                store = shutil.copytree(store, Path(home) / "store")
            child = os.fork()
            if child == 0:
                with _dying_at(step, after=after) as arm:
                    globals()[action](place, store, arm)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status in {0, -signal.SIGKILL}, f"step {step} failed otherwise: {status}"
            yield _found(place)
            if number % 8 == 0 or status == 0:
                _check_that_it_heals(place, store)
            if status == 0:
                return


if __name__ == "__main__":
    prepared, action, when, every, *planted = sys.argv[1:]
    for defect in planted:
        globals()[defect]()
    print(json.dumps([*main(Path(prepared), action, when == "after", int(every))]))
