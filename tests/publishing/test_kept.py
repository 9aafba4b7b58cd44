"""The working directory that is kept between cycles: nothing is copied twice, nothing is believed that was written."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.snapshot import image, workspace
from chroma_lifecycle.snapshot.disk import copy_file
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.snapshots import COLLECTION, Site, facts, files_of

DB = "chroma/chroma.sqlite3"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory on a disk: in memory (tmpfs) what is written through a mapping leaves no time of change."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        yield Path(home)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were copied into a working directory."""
    names: list[str] = []

    def copy(source: Path, target: Path) -> None:
        names.append(source.name)
        copy_file(source, target)

    monkeypatch.setattr(workspace, "clone_file", lambda source, target: False)
    monkeypatch.setattr(workspace, "copy_file", copy)
    return names


def kept(site: Site) -> Path:
    return next(site.workspace.root.glob("kept-*"))


def test_the_next_cycle_works_in_what_the_last_one_published(site: Site, copied: list[str]) -> None:
    """Under a new name, without a copy, and with the same bytes as the pristine copy."""
    site.cycle(fact="1", label="A")
    assert len(files_of(site.workspace.pristine.root)) == len(copied)
    copied.clear()
    before = kept(site)

    with site.workspace.working(chroma=True) as directory:
        assert [] == copied
        assert directory != before
        assert not before.exists()
        assert files_of(site.workspace.pristine.root) == files_of(directory)


def test_a_cycle_that_failed_leaves_nothing_to_work_in(site: Site, copied: list[str]) -> None:
    """Its directory is thrown away, and the next one is a copy."""
    site.cycle(fact="1", label="A")
    with pytest.raises(ZeroDivisionError), site.workspace.working(chroma=True):
        raise ZeroDivisionError
    copied.clear()

    assert [] == [*site.workspace.root.glob("kept-*")]
    site.cycle(fact="2", label="B")
    assert len(files_of(site.workspace.pristine.root)) == len(copied)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(path: Path) -> None:
    with _opened(path) as descriptor:
        os.pwrite(descriptor, b"x", 0)


def _write_the_same(path: Path) -> None:
    with _opened(path) as descriptor:
        os.pwrite(descriptor, os.pread(descriptor, 1, 0), 0)


def _write_mapped(path: Path) -> None:
    with _opened(path) as descriptor, mmap.mmap(descriptor, 0) as window:
        window[0] ^= 1
        window.flush()


def _shorten(path: Path) -> None:
    with _opened(path) as descriptor:
        os.ftruncate(descriptor, 10)


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.rename(path)


@pytest.mark.parametrize("touch", [_write, _write_the_same, _write_mapped, _shorten, _replace, Path.unlink])
def test_a_kept_file_that_somebody_touched_is_copied_again(
    site: Site, copied: list[str], touch: Callable[[Path], None]
) -> None:
    """C6: a handle that nobody knew of; the pristine copy was never open to it."""
    site.cycle(fact="1", label="A")
    copied.clear()
    touch(kept(site) / DB)

    with site.workspace.working(chroma=True) as directory:
        assert ["chroma.sqlite3"] == copied
        assert files_of(site.workspace.pristine.root) == files_of(directory)


def test_a_file_too_many_is_removed(site: Site) -> None:
    """The next cycle begins with exactly the files of the version."""
    site.cycle(fact="1", label="A")
    (kept(site) / CHROMA / "more").mkdir()
    (kept(site) / CHROMA / "more" / "file").touch()

    with site.workspace.working(chroma=True) as directory:
        assert files_of(site.workspace.pristine.root) == files_of(directory)
        assert not (directory / CHROMA / "more").exists()


def test_what_another_cycle_changed_is_copied(site: Site, copied: list[str]) -> None:
    """A cycle that moved facts alone has a directory of its own, and the kept one lacks its ledger."""
    site.cycle(fact="1", label="A")
    site.cycle(fact="2")
    copied.clear()

    with site.workspace.working(chroma=True) as directory:
        assert [LEDGER] == copied
        assert {"1", "2"} == facts(directory).keys()


def test_nothing_is_kept_for_a_version_that_came_from_elsewhere(make_site: Callable[..., Site]) -> None:
    """Bringing the copy forward drops it; so does giving the workspace up, and a new start."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    one.cycle(fact="1", label="A")
    two.restore()
    two.cycle(fact="2", label="B")
    assert kept(one)
    one.restore()
    assert [] == [*one.workspace.root.glob("kept-*")]

    one.cycle(fact="3", label="C")
    assert kept(one)
    one.workspace.close()
    assert [] == [*one.workspace.root.glob("kept-*")]
    (one.workspace.root / "kept-left").mkdir()
    one.workspace = Workspace.open(one.workspace.root)
    assert [] == [*one.workspace.root.glob("kept-*")]
    assert {"1", "2", "3"} == facts(one.workspace.pristine.root).keys()


def test_files_that_nobody_wrote_to_are_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: what a cycle costs follows its change; the full check compares every byte all the same."""
    read: list[str] = []
    changed_pieces = image.changed_pieces

    def note(before: Path, after: Path, pages: int) -> object:
        read.append(after.name)
        return changed_pieces(before, after, pages)

    monkeypatch.setattr(image, "changed_pieces", note)
    for number in range(2):
        site.cycle(fact=f"{number}", label=f"L{number}")
    assert ["chroma.sqlite3", "ledger.sqlite3"] * 2 == read
    read.clear()

    parent = site.restore()
    with site.workspace.working(chroma=True) as directory:
        site.publish(seal(directory, full=True), parent)
    assert {*read} == {Path(entry.path).name for entry in parent.manifest.files}


def test_chroma_works_in_a_kept_directory_cycle_after_cycle(site: Site) -> None:
    """C5: each under a path of its own; every version is what Chroma wrote."""
    for number in range(6):
        parent = site.restore()
        with site.workspace.working(chroma=True) as directory:
            with ManagedClient.open(directory / CHROMA, COLLECTION) as client:
                ids = [f"WORD#{n:05d}" for n in range(number * 50, number * 50 + 50)]
                client.apply(Plan(updates={record: {"label": f"L{number}"} for record in ids}), {})
            published = site.publish(seal(directory), parent)
        assert 1 == len(list(site.workspace.root.glob("kept-*")))
    site.workspace.pristine.hash_again()
    assert files_of(kept(site)) == files_of(site.workspace.pristine.root)
    assert not verify_store(read_published(site.store, COLLECTION), site.store).damage
    assert 7 == published.manifest.version.number
