"""``close_client`` finds the client in what people have at hand: a wrapper, a store of a framework, a collection."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chroma_lifecycle.chroma import closing
from chroma_lifecycle.chroma.closing import Kind, Way, close_client
from chroma_lifecycle.errors import BadInput, NotClosed
from tests.support.chroma_directories import ENDED, fill, opened


@dataclass
class Wrapper:
    _client: object


@dataclass
class Service:
    client: object


@dataclass
class Retriever:
    vectorstore: object


@dataclass
class Explicit:
    held: object

    def chroma_client(self) -> object:
        return self.held


@pytest.mark.parametrize("wrap", [Wrapper, Service, Explicit, lambda client: Retriever(Service(client))])
def test_a_wrapper_is_closed_by_what_it_holds(directory: Path, wrap: Callable[[object], object]) -> None:
    """An attribute, the protocol, or a wrapper in a wrapper leads to the client."""
    client, _ = opened(directory)
    report = close_client(wrap(client))

    assert (ENDED, True) == (report.way, report.proven)
    assert report.client_type in {"Wrapper", "Service", "Explicit", "Retriever"}


def test_a_wrapper_that_let_its_client_go_has_nothing_to_close() -> None:
    """A wrapper that was closed before often holds ``None``."""
    assert Way.NOTHING == close_client(Wrapper(None)).way


@pytest.mark.parametrize("stranger", [object(), "client", 7, Wrapper("text")])
def test_what_holds_no_client_is_refused(stranger: object) -> None:
    """Something else by mistake must not look closed."""
    with pytest.raises(BadInput, match=type(stranger).__name__):
        close_client(stranger)


@pytest.mark.parametrize("wrap", [lambda collection: collection, Service])
def test_a_collection_is_closed_by_its_one_client(directory: Path, wrap: Callable[[object], object]) -> None:
    """LlamaIndex keeps the collection alone; Chroma's collection knows no client, only what answers it."""
    client, collection = opened(directory)
    report = close_client(wrap(collection))

    assert (ENDED, Kind.PERSISTENT, True) == (report.way, report.kind, report.proven)
    assert Way.AGAIN == close_client(client).way == close_client(wrap(collection)).way


def test_a_collection_whose_client_was_dropped_is_closed(directory: Path) -> None:
    """Code that makes a client, takes a collection and drops the client leaves nobody else to close it by."""
    _, collection = opened(directory)
    del _
    gc.collect()

    assert (Way.STOP, True) == ((report := close_client(collection)).way, report.proven)
    assert Way.AGAIN == close_client(collection).way


def test_a_collection_of_two_clients_ends_neither(directory: Path) -> None:
    """Which of them it came from cannot be known, and the other must not lose its system."""
    first, collection = opened(directory)
    second, _ = opened(directory)
    with pytest.raises(NotClosed, match="another client of this process has it open"):
        close_client(collection)
    assert not {id(first), id(second)} & {id(client) for client in closing._ended}

    fill(collection, 25)
    with pytest.raises(NotClosed):
        close_client(first)
    assert (ENDED, True) == ((report := close_client(collection)).way, report.proven)
    assert Way.AGAIN == close_client(second).way
