"""The collection of a reader of shards: each call asks the shards that can have an answer, and merges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.reader.collection import ReadCollection, refuse_texts
from chroma_lifecycle.reader.fanning import joined_get, merged_query, shards_asked

_QUERY_FIELDS = ("metadatas", "documents", "distances")


@dataclass(frozen=True, slots=True)
class Asked:
    """The shards as one call, or one block, sees them.

    Attributes:
        shards: Those that are answered for, at least one; all of the layout, or a part of them.
    """

    layout: Layout
    shards: Sequence[Shard]
    collection_of: Callable[[Shard], ReadCollection]

    def concerned(self, ids: Sequence[str] | None, where: Any, partition_key: str | None) -> Sequence[Shard]:
        """Return the shards that can have an answer; where none can, one that has to find nothing."""
        could = shards_asked(self.layout, ids, where, partition_key)
        return [shard for shard in self.shards if shard in could] or self.shards[:1]


def _of_shard(asked: Asked, shard: Shard, ids: Sequence[Any]) -> Sequence[Any]:
    """Return those of *ids* that can be in *shard*; where none can, it is asked for all: it has to find nothing."""
    return [each for each in ids if asked.layout.shard_of(each) == shard] or ids


class ShardedCollection(ReadCollection):
    """A collection whose records are in shards, for reading alone; arguments and answers are Chroma's own."""

    def __init__(
        self,
        name: str,
        partition_key: str | None,
        asked: Callable[[], AbstractContextManager[Asked]],
        side_by_side: Callable[[Sequence[Callable[[], Any]]], list[Any]],
    ) -> None:
        self._name = name
        self._partition_key = partition_key
        self._asked = asked
        self._side_by_side = side_by_side

    @property
    def version(self) -> int:
        """Refuse: each shard has versions of its own."""
        raise BadInput(f"{self._name} is in shards, each with versions of its own", hint="see `status()` of the reader")

    @property
    def layout(self) -> int:
        """Serial of the layout that says which shards answer."""
        with self._asked() as asked:
            return asked.layout.serial

    def count(self) -> int:
        """Return how many records there are."""
        with self._asked() as asked:
            return sum(self._ask(asked, asked.shards, lambda _, collection: collection.count()))

    def get(
        self,
        ids: Any = None,
        where: Any = None,
        limit: int | None = None,
        offset: int | None = None,
        **named: Any,
    ) -> Any:
        wanted = [ids] if isinstance(ids, str) else ids
        with self._asked() as asked:
            shards = asked.concerned(wanted, where, self._partition_key)

            def call(shard: Shard, collection: ReadCollection, **more: Any) -> Any:
                mine = None if wanted is None else _of_shard(asked, shard, wanted)
                return collection.get(ids=mine, where=where, **more, **named)

            if limit is None and not offset:
                return joined_get(self._ask(asked, shards, call))
            return self._part(asked, shards, call, limit, offset or 0)

    def _part(
        self, asked: Asked, shards: Sequence[Shard], call: Callable[..., Any], limit: int | None, offset: int
    ) -> Any:
        """Return *limit* records after the first *offset*, counted through the shards in their order."""
        answers: list[dict[str, Any]] = []
        for shard in shards:
            most = None if limit is None else offset + limit
            answer = call(shard, asked.collection_of(shard), limit=most, offset=0)
            found = len(answer["ids"])
            cut = {name: rows[offset:] if isinstance(rows, list) else rows for name, rows in answer.items()}
            cut["included"] = answer.get("included")
            if answer.get("embeddings") is not None:
                cut["embeddings"] = answer["embeddings"][offset:]
            answers.append(cut)
            taken = len(cut["ids"])
            offset = max(0, offset - found)
            limit = None if limit is None else limit - taken
            if limit == 0:
                break
        return joined_get(answers)

    def peek(self, limit: int = 10) -> Any:
        """Return some records, as Chroma's ``peek``."""
        return self.get(limit=limit, include=["embeddings", "documents", "metadatas"])

    def query(
        self,
        query_embeddings: Any = None,
        n_results: int = 10,
        ids: Any = None,
        where: Any = None,
        include: Any = None,
        **named: Any,
    ) -> Any:
        """Return the nearest records of all shards, as Chroma's ``query``.

        Raises:
            BadInput: The vectors have another dimension than the records, or are texts still.
        """
        refuse_texts(self._name, named)
        wanted, fields = [ids] if isinstance(ids, str) else ids, list(_QUERY_FIELDS if include is None else include)
        with self._asked() as asked:
            shards = asked.concerned(wanted, where, self._partition_key)

            def call(shard: Shard, collection: ReadCollection) -> Any:
                mine = {} if wanted is None else {"ids": _of_shard(asked, shard, wanted)}
                more = {"n_results": n_results, "where": where, "include": [*{*fields, "distances"}]}
                return collection.query(query_embeddings, **more, **mine, **named)

            answers = self._ask(asked, shards, call)
        return merged_query(answers, n_results, with_distances="distances" in fields)

    def _attribute(self, name: str) -> Any:
        with self._asked() as asked:
            return getattr(asked.collection_of(asked.shards[0]), name)

    def _ask(self, asked: Asked, shards: Sequence[Shard], call: Callable[[Shard, ReadCollection], Any]) -> list[Any]:
        return self._side_by_side(
            [lambda shard=shard: call(shard, asked.collection_of(shard)) for shard in shards]  # type: ignore[misc]
        )
