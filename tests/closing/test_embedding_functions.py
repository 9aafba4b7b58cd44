"""C10: a snapshot made with any embedding function opens without its model, its key or the network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chromadb import Documents, EmbeddingFunction, Embeddings

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.chroma.records import query_records
from chroma_lifecycle.chroma.tail import settle_tail, stored_thresholds
from chroma_lifecycle.planning.plan import Plan
from tests.support.chroma_directories import COLLECTION, connect, fill, vectors

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "openai": {"api_key_env_var": "NO_SUCH_KEY", "model_name": "text-embedding-3-small"},
    "sentence_transformer": {"model_name": "no-such-model", "device": "cpu", "normalize_embeddings": False},
    "of-a-company-we-do-not-know": {"version": 3},
}


def _function(name: str) -> EmbeddingFunction[Documents]:
    """An embedding function that is stored under *name*, and cannot embed."""

    class Function(EmbeddingFunction[Documents]):
        def __init__(self) -> None:
            pass

        def __call__(self, input: Documents) -> Embeddings:
            raise AssertionError("nothing may be embedded")

        @staticmethod
        def name() -> str:
            return name

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Documents]:
            return Function()

        def get_config(self) -> dict[str, Any]:
            return CONFIGS[name]

    return Function()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_snapshot_of_any_embedding_function_can_be_kept_up(tmp_path: Path, name: str) -> None:
    """Opened, changed, flushed, queried by vector and closed; its configuration stays what it was."""
    directory = tmp_path / "chroma"
    client = connect(directory)
    fill(client.create_collection(COLLECTION, embedding_function=_function(name)), 20)
    close_client(client)
    configured = _configuration(directory)
    before = stored_thresholds(directory)

    with ManagedClient.open(directory, COLLECTION) as managed:
        managed.apply(Plan(updates={"r1": {"label": True}}, deletes=("r2",)), {})
    assert settle_tail(directory, COLLECTION, budget=3).flushed
    with ManagedClient.open(directory, COLLECTION) as managed:
        assert ["r1"] == [found.id for found in query_records(managed, vectors(2)[1].tolist(), limit=1)]

    assert (configured, before) == (_configuration(directory), stored_thresholds(directory))
    assert name == configured["embedding_function"]["name"]


def _configuration(directory: Path) -> dict[str, Any]:
    with ManagedClient.open(directory, COLLECTION) as client:
        configuration: dict[str, Any] = client.collection.configuration_json
    return configuration


@pytest.mark.usefixtures("no_network")
def test_asking_for_text_fails_and_downloads_no_model(directory: Path) -> None:
    """Whoever has only a text must embed it himself; Chroma's own default would fetch 80 MB."""
    with ManagedClient.open(directory, COLLECTION) as client:
        ask: Callable[..., Any] = client.collection.query
        with pytest.raises(ValueError, match="embedding function"):
            ask(query_texts=["text"], n_results=1)
