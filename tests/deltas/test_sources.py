"""Files of deltas in directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chroma_lifecycle.deltas.sources import MAX_DEPTH, DeltaFile, directory_deltas
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from tests.support.deltas import left_in_scratch, opened, write_delta


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def listed(root: Path, address: str) -> list[DeltaFile]:
    place, source = directory_deltas(root).locate(address)
    return list(source.list(place))


def test_a_file_is_listed_by_the_empty_name(root: Path) -> None:
    """The address may be the file itself."""
    (root / "a.parquet").write_bytes(b"12345")

    assert [DeltaFile("", 5)] == listed(root, "a.parquet")


def test_files_below_are_listed_by_name_and_neighbours_are_not(root: Path) -> None:
    """A delta at run/1 has nothing of run/10."""
    for name in ("run/1/b", "run/1/a/x", "run/10/c"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")

    assert [DeltaFile("a/x", 1), DeltaFile("b", 1)] == listed(root, "run/1/")


def test_nothing_is_an_empty_list(root: Path) -> None:
    """What is missing is told by the list, also below a file."""
    (root / "file").write_bytes(b"")

    assert [] == listed(root, "absent")
    assert [] == listed(root, "file/below")


def test_a_link_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    """Somebody who may write deltas cannot make us read other files."""
    write_delta(tmp_path / "secret" / "a.parquet", ["a"])
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "run").mkdir()
    (root / "run" / "a.parquet").symlink_to(tmp_path / "secret" / "a.parquet")

    for address in ("link/a.parquet", "link", "run", "run/a.parquet"):
        with pytest.raises(BadInput, match="a link leads out of its root"):
            opened(root, address)


def test_a_link_inside_the_root_is_followed(root: Path) -> None:
    """A file may have two names."""
    write_delta(root / "a.parquet", ["a"])
    (root / "b.parquet").symlink_to("a.parquet")

    assert ("a",) == opened(root, "b.parquet").ids


def test_a_link_to_a_directory_or_to_itself_is_refused(root: Path) -> None:
    """Links cannot make a listing endless."""
    (root / "run").mkdir()
    (root / "run" / "again").symlink_to(root / "run")
    (root / "loop").symlink_to(root / "loop")

    with pytest.raises(BadInput, match="'again' is a link to a directory"):
        listed(root, "run")
    with pytest.raises(BadInput):
        listed(root, "loop")


def test_directories_too_deep_are_refused(root: Path) -> None:
    """C11: as deep as any job would write, and no deeper: each is listed within the last."""
    directory = root / "run"
    for _ in range(MAX_DEPTH + 1):
        directory.mkdir()
        (directory / "part").write_bytes(b"")
        directory /= "d"
    assert MAX_DEPTH + 1 == len(listed(root, "run"))
    directory.mkdir()

    with pytest.raises(BadInput, match="its directories are more than 64 deep"):
        listed(root, "run")


@pytest.mark.parametrize("address", [256 * "n", f"run/{256 * 'n'}.parquet", "loop/d.parquet"])
def test_a_name_that_no_file_can_have_is_refused(root: Path, address: str) -> None:
    """C11: its message fails for good; that the mount did not answer would bring it again until it is a dead letter."""
    (root / "run").mkdir()
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(BadInput):
        opened(root, address)


def test_a_pipe_is_refused_without_waiting_for_its_writer(root: Path) -> None:
    """Only regular files are read."""
    (root / "run").mkdir()
    os.mkfifo(root / "run" / "a.parquet")

    with pytest.raises(BadInput, match="not a regular file"):
        listed(root, "run")


def test_a_file_replaced_by_a_pipe_or_a_link_after_the_listing_is_refused(root: Path, tmp_path: Path) -> None:
    """What was checked at the listing is checked again when the file is opened."""
    write_delta(root / "a.parquet", ["a"])
    place, source = directory_deltas(root).locate("a.parquet")
    [file] = source.list(place)
    (root / "a.parquet").unlink()
    os.mkfifo(root / "a.parquet")

    with pytest.raises(BadInput, match="not a regular file"):
        source.fetch(place, file, tmp_path / "out")

    (root / "a.parquet").unlink()
    (root / "a.parquet").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="leads out"):
        source.fetch(place, file, tmp_path / "out")


def test_a_file_that_is_gone_after_the_listing_is_a_missing_delta(root: Path, tmp_path: Path) -> None:
    """Its message fails alone."""
    write_delta(root / "a.parquet", ["a"])
    place, source = directory_deltas(root).locate("a.parquet")
    [file] = source.list(place)
    (root / "a.parquet").unlink()

    with pytest.raises(BadInput, match=r"there is no delta at 'a.parquet'"):
        source.fetch(place, file, tmp_path / "out")


def test_a_delta_that_grows_while_it_is_read_is_tried_again(root: Path) -> None:
    """A delta that somebody still writes is neither applied nor given up."""
    write_delta(root / "a.parquet", ["a"])

    class Growing:
        def list(self, place: object) -> list[DeltaFile]:
            return [DeltaFile("", (root / "a.parquet").stat().st_size - 1)]

        def fetch(self, place: object, file: DeltaFile, to: Path) -> None:
            to.write_bytes((root / "a.parquet").read_bytes())

    from chroma_lifecycle.deltas import open as opening
    from chroma_lifecycle.deltas.addresses import DirectoryRoot, Roots
    from chroma_lifecycle.deltas.checks import Expectation
    from chroma_lifecycle.deltas.sources import RootedDeltas

    (root.parent / "root-scratch").mkdir()
    growing = RootedDeltas(Roots((DirectoryRoot(root),)), {DirectoryRoot: Growing()})
    with pytest.raises(StoreUnavailable, match="changed while it was read"):
        opening.open_delta(
            "a.parquet", growing, root.parent / "root-scratch", Expectation("words", 3, None, lambda _: True)
        )
    assert [] == left_in_scratch(root)
