"""What the user holds: Chroma's collection and client, for reading alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import numpy as np

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.reader.serving import Serving

_Lease = Callable[[], AbstractContextManager[Serving]]
_BY_TEXT = ("query_texts", "query_images", "query_uris")


class ReadCollection:
    """A Chroma collection without its writing methods: what is written to a copy would be lost.

    Of ``with reader.collection() as words`` every call is answered by one version, of
    ``reader.client()`` each by the newest one. Arguments and answers are Chroma's own.
    """

    def __init__(self, name: str, lease: _Lease) -> None:
        self._name = name
        self._lease = lease

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    @property
    def version(self) -> int:
        """Number of the version that answers."""
        with self._lease() as serving:
            return serving.number

    @property
    def id(self) -> Any:
        """Chroma's id of the collection."""
        return self._attribute("id")

    @property
    def metadata(self) -> Any:
        """The collection's own metadata."""
        return self._attribute("metadata")

    @property
    def configuration(self) -> Any:
        """The collection's configuration."""
        return self._attribute("configuration")

    def count(self) -> int:
        """Return how many records there are."""
        return int(self._call("count"))

    def get(self, *arguments: Any, **named: Any) -> Any:
        """Return records by id or filter, as Chroma's ``get``."""
        return self._call("get", *arguments, **named)

    def peek(self, limit: int = 10) -> Any:
        """Return some records, as Chroma's ``peek``."""
        return self._call("peek", limit)

    def query(self, query_embeddings: Any = None, **named: Any) -> Any:
        """Return the nearest records, as Chroma's ``query``.

        Raises:
            BadInput: The vectors have another dimension than the records, or are texts still.
        """
        refuse_texts(self._name, named)
        with self._lease() as serving:
            _check_dimension(query_embeddings, serving)
            return serving.call("query", query_embeddings, **named)

    def add(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        self._refuse("add")

    def upsert(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        self._refuse("upsert")

    def update(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        self._refuse("update")

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        self._refuse("delete")

    def modify(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        self._refuse("modify")

    def _refuse(self, method: str) -> NoReturn:
        raise BadInput(
            f"{method}() on a reader's copy of {self._name} would be lost with the next version",
            hint="write a delta and announce its run, or change the table; a version with it follows",
        )

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        with self._lease() as serving:
            return serving.call(method, *arguments, **named)

    def _attribute(self, name: str) -> Any:
        with self._lease() as serving:
            return serving.attribute(name)


class ReadClient:
    """As much of a Chroma client as libraries ask for that read one collection (``client=``)."""

    def __init__(self, collection: ReadCollection) -> None:
        self._collection = collection

    def get_collection(self, name: str, *_: Any, **__: Any) -> ReadCollection:
        """Return the collection.

        Raises:
            BadInput: The reader reads another one.
        """
        if name != self._collection.name:
            raise BadInput(
                f"this is a reader of collection {self._collection.name}, not of {name}",
                hint="name that collection, or open a reader for the other one",
            )
        return self._collection

    def get_or_create_collection(self, name: str, *_: Any, **__: Any) -> ReadCollection:
        """Return the collection, which exists."""
        return self.get_collection(name)

    def list_collections(self, *_: Any, **__: Any) -> list[ReadCollection]:
        """Return the one collection."""
        return [self._collection]

    def count_collections(self) -> int:
        """Return 1."""
        return 1


def refuse_texts(collection: str, named: Mapping[str, Any]) -> None:
    """Refuse a query by what has no vector yet.

    Raises:
        BadInput: It is one.
    """
    if by := next((name for name in _BY_TEXT if named.get(name) is not None), None):
        raise BadInput(
            f"{by} asks {collection} to embed, and a reader has no embedding function",
            hint="embed the question with the model that embedded the records, and pass query_embeddings",
        )


def _check_dimension(vectors: Any, serving: Serving) -> None:
    try:
        shape = np.shape(vectors)
    except ValueError:  # vectors of several lengths: Chroma says so
        return
    has, wants = shape[-1] if shape else 0, serving.manifest.details.dimension
    if shape and has != wants:
        raise BadInput(
            f"the query has vectors of {has:,} numbers, {serving.manifest.collection} has {wants:,} dimensions",
            hint="embed the question with the model that embedded the records",
        )
