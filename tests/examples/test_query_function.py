"""The query function of the examples, as Lambda runs it: imported once, called again and again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chroma_lifecycle.errors import BadInput
from tests.support.news import WORDS, News
from tests.support.world import World, vector


@pytest.fixture
def news(tmp_path: Path) -> Iterator[News]:
    world = World(tmp_path / "world").begin()
    with world.compactor() as machine:
        made = News(world, machine)
        made.first()
        yield made


@pytest.fixture
def function(news: News, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("STORE", news.world.settings.store)
    monkeypatch.setenv("MIRROR", str(news.world.home / "mirror"))
    monkeypatch.setenv("WORKSPACE", str(news.world.home / "reader"))
    module = importlib.import_module("examples.query_function.app")
    yield module
    module.reader.close()
    del sys.modules["examples.query_function.app"]


def test_the_query_function_answers_from_the_newest_version(news: News, function: ModuleType) -> None:
    """Cold it restores, warm it reads what is local; what is new comes when the reader looks."""
    asked = {"vector": vector(3), "limit": 1}
    assert {"version": 2, "ids": [WORDS[3]], "documents": ["text 3"]} == function.lambda_handler(asked, None)
    version = news.publish()
    function.reader.refresh()
    assert version == function.lambda_handler(asked, None)["version"]


def test_a_vector_of_another_model_is_an_error_of_the_invocation(function: ModuleType) -> None:
    """Whoever called is told both dimensions."""
    with pytest.raises(BadInput, match="vectors of 2 numbers, words has 4 dimensions"):
        function.lambda_handler({"vector": [1.0, 2.0]}, None)
