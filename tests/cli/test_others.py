"""A collection that is not there: the store says which are, and which one was probably meant."""

from __future__ import annotations

import shutil

import pytest

from chroma_lifecycle.cli.others import hint_of
from tests.support.command_line import CommandLine
from tests.support.s3 import new_bucket, s3_client, use_server


def test_a_misspelt_collection_is_recognised(cli: CommandLine) -> None:
    """By option or variable; what is no collection is not named, and the way to a new one stays."""
    (cli.home / "store" / "not a collection!" / "heads").mkdir(parents=True)
    (cli.home / "store" / "folder").mkdir()

    given = cli("log", "--store", "store", "-c", "noted")
    cli.monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", "store")
    by_variable = cli("-v", "rebase", "--collection", "note")

    for ended in (given, by_variable):
        assert 2 == ended.code
        assert "hint: did you mean notes? the store has notes; run `chroma-lifecycle init`" in ended.err


def test_a_head_that_was_deleted_is_recovered_and_not_begun_anew(cli: CommandLine) -> None:
    """L13: what was published is there: nobody is sent to `init`, or asked whether this very name was meant."""
    (cli.home / "store/notes/HEAD").unlink()
    status = cli("status", "--store", "store", "-c", "notes")
    shutil.rmtree(cli.home / "store/notes/heads")

    for ended in (status, cli("log", "--store", "store", "-c", "notes")):
        assert (
            "hint: what notes has published is there, and its HEAD is not: run `chroma-lifecycle recover`" in ended.err
        )
        assert "`chroma-lifecycle resync`" in ended.err
        assert "did you mean" not in ended.err
        assert "init" not in ended.err


def test_the_only_collection_of_a_mapping_is_the_one_that_was_meant(cli: CommandLine) -> None:
    """L13: without --collection, too, nobody is sent to `init` for what has lost its HEAD."""
    (cli.home / "store/notes/HEAD").unlink()
    shutil.rmtree(cli.home / "store/notes/heads")

    ended = cli("status", "--store", "store", "--mapping", "notes.yaml")

    assert "hint: what notes has published is there, and its HEAD is not: run `chroma-lifecycle recover`" in ended.err
    assert "init" not in ended.err


def test_a_store_in_a_bucket_is_asked_too(empty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request, whatever lies below the names."""
    use_server(monkeypatch)
    bucket = new_bucket()
    for key in ("snapshots/words/HEAD", "snapshots/words/objects/a", "snapshots/lines/HEAD", "other/notes/HEAD"):
        s3_client().put_object(Bucket=bucket, Key=key, Body=b"x")

    ended = empty("show", "--store", f"s3://{bucket}/snapshots", "-c", "word")

    assert "hint: did you mean words? the store has lines, words; run" in ended.err
    assert "the store has" not in empty("show", "--store", f"s3://{bucket}/nothing", "-c", "word").err


def test_a_forgotten_prefix_is_no_list_of_collections(empty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies above a store is not its collections: the prefix is guessed, and a new collection not offered first."""
    use_server(monkeypatch)
    bucket = new_bucket()
    for key in ("invoices/2026/x.pdf", "snapshots/words/HEAD", "half/objects/a"):
        s3_client().put_object(Bucket=bucket, Key=key, Body=b"x")

    guessed, unknown, lost = (
        empty("log", "--store", f"s3://{bucket}", "-c", name).err for name in ("words", "lines", "half")
    )

    assert f"hint: did you mean --store s3://{bucket}/snapshots?" in guessed
    assert "hint: a part of --store may be missing. What lies there is no collection: half, invoices, snap" in unknown
    assert "the store has" not in guessed + unknown + lost
    assert "hint: run `chroma-lifecycle init`" in lost


def test_a_directory_above_the_store_is_told_as_such(cli: CommandLine) -> None:
    """The same for directories."""
    assert "hint: did you mean --store ./store? What lies there" in cli.at("log", store=".").err


def test_many_collections_are_cut() -> None:
    """A hint is a line."""
    names = [f"c{number:02d}" for number in range(30)]

    assert f"the store has {', '.join(names[:10])}, ...; " == hint_of(names, "something else")
    assert hint_of(names, "").startswith("the store has c00")
