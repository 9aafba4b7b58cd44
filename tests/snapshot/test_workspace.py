"""The workspace: one owner, copies that share no writing, and a disk that can be full."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput, LifecycleError, NoRoom, NotOwned, Retryable
from chroma_lifecycle.snapshot import disk, pristine, workspace
from chroma_lifecycle.snapshot.disk import disk_errors
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.pages import hash_file
from chroma_lifecycle.snapshot.pristine import LocalVersion
from chroma_lifecycle.snapshot.rewriting import Remove, Replace, Rewrite
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.versions import manifest_of, pages_of

ROOT = Path(__file__).parents[2]
DB = "chroma/chroma.sqlite3"


def fill(directory: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


def version_of(directory: Path, number: int = 1) -> LocalVersion:
    """A version that says what *directory* holds."""
    pages = {path.relative_to(directory).as_posix(): hash_file(path) for path in directory.rglob("*") if path.is_file()}
    return LocalVersion.of(manifest_of(pages, number), pages)


def adopt(opened: Workspace, files: dict[str, bytes]) -> LocalVersion:
    with opened.restoring() as directory:
        fill(directory, files)
        version = version_of(directory)
        opened.pristine.adopt(directory, version)
    return version


FILES = {DB: b"database" * 2_000, "chroma/s-1/header.bin": b"h" * 100, LEDGER: b"ledger" * 100}


# Who owns it.


def test_a_file_where_a_directory_belongs_is_put_away(tmp_path: Path) -> None:
    """Another release may have kept something else under the name: the workspace is local, and made again."""
    (tmp_path / "pages").write_bytes(b"of another release")

    with Workspace.open(tmp_path) as opened:
        version = adopt(opened, FILES)
        assert version.digest == opened.pristine.version().digest  # type: ignore[union-attr]


def test_a_second_owner_is_refused_and_told_who_is_the_first(tmp_path: Path) -> None:
    """C6: another part of this process."""
    refused = pytest.raises(NotOwned, match=f"in use by process {os.getpid()} on .* since 20")
    with Workspace.open(tmp_path / "w"), refused:
        Workspace.open(tmp_path / "w")
    with Workspace.open(tmp_path / "w"):
        pass


def test_another_process_is_refused_until_the_owner_dies(tmp_path: Path) -> None:
    """C6, C13: the lock goes with the process, however it ends."""
    code = "import sys; from pathlib import Path; from chroma_lifecycle.snapshot.workspace import Workspace\n"
    code += "Workspace.open(Path(sys.argv[1])); print('owned', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "w")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout
        assert b"owned\n" == owner.stdout.readline()
        with pytest.raises(NotOwned, match=f"in use by process {owner.pid} "):
            Workspace.open(tmp_path / "w")
        owner.kill()
    with Workspace.open(tmp_path / "w") as opened:
        holder = json.loads((opened.root / "lock").read_bytes())
    assert os.getpid() == holder["process"]


def test_a_lock_without_a_name_in_it_still_refuses(tmp_path: Path) -> None:
    """The owner is just writing its name."""
    with Workspace.open(tmp_path / "w") as opened:
        (opened.root / "lock").write_bytes(b'{"process"')
        with pytest.raises(NotOwned, match="in use by another process"):
            Workspace.open(tmp_path / "w")


@pytest.mark.parametrize("kind", ["a file in its place", "a file above it"])
def test_a_workspace_that_cannot_be_used_is_a_setting_to_mend(tmp_path: Path, kind: str) -> None:
    """It names the directory and the setting."""
    (tmp_path / "file").touch()
    root = tmp_path / "file" if kind == "a file in its place" else tmp_path / "file" / "w"

    with pytest.raises(LifecycleError, match=rf"{tmp_path}/file.* cannot be used") as caught:
        Workspace.open(root)
    assert "CHROMA_LIFECYCLE_WORKSPACE" in caught.value.hint or kind == "a file in its place"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to become")
def test_a_workspace_of_another_user_is_a_setting_to_mend(tmp_path: Path) -> None:
    """Permissions are told as such, without a traceback."""
    (tmp_path / "w").mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    code = "import os, sys; from pathlib import Path; from chroma_lifecycle.snapshot.workspace import Workspace\n"
    code += (
        "os.setuid(65534)\ntry: Workspace.open(Path(sys.argv[1]))\nexcept Exception as e: print(type(e).__name__, e)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "w")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert told.startswith("BadInput ")
    assert "cannot be used (Permission denied)" in told
    assert "CHROMA_LIFECYCLE_WORKSPACE" in told


# Copies.


def test_a_working_directory_is_a_copy_under_a_new_name_each_time(tmp_path: Path) -> None:
    """Chroma cannot open a path again that was deleted; and no byte written there reaches the original."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        names = set()
        for _ in range(3):
            with opened.working(chroma=True) as directory:
                names.add(directory)
                for path, data in FILES.items():
                    copy, original = directory / path, opened.pristine.root / path
                    assert data == copy.read_bytes()
                    assert not copy.samefile(original)
                    copy.write_bytes(b"changed")
                    assert data == original.read_bytes()
            assert not directory.exists()
    assert 3 == len(names)


def test_only_the_ledger_is_copied_where_chroma_is_not_opened(tmp_path: Path) -> None:
    """A cycle that moves facts alone does not touch Chroma's files."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        with opened.working(chroma=False) as directory:
            assert [LEDGER] == [path.name for path in directory.rglob("*")]


def test_a_working_directory_goes_whatever_happens(tmp_path: Path) -> None:
    """Also when the cycle fails."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        with pytest.raises(ZeroDivisionError), opened.working(chroma=True) as directory:
            raise ZeroDivisionError
        assert not directory.exists()


def test_there_is_nothing_to_work_on_without_a_version(tmp_path: Path) -> None:
    """Restore first."""
    refused = pytest.raises(BadInput, match="restore the newest")
    with Workspace.open(tmp_path / "w") as opened, refused, opened.working(chroma=False):
        pass


def test_what_a_dead_process_left_is_cleared_at_the_start(tmp_path: Path) -> None:
    """Working directories, half restores but the last one, half stamps; the published copy stays."""
    with Workspace.open(tmp_path / "w") as opened:
        version = adopt(opened, FILES)
    kept = {path.name for path in (tmp_path / "w").iterdir()}
    for leftover in ("working-1", "restoring-2", "restoring-1"):
        fill(tmp_path / "w" / leftover, FILES)
    (tmp_path / "w" / "stamp.0123").write_bytes(b"half")

    with Workspace.open(tmp_path / "w") as opened:
        assert kept | {"restoring-1"} == {path.name for path in opened.root.iterdir()}
        assert version == opened.pristine.version()
        opened.drop_half_made()
        assert kept == {path.name for path in opened.root.iterdir()}


# The pristine copy.


def test_the_copy_is_of_no_version_while_it_changes(tmp_path: Path) -> None:
    """The stamp goes before the first byte and comes after the last."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        fill(tmp_path / "after", {DB: b"D" * 8_192, "chroma/s-2/header.bin": b"new", LEDGER: FILES[LEDGER]})
        version = version_of(tmp_path / "after", 2)
        change = opened.pristine.change(version.manifest)
        assert None is opened.pristine.version()
        change.make([Remove("chroma/s-1/header.bin"), Rewrite(DB, 8_192, [(0, b"D" * 4_096), (1, b"D" * 4_096)])])
        assert None is opened.pristine.version()
        change.make([Replace("chroma/s-2/header.bin", tmp_path / "after" / "chroma/s-2/header.bin")])
        change.finish(version)

        assert version == opened.pristine.version()
        opened.pristine.hash_again()
        assert not (opened.pristine.root / "chroma" / "s-1").exists()
    with Workspace.open(tmp_path / "w") as opened:
        assert version == opened.pristine.version()


def test_a_change_that_ends_in_other_files_is_refused(tmp_path: Path) -> None:
    """The directory holds exactly the files of the manifest, before anybody opens them."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        fill(tmp_path / "after", {DB: b"D"})
        version = version_of(tmp_path / "after", 2)
        change = opened.pristine.change(version.manifest)
        change.make([Rewrite(DB, 1, [(0, b"D")])])
        with pytest.raises(LifecycleError, match="missing, too much, or of another length"):
            change.finish(version)
        assert None is opened.pristine.version()


def test_a_copy_whose_file_was_cleared_away_is_of_no_version(tmp_path: Path) -> None:
    """A cleaner of temporary files in a warm process: found at the next look, not by an error in the cycle."""
    with Workspace.open(tmp_path / "w") as opened:
        adopt(opened, FILES)
        (opened.pristine.root / DB).unlink()
        assert None is opened.pristine.version()


# Room.


def test_a_copy_from_before_the_machine_was_started_is_of_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing here waits for the disk, so a crash of the machine may have lost any part of it."""
    with Workspace.open(tmp_path / "w") as opened:
        version = adopt(opened, FILES)
    with Workspace.open(tmp_path / "w") as same_boot:
        assert version == same_boot.pristine.version()

    monkeypatch.setattr(pristine, "this_boot", lambda: "another")
    with Workspace.open(tmp_path / "w") as next_boot:
        assert next_boot.pristine.version() is None
    monkeypatch.undo()
    with Workspace.open(tmp_path / "w") as same_again:
        assert same_again.pristine.version() is None, "it was given up for good"


def test_a_boot_has_a_name_without_proc_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same each time; elsewhere it is the time of the start."""
    here = disk.this_boot()
    assert here == disk.this_boot()
    monkeypatch.setattr(disk, "_BOOT_ID", Path("/nowhere"))
    assert here != disk.this_boot() == disk.this_boot()


def test_a_working_copy_without_room_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: early, and saying how much is missing."""
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 5_000)
    monkeypatch.setattr(workspace, "clone_file", lambda source, target: False)
    with Workspace.open(tmp_path / "w") as opened:
        with monkeypatch.context() as roomy:
            roomy.setattr(disk, "free_bytes", lambda directory: 1 << 40)
            adopt(opened, FILES)
        needed = sum(map(len, FILES.values())) + workspace.HEADROOM_BYTES
        numbers = f"{needed:,} bytes .* 5,000 are free: {needed - 5_000:,} bytes are missing"
        with pytest.raises(NoRoom, match=numbers), opened.working(chroma=True):
            pass
        assert None is not opened.pristine.version()
        assert [] == [*opened.root.glob("working-*")]


def test_a_change_without_room_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: refused before the stamp is removed."""
    with Workspace.open(tmp_path / "w") as opened:
        version = adopt(opened, FILES)
        fill(tmp_path / "after", FILES | {DB: b"D" * 90_000})
        monkeypatch.setattr(disk, "free_bytes", lambda directory: 5_000)
        with pytest.raises(NoRoom, match=r"bringing .* forward needs 74,000 bytes .*: 69,000 bytes are missing"):
            opened.pristine.change(version_of(tmp_path / "after", 2).manifest)
        assert version == opened.pristine.version()


@contextmanager
def full_at(limit_bytes: int) -> Iterator[None]:
    """No file can grow past *limit_bytes*: the system refuses the rest, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


AFTER = {DB: b"D" * 20_000, LEDGER: b"new" * 400}


def work(opened: Workspace) -> None:
    with opened.working(chroma=True):
        pass


def restore(opened: Workspace) -> None:
    with disk_errors(opened.root):
        adopt(opened, AFTER)


def follow(opened: Workspace) -> None:
    version = _version_of(AFTER)
    change = opened.pristine.change(version.manifest)
    change.make([Remove("chroma/s-1/header.bin"), Rewrite(DB, 20_000, [(n, b"D" * 4_096) for n in range(5)])])
    change.make([Rewrite(LEDGER, 1_200, [(0, AFTER[LEDGER])])])
    change.finish(version)


def _version_of(files: dict[str, bytes]) -> LocalVersion:
    pages = {path: pages_of(data) for path, data in files.items()}
    return LocalVersion.of(manifest_of(pages, 2), pages)


@pytest.mark.parametrize("limit_bytes", [0, 50, 500, 1_500, 4_100, 9_000, 15_000])
@pytest.mark.parametrize("step", [work, restore, follow])
def test_a_disk_that_is_full_in_the_middle_leaves_a_sound_copy_or_none(
    tmp_path: Path, step: Callable[[Workspace], None], limit_bytes: int
) -> None:
    """C15: wherever it comes, the error is clear and nothing is left behind."""
    with Workspace.open(tmp_path / "w") as opened:
        before = adopt(opened, FILES)
        with full_at(limit_bytes), pytest.raises(NoRoom, match="no room on the disk to write"):
            step(opened)
    with Workspace.open(tmp_path / "w") as opened:
        found = opened.pristine.version()
        assert found in (before, None)
        assert step is not work or found == before
        opened.pristine.hash_again()
        assert [] == [*opened.root.glob("working-*"), *opened.root.glob("restoring-*"), *opened.root.glob("stamp.*")]


def test_other_faults_of_the_disk_can_be_tried_again(tmp_path: Path) -> None:
    """Only what nobody can tell apart from a passing fault is retried."""
    with pytest.raises(Retryable, match="cannot be used"), disk_errors(tmp_path):
        (tmp_path / "gone").read_bytes()


def test_room_is_what_the_disk_says(tmp_path: Path) -> None:
    """The figure is the one that this user may fill."""
    status = os.statvfs(tmp_path)
    assert abs(disk.free_bytes(tmp_path) - status.f_bavail * status.f_frsize) < 1 << 30


def test_a_copy_of_a_file_is_whole(tmp_path: Path) -> None:
    """Also of an empty one."""
    for size in (0, 1, 5_000_000):
        source, target = tmp_path / f"s{size}", tmp_path / f"t{size}"
        source.write_bytes(os.urandom(size))
        disk.copy_file(source, target)
        assert source.read_bytes() == target.read_bytes()


def test_a_clone_is_a_copy_or_nothing(tmp_path: Path) -> None:
    """Where the file system cannot share blocks, no file is left behind."""
    (tmp_path / "source").write_bytes(b"data")
    cloned = disk.clone_file(tmp_path / "source", tmp_path / "target")

    assert cloned == (tmp_path / "target").exists()
    assert not cloned or b"data" == (tmp_path / "target").read_bytes()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """And nothing is left beside it, also when it fails."""
    disk.replace_file(tmp_path / "file", b"one")
    disk.replace_file(tmp_path / "file", b"two")
    assert b"two" == (tmp_path / "file").read_bytes()

    (tmp_path / "place").mkdir()
    with pytest.raises(IsADirectoryError):
        disk.replace_file(tmp_path / "place", b"three")
    assert ["file", "place"] == sorted(path.name for path in tmp_path.iterdir())
