"""``upload`` by the command line, into a real Chroma server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_shards import MAPPING, Shell
from tests.support.chroma_server import Server, chroma_server, free_port
from tests.support.command_line import CommandLine
from tests.support.schemas import problems
from tests.support.table import Table


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with chroma_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def _names(server: Server) -> set[str]:
    return {each.name for each in server.client().list_collections()}


def test_versions_are_brought_into_a_server(cli: CommandLine, server: Server) -> None:
    """An older one, then the newest, under another name; what is there already is not sent; wrong inputs are told."""
    before = _names(server)
    older = cli.at("upload", "--to", server.url, "--name", "copy", "--version", "2", "--json")
    newest = cli.at("upload", "--to", server.url, "--name", "copy", "--json")
    again = cli.at("upload", "--to", server.url, "--name", "copy")

    assert (0, 0, 0) == (older.code, newest.code, again.code), older.err + newest.err
    assert (2, 3, 3) == (older.json["version"], older.json["records"], older.json["sent"])
    assert (3, 3, 1) == (newest.json["version"], newest.json["records"], newest.json["sent"])
    assert "3 records, every one compared; 0 were sent, 0 others deleted" in again.out
    found = server.client().get_collection("copy", embedding_function=None).get(ids=["USER#u#NOTE#a"])
    assert ["out"] == [metadata["folder"] for metadata in found["metadatas"]]

    nobody = cli.at("upload", "--to", f"http://127.0.0.1:{free_port()}")
    no_url = cli.at("upload", "--to", "localhost:8000")
    no_name = cli.at("upload", "--to", server.url, "--name", "x")
    empty = cli.at("upload", "--to", server.url, "--version", "1")
    assert (3, 2, 2, 2) == (nobody.code, no_url.code, no_name.code, empty.code)
    assert "no Chroma server answers at" in nobody.err
    assert "is no URL of a server" in no_url.err
    assert "has no records: there is nothing to take out" in empty.err
    assert {*before, "copy"} == _names(server)


def test_all_shards_are_brought_into_one_collection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The records of each, one of them empty; again nothing is sent, and a version by its number is refused."""
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path, capsys)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    table = Table()
    for user in "abcdef":
        rows = [{"id": f"USER#{user}#NOTE#{n}", "embedding": [n, 1, 0]} for n in range(2)]
        (tmp_path / f"{user}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    runs = [table.put(f"USER#{user}", "RUN#1", delta=f"{user}.jsonl", state="PENDING") for user in "abcdef"]
    (tmp_path / "runs.json").write_text(json.dumps({"Records": runs}))
    at = ["--store", "store", "--mapping", "mapping.yaml"]
    shell("init", "--dimension", "3", "--workspace", "workspace", *at)
    shell("compact", "runs.json", "--workspace", "workspace", "--deltas", ".", *at)
    upload = ["upload", "--to", server.url, "--name", "in-shards", *at]

    done = json.loads(shell(*upload, "--json").splitlines()[-1])
    assert [] == problems("upload", done)
    assert (None, 12, 12) == (done["version"], done["records"], done["sent"])
    assert {"notes.1-0", "notes.1-1", "notes.1-2"} == done["shards"].keys()
    assert "notes, 3 shards, is in in-shards" in (again := shell(*upload))
    assert "0 were sent" in again
    assert "versions of its own" in shell(*upload, "--version", "1", code=2)
    found = server.client().get_collection("in-shards", embedding_function=None)
    assert 12 == found.count()
