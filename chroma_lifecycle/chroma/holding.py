"""Which client of Chroma something holds: a wrapper, a vector store of a framework, a collection."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.errors import BadInput

_HOLDING_ATTRIBUTES = ("_client", "client", "_chroma_client", "chroma_client", "vectorstore", "vector_store")
"""Where people and frameworks keep a client, or what holds one: an index and a retriever keep their store."""
_DEEPEST_WRAPPER = 5


@runtime_checkable
class HoldsClient(Protocol):
    """A wrapper that says which Chroma client it holds."""

    def chroma_client(self) -> object:
        """Return the client, or ``None`` if it holds none any more."""
        ...


def find_client(holder: object, ended: Collection[object]) -> Any:
    """Return the client of chromadb that *holder* is or holds; ``None`` if it holds none (any more).

    A collection knows no client, only what answers its calls. Its client is the only one that lives on
    that; where there is none, or more than one, what answers is returned in its place.

    Args:
        ended: Clients that were closed before.

    Raises:
        BadInput: It is nothing of the kind.
    """
    candidate = holder
    for _ in range(_DEEPEST_WRAPPER):
        if candidate is None or systems.is_client(candidate):
            return candidate
        if systems.is_collection(candidate):
            return _client_of(candidate, ended)
        if isinstance(candidate, HoldsClient):
            candidate = candidate.chroma_client()
            continue
        attributes = [name for name in _HOLDING_ATTRIBUTES if hasattr(candidate, name)]
        if not attributes:
            break
        candidate = getattr(candidate, attributes[0])
    raise BadInput(
        f"a {type(holder).__name__} is no Chroma client and holds none that can be found",
        hint="pass the client itself, or give the wrapper a method chroma_client() that returns it",
    )


def _client_of(collection: Any, ended: Collection[object]) -> Any:
    server = collection._client  # noqa: SLF001 - it has no public name
    living = systems.clients_of(server, besides=ended)
    return living[0] if len(living) == 1 else server
