"""From the system before this one, and back to it: ``init --from`` and ``export``, on a disk and in S3."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.s3 import client, new_bucket, use_server

ID = "20260131_120000"


@pytest.fixture
def before(cli: CommandLine) -> CommandLine:
    """The layout of the system before: a pointer, and a whole directory that it names."""
    assert 0 == cli.at("restore", "--to", f"old/notes/snapshot/timestamped/{ID}").code
    (cli.home / "old/notes/snapshot/latest-pointer.txt").write_text(f"{ID}\n")
    return cli


def begin(cli: CommandLine, source: str, *options: str, store: str = "new") -> tuple[int, str]:
    ended = cli("init", "--from", source, "--store", store, "-c", "notes", "--workspace", "adopting", *options)
    return ended.code, ended.out + ended.err


@pytest.mark.parametrize("source", ["old", "old/notes/snapshot", f"old/notes/snapshot/timestamped/{ID}"])
def test_the_snapshot_that_the_pointer_names_is_adopted(before: CommandLine, source: str) -> None:
    """From the root, from the place of the pointer, or from the directory itself; what was there stays as it was."""
    old = before.contents("old")

    code, told = begin(before, source)

    assert (0, "notes: version 1 in new (3 records, 3 dimensions, cosine)") == (code, told.splitlines()[0])
    assert old == before.contents("old")
    assert "USER#u#NOTE#b" in before("query", "--id", "USER#u#NOTE#b", "--store", "new", "-c", "notes").out


def test_an_archive_is_adopted(before: CommandLine) -> None:
    """A .tar.gz in the place of the directory."""
    place = before.home / "old/notes/snapshot/timestamped" / ID
    with tarfile.open(before.home / "chroma.tar.gz", "w:gz") as archive:
        for file in place.iterdir():
            archive.add(file, file.name)
    for name in sorted(place.rglob("*"), reverse=True):
        name.rmdir() if name.is_dir() else name.unlink()
    (before.home / "chroma.tar.gz").rename(place / "chroma.tar.gz")

    assert 0 == begin(before, "old")[0]


def test_a_dry_run_checks_every_record_and_makes_nothing(before: CommandLine) -> None:
    """What would be refused is refused; what would be published is counted."""
    code, told = begin(before, "old", "--dry-run")

    assert (0, "notes: would be version 1 in new (3 records, 3 dimensions, cosine)") == (code, told.splitlines()[0])
    assert not (before.home / "new").exists()
    (before.home / "cut/notes.1-0").mkdir(parents=True)
    (before.home / "cut/notes.1-0/HEAD").write_text("of a shard")
    for store, why in (("store", "already"), ("cut", "notes.1-0 says that notes was cut anew")):
        code, told = begin(before, "old", "--dry-run", store=store)
        assert (2, True) == (code, why in told), told


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("../../../etc", "does not hold the id of a snapshot"),
        ("x" * 2_000, "does not hold the id of a snapshot"),
        ("", "does not hold the id of a snapshot"),
        ("20990101_000000", "20990101_000000"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_told(before: CommandLine, pointer: str, expected: str) -> None:
    """Out of the place, too long, empty, or to what is not there: nothing is published."""
    (before.home / "old/notes/snapshot/latest-pointer.txt").write_text(pointer)

    code, told = begin(before, "old")

    assert (2, True) == (code, expected in told)
    assert not (before.home / "new" / "notes").exists()


def test_the_way_back_is_what_was_there_before(before: CommandLine) -> None:
    """An exported version can be adopted again, with the same records; the pointer is the last to be written."""
    exported = before.at("export", "--to", "back")

    [place] = (before.home / "back/notes/snapshot/timestamped").iterdir()
    assert 0 == exported.code
    assert place.name == (before.home / "back/notes/snapshot/latest-pointer.txt").read_text()
    assert 0 == begin(before, "back")[0]
    assert "Title b" in before("query", "--id", "USER#u#NOTE#b", "--store", "new", "-c", "notes").out


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    use_server(monkeypatch)
    return new_bucket()


def test_both_ways_through_a_bucket(before: CommandLine, bucket: str) -> None:
    """Adopted from S3, and exported to S3 in the same layout."""
    for path in (before.home / "old").rglob("*"):
        if path.is_file():
            client().put_object(
                Bucket=bucket, Key=f"old/{path.relative_to(before.home / 'old')}", Body=path.read_bytes()
            )

    assert 0 == begin(before, f"s3://{bucket}/old")[0]
    assert 0 == before.at("export", "--to", f"s3://{bucket}/back", store="new").code
    names = [row["Key"] for row in client().list_objects_v2(Bucket=bucket, Prefix="back/")["Contents"]]
    assert "back/notes/snapshot/latest-pointer.txt" in names
    assert 0 == begin(before, f"s3://{bucket}/back", store="newer")[0]


def test_what_holds_no_snapshot_is_told(cli: CommandLine) -> None:
    """A directory of other files, and a place that is not there."""
    for source in ("deltas", "nowhere"):
        code, told = begin(cli, source)
        assert (2, True) == (code, "hint:" in told), told
    assert not Path(cli.home / "new" / "notes").exists()
