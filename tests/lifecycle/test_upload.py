"""Upload: a Chroma server holds what a version holds, proven, however often and from wherever it was cut off."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.errors import ChromaError, InternalError, InvalidArgumentError, NotFoundError

from chroma_lifecycle.chroma import uploading
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.chroma.server import ServerAddress, ServerCollection, server_errors
from chroma_lifecycle.chroma.uploading import Uploaded, upload
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.errors import BadInput, LifecycleError, Retryable, StoreUnavailable
from tests.support.chroma_server import Door, Server, chroma_server, door_before, free_port
from tests.support.deltas import opened, record, write_jsonl

SETTINGS = CollectionSettings("l2", 3, {"owner": "é", "n": 1}, {"ef_search": 33})
ROWS: list[dict[str, Any]] = [
    record("a", embedding=[0.1, 1 / 3, -2.5], document="é\n", metadata={"i": (1 << 53) + 1, "f": 1.0, "t": True}),
    record("b", embedding=[1e-30, 0.0, 3e15], document=None, metadata={}),
    *(record(f"c{number}", embedding=[number, 1.0, 0.5], metadata={"n": number}) for number in range(40)),
]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with chroma_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def door(server: Server) -> Iterator[Door]:
    with door_before(server) as opened_door:
        yield opened_door
    for collection in server.client().list_collections():
        server.client().delete_collection(collection.name)


def delta(home: Path, rows: list[dict[str, Any]]) -> Delta:
    (home / "root").mkdir(exist_ok=True)
    write_jsonl(home / "root" / "d.jsonl", rows)
    return opened(home / "root", "d.jsonl")


def uploaded(records: Delta, door: Door, *, settings: CollectionSettings = SETTINGS, **given: Any) -> Uploaded:
    told: list[int] = []
    with ServerCollection.open(ServerAddress(door.url), "words", settings) as target:
        done = upload(records, target, tell=told.append, **given)
    assert len(records.ids) == told[-1]
    return done


def content(server: Server) -> dict[str, Any]:
    collection = server.client().get_collection("words", embedding_function=None)
    found = collection.get(include=["embeddings", "documents", "metadatas"])
    return {
        id_: (np.asarray(vector, np.float32).tolist(), document, json.dumps(metadata or {}, sort_keys=True))
        for id_, vector, document, metadata in zip(
            found["ids"], found["embeddings"], found["documents"], found["metadatas"], strict=True
        )
    }


def expected(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        row["id"]: (
            np.array(row["embedding"], np.float32).tolist(),
            row["document"],
            json.dumps(row["metadata"], sort_keys=True),
        )
        for row in rows
    }


def test_a_server_holds_what_was_uploaded(
    tmp_path: Path, server: Server, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In many requests; the collection is made like the one it comes from; a second upload sends nothing."""
    monkeypatch.setattr(uploading, "_REQUEST_BYTES", 1_000)
    records = delta(tmp_path, ROWS)

    first = uploaded(records, door)
    writes = door.writes
    again = uploaded(records, door)

    assert (Uploaded(42, 42, 0), Uploaded(42, 0, 0)) == (first, again)
    assert (writes, expected(ROWS)) == (door.writes, content(server))
    assert writes > 3
    collection = server.client().get_collection("words", embedding_function=None)
    assert ({"owner": "é", "n": 1}, "l2", 33) == (
        collection.metadata,
        collection.configuration["hnsw"]["space"],
        collection.configuration["hnsw"]["ef_search"],
    )


def test_a_newer_version_replaces_an_older_one(tmp_path: Path, server: Server, door: Door) -> None:
    """Keys and documents that are gone go there too, types that differ are told apart; the rest is not sent."""
    uploaded(delta(tmp_path, ROWS), door)
    newer = [
        record("a", embedding=[0.1, 1 / 3, -2.5], document=None, metadata={"f": 1, "t": True}),
        record("c0", embedding=[0.0, 1.0, 0.75], metadata={"n": 0}),
        *(row for row in ROWS if row["id"] not in ("a", "b", "c0")),
    ]
    records = delta(tmp_path, newer)

    with pytest.raises(BadInput, match=r"words holds 1 records that are not to be uploaded .*--delete-others"):
        uploaded(records, door)
    assert expected(ROWS) == content(server)
    done = uploaded(records, door, delete_others=True)

    assert Uploaded(41, 2, 1) == done
    assert expected(newer) == content(server)


def test_an_upload_that_was_cut_off_goes_on(
    tmp_path: Path, server: Server, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server has is not sent again; the error says that it can be run again."""
    monkeypatch.setattr(uploading, "_REQUEST_BYTES", 1_000)
    records = delta(tmp_path, ROWS)
    door.broken = [0, 0, 500]
    with pytest.raises(StoreUnavailable, match=r"the server said: a fault of its own .*run it again"):
        uploaded(records, door)
    there = len(content(server))

    rest = uploaded(records, door)

    assert 0 < there < 42
    assert Uploaded(42, 42 - there, 0) == rest
    assert expected(ROWS) == content(server)


def test_what_was_sent_is_proven(tmp_path: Path, server: Server, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else writes there meanwhile: a record that is not as it was sent, or one too many, is told."""
    records = delta(tmp_path, ROWS)
    uploaded(records, door)
    collection = server.client().get_collection("words", embedding_function=None)
    really = uploading.delete_records

    def change(kind: str) -> None:
        def meddle(target: Any, ids: Any) -> None:
            really(target, ids)
            if kind == "changed":
                collection.update(ids=["c1"], metadatas=[{"n": 1.0}])
            else:
                collection.add(ids=["x"], embeddings=[[1.0, 2.0, 3.0]])

        monkeypatch.setattr(uploading, "delete_records", meddle)

    change("changed")
    with pytest.raises(Retryable, match=r"has 42 records after the upload of 42, and 1 of these are not as they were"):
        uploaded(records, door)
    change("added")
    with pytest.raises(Retryable, match=r"has 43 records after the upload of 42, and 0 of these"):
        uploaded(records, door)


def test_a_cosine_space_is_compared_as_it_gives_vectors_back(tmp_path: Path, server: Server, door: Door) -> None:
    """Rounded vectors are the same vectors: a second upload sends nothing."""
    records = delta(tmp_path, [row for row in ROWS if row["id"] != "b"])
    cosine = replace(SETTINGS, space="cosine")

    assert (41, 0) == tuple(uploaded(records, door, settings=cosine).sent for _ in range(2))


def test_floats_that_the_server_rounds_are_what_was_sent(tmp_path: Path, server: Server, door: Door) -> None:
    """This covers a case where an upload of floats was never done: Chroma gives some back with another last digit."""
    values = [math.sin(number) * 10.0 ** (number % 60 - 30) for number in range(300)]
    rows = [record(f"r{number}", metadata={"f": value}) for number, value in enumerate(values)]

    assert Uploaded(300, 300, 0) == uploaded(delta(tmp_path, rows), door)
    found = server.client().get_collection("words", embedding_function=None).get(include=["metadatas"])
    given = {id_: metadata["f"] for id_, metadata in zip(found["ids"], found["metadatas"] or [], strict=True)}
    assert any(given[f"r{number}"] != value for number, value in enumerate(values))
    assert Uploaded(300, 0, 0) == uploaded(delta(tmp_path, rows), door)
    rows[7] = record("r7", metadata={"f": values[7] * (1 + 1e-14)})
    assert Uploaded(300, 1, 0) == uploaded(delta(tmp_path, rows), door)


@pytest.mark.parametrize("header", ["Authorization", "X-Chroma-Token"])
def test_a_token_lets_in(tmp_path: Path, server: Server, door: Door, header: str) -> None:
    """Without it, or with another, the error says what to give; it is part of no message."""
    door.wants = (header, "Bearer s3cret" if header == "Authorization" else "s3cret")
    records = delta(tmp_path, ROWS[:2])
    for token in (None, "wrong"):
        with (
            pytest.raises(BadInput, match=r"does not let us in \(status 401\) .*--token") as refused,
            ServerCollection.open(ServerAddress(door.url, token=token, header=header), "words", SETTINGS),
        ):
            pass
        assert "wrong" not in str(refused.value)

    with ServerCollection.open(ServerAddress(door.url, token="s3cret", header=header), "words", SETTINGS) as target:
        assert Uploaded(2, 2, 0) == upload(records, target, tell=lambda _: None)


def test_what_is_no_such_server_is_told(tmp_path: Path, server: Server, door: Door) -> None:
    """Nobody there, no Chroma, no URL, no tenant or database; a collection of another space or dimension."""
    records = delta(tmp_path, ROWS)

    def said(kind: type[Exception], words: str, **changes: Any) -> None:
        with (
            pytest.raises(kind, match=words),
            ServerCollection.open(ServerAddress(**{"url": server.url, **changes}), "words", SETTINGS),
        ):
            pass

    said(StoreUnavailable, r"no Chroma server answers .*refused.*chroma run", url=f"http://127.0.0.1:{free_port()}")
    said(StoreUnavailable, r"no Chroma server answers", url="http://no-such-host.invalid")
    said(BadInput, r"no Chroma server with the API v2 \(status 404\)", url=f"{server.url}/elsewhere")
    said(BadInput, r"--tenant", tenant="nobody")
    said(BadInput, r"--database", database="nowhere")
    for url in ("localhost:8000", "ftp://host", "http://", "http://host:99999", "http://user:password@host", ""):
        with pytest.raises(BadInput, match="is no URL of a server"):
            ServerAddress(url)
    uploaded(records, door)
    with pytest.raises(BadInput, match=r"words on http.* has the space l2, and the records cosine .*--name"):
        uploaded(records, door, settings=replace(SETTINGS, space="cosine"))
    (tmp_path / "four").mkdir()
    four = opened_of_four(tmp_path / "four")
    with pytest.raises(BadInput, match=r"Chroma refused it: .*dimension of 3, got 4"):
        uploaded(four, door, delete_others=True)


def opened_of_four(home: Path) -> Delta:
    write_jsonl(home / "root" / "d.jsonl", [record("a", embedding=[1.0] * 4)])
    return opened(home / "root", "d.jsonl", dimension=4)


SECRET = "an old woman's name"


@pytest.mark.parametrize(
    ("problem", "rest"),
    [
        (ChromaError(f'metadatas[0]: invalid type: string "{SECRET}", expected a map'), "metadatas.0.: invalid type"),
        (ChromaError(f'documents[0]: unknown field "so \\"quoted\\" {SECRET}"'), "documents.0.: unknown field"),
        (ChromaError(f"documents[0]: invalid type: integer `{SECRET}`, expected a string"), "expected a string"),
        (ChromaError(f'documents[0]: unknown field "{SECRET}{"x" * 500}" at line 1'), "documents.0.: unknown field"),
        (InvalidArgumentError(f"no such key: '{SECRET}'"), "no such key"),
        (InternalError(f'no value "{SECRET}" can be'), "no value"),
        (NotFoundError(f"'{SECRET}' is not there"), "is not there"),
        (Exception(f'{{"detail": [{{"input": "{SECRET}"}}]}}'), "the server said"),
        (ValueError(f"Expected metadata, got {SECRET}"), "its text is left out"),
    ],
)
def test_no_record_is_quoted_by_the_error_of_a_server(problem: Exception, rest: str) -> None:
    """A server's own words about a request that it does not read quote values of it; the rest of them is told."""
    with (
        pytest.raises(LifecycleError, match=rest) as told,
        server_errors("writing to words", ServerAddress("http://here")),
    ):
        raise problem
    assert "woman" not in str(told.value)
