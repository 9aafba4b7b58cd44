"""C15, C8: a local copy on a disk that fails (FUSE): an error in words and never the end of the process.

A service that holds a reader brings its copy forward as these tests do.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import Corrupt, LifecycleError
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.restore import Way, bring_forward
from chroma_lifecycle.snapshot import pages
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.snapshots import COLLECTION, Site, files_of
from tests.support.unsound_mount import Mount, unsound_mount

MakeSite = Callable[..., Site]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    with unsound_mount(tmp_path) as there:
        yield there


def bring(site: Site, place: Path) -> str:
    """What comes of bringing the workspace at *place*, after a look at all of it, to what is published."""
    try:
        with Workspace.open(place) as workspace:
            with suppress(Corrupt):
                workspace.pristine.hash_again()
            published = read_published(site.store, COLLECTION, local=workspace.pristine.version())
            return bring_forward(workspace, published, site.store, None, Deadline()).way
    except LifecycleError as problem:
        return type(problem).__name__


@pytest.mark.parametrize("stride", [40, pytest.param(1, marks=pytest.mark.soak)])
def test_a_copy_whose_disk_fails_at_any_call_is_no_end(site: Site, mount: Mount, stride: int) -> None:
    """Once or from then on; when the disk works again, so does the workspace, without help."""
    behind, old = mount.place.with_name("behind"), mount.place.with_name("old")
    site.cycle(fact="a", label="A")
    shutil.copytree(site.workspace.root, old)
    site.cycle(fact="b", label="B")
    newest = files_of(site.workspace.pristine.root)

    def begin(name: str) -> Path:
        shutil.copytree(old, behind / name)
        mount.sound()
        return mount.place / name

    assert Way.PACKS == bring(site, begin("counted"))
    calls, told = mount.count(), Counter[str]()
    for case, number in enumerate(range(1, calls + 1, stride)):
        place = begin(f"case-{case}")
        mount.fail(number, errno.EIO, lasting=bool(case % 2))
        told[bring(site, place)] += 1
        mount.sound()
        assert bring(site, place) in {Way.WARM, Way.PACKS, Way.WHOLE}
        assert newest == files_of(place / "pristine")
        shutil.rmtree(behind / place.name)
    assert "Retryable" in told, told
    print(f"{calls} calls: {dict(told)}")


@pytest.mark.parametrize("when", ["all of it is read", "packs are applied", "parts are taken from it"])
def test_a_copy_that_cannot_be_read_is_none(make_site: MakeSite, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has lost a page of it keeps nobody from the newest version: what is needed is fetched."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    lost = two.workspace.pristine.root / "chroma" / "chroma.sqlite3"
    preadv, pread, inode = os.preadv, os.pread, lost.stat().st_ino

    def failing(read: Callable[..., Any]) -> Callable[..., Any]:
        def read_it(descriptor: int, *rest: Any) -> Any:
            if os.fstat(descriptor).st_ino == inode:
                raise OSError(errno.EIO, "Input/output error")
            return read(descriptor, *rest)

        return read_it

    if when == "packs are applied":
        one.cycle(fact="a", label="A")
    elif when == "parts are taken from it":
        one.publish_base(fact="a")
    monkeypatch.setattr(os, "preadv", failing(preadv))
    monkeypatch.setattr(os, "pread", failing(pread))
    if when == "all of it is read":
        with pytest.raises(Corrupt, match=rf"{lost} cannot be read \(Input/output error\)"):
            two.workspace.pristine.hash_again()
    published = read_published(two.store, COLLECTION, local=two.workspace.pristine.version())

    with lost.open("rb"):  # as long as it is open, no other file has its number
        restored = bring_forward(two.workspace, published, two.store, None, Deadline())

    assert Way.WHOLE == restored.way
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_a_file_that_becomes_shorter_while_it_is_read_is_told(tmp_path: Path) -> None:
    """With its name: somebody else writes where nobody may."""
    path = tmp_path / "file"
    path.write_bytes(bytes(5 * pages.PAGE_BYTES))
    with pages.pages_reader(path) as read:
        os.truncate(path, pages.PAGE_BYTES)
        with pytest.raises(OSError, match=rf"became shorter while it was read: '{path}'"):
            read(np.array([0, 3]))
