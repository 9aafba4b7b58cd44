"""`doctor` on real directories and processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import chromadb
import pytest

from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_an_open_directory_is_not_safe_and_a_closed_one_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """C6: the open files are named; when the client has closed, the same command says that a copy is safe."""
    client = chromadb.PersistentClient(str(tmp_path / "words"))
    client.create_collection("words", embedding_function=None)
    code, told = run(capsys, str(tmp_path / "words"))
    assert (5, True) == (code, "chroma.sqlite3" in told and "close_client" in told)
    code, told = run(capsys, str(os.getpid()), "--json")
    assert (5, False) == (code, json.loads(told)["safe"])

    close_client(client)
    code, told = run(capsys, str(tmp_path / "words"))
    assert (0, True) == (code, "It can be copied now." in told)


def test_what_is_neither_directory_nor_process_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelled path is told, with exit code 2."""
    assert 2 == run(capsys, "no/such/directory")[0]
