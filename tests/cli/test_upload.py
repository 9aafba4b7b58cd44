"""``upload`` by the command line, into a real Chroma server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.chroma_server import Server, chroma_server, free_port
from tests.support.command_line import CommandLine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with chroma_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_versions_are_brought_into_a_server(cli: CommandLine, server: Server) -> None:
    """An older one, then the newest, under another name; what is there already is not sent; wrong inputs are told."""
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
    assert ["copy"] == [each.name for each in server.client().list_collections()]
