"""The recipes of docs/reading.md, each with the integration that it is about (``make recipes``)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.closing import Way, close_client
from chroma_lifecycle.reader import SnapshotReader
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.news import WORDS, News
from tests.support.world import World, vector

pytestmark = pytest.mark.recipes


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(tmp_path_factory.mktemp("published")).begin()
    with world.compactor() as machine:
        News(world, machine).first()
    return world.home


@pytest.fixture
def news(published: Path, tmp_path: Path) -> Iterator[News]:
    world = World(Path(shutil.copytree(published, tmp_path / "world")))
    with world.compactor() as machine:
        yield News(world, machine)


@pytest.fixture
def reader(news: News) -> Iterator[SnapshotReader]:
    with SnapshotReader(news.world.store, "words", workspace=news.world.home / "reader", check_seconds=None) as made:
        yield made


def test_fastapi(news: News, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered by the newest version; the health of the reader is told; a wrong vector is an error."""
    from fastapi.testclient import TestClient

    monkeypatch.setenv("STORE", news.world.settings.store)
    monkeypatch.setattr("chroma_lifecycle.reader.places.DEFAULT_WORKSPACE", news.world.home / "reader")
    from examples.recipes.fastapi_app import app

    with TestClient(app) as service:
        answer = service.post("/query", params={"limit": 1}, json=vector(3)).json()
        assert {"version": 2, "ids": [WORDS[3]], "documents": ["text 3"]} == answer
        version = news.publish()
        app.state.reader.refresh()
        assert version == service.post("/query", json=vector(3)).json()["version"]
        assert (version, None) == (service.get("/health").json()["version"], service.get("/health").json()["problem"])


def test_langchain(news: News, reader: SnapshotReader) -> None:
    """A search finds what is nearest; the next one, after a swap, is answered by the new version."""
    from langchain_core.embeddings import Embeddings

    from examples.recipes.langchain_store import open_store

    class Model(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [self.embed_query(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vector(int(text.rpartition(" ")[2]))

    store = open_store(reader, Model())
    assert [("text 5", "2")] == texts_of(store.similarity_search("number 5", k=1))
    assert [("text 6", "2")] == texts_of(store.as_retriever(search_kwargs={"k": 1}).invoke("number 6"))
    news.publish()
    reader.refresh()
    assert [("text 5", "3")] == texts_of(store.similarity_search("number 5", k=1))


def texts_of(documents: list[Any]) -> list[tuple[str, str]]:
    return [(document.page_content, document.metadata["merchant_name"]) for document in documents]


def test_llama_index(news: News, reader: SnapshotReader) -> None:
    """A retrieval finds what is nearest; the next one, after a swap, is answered by the new version."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    from examples.recipes.llama_index_store import open_index

    class Model(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return vector(int(query.rpartition(" ")[2]))

        def _get_text_embedding(self, text: str) -> list[float]:
            return self._get_query_embedding(text)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return self._get_query_embedding(query)

    retriever = open_index(reader, Model()).as_retriever(similarity_top_k=1)
    [found] = retriever.retrieve("number 5")
    assert ("text 5", "2") == (found.node.get_content(), found.node.metadata["merchant_name"])
    news.publish()
    reader.refresh()
    [found] = retriever.retrieve("number 5")
    assert ("text 5", "3") == (found.node.get_content(), found.node.metadata["merchant_name"])


def test_what_the_integrations_make_is_closed_with_proof(tmp_path: Path) -> None:
    """LangChain's store and retriever hold the client, LlamaIndex's store and index the collection alone."""
    from langchain_chroma import Chroma
    from llama_index.core import StorageContext
    from llama_index.vector_stores.chroma import ChromaVectorStore

    store = Chroma(persist_directory=str(tmp_path / "langchain"), collection_name="words")
    assert close_client(store.as_retriever()).proven
    assert Way.AGAIN == close_client(store).way

    made = ChromaVectorStore.from_params(collection_name="words", persist_dir=str(tmp_path / "llama"))
    assert close_client(StorageContext.from_defaults(vector_store=made)).proven
    assert Way.AGAIN == close_client(made).way
    assert () == below(tmp_path)
