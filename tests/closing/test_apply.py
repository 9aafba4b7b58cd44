"""A plan becomes few calls, and the records become what the plan says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.apply import Applied
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.plan import Plan, Write
from chroma_lifecycle.values import Scalar
from tests.support.chroma_directories import COLLECTION
from tests.support.deltas import opened, record, write_parquet

Stored = dict[str, tuple[list[float], str | None, dict[str, Scalar]]]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ManagedClient]:
    directory = tmp_path / "chroma"
    with ManagedClient.open(directory, COLLECTION, create=CollectionSettings("l2", 3)) as opened_client:
        yield opened_client


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Make a delta of records given as keyword arguments of ``record``."""

    def make_delta(name: str, *records: Mapping[str, object]) -> dict[str, Delta]:
        write_parquet(tmp_path / "deltas" / f"{name}.parquet", records)
        return {name: opened(tmp_path / "deltas", f"{name}.parquet", dimension=len(records[0]["embedding"]))}  # type: ignore[arg-type]

    return make_delta


def stored(client: ManagedClient) -> Stored:
    held = client.collection.get(include=["embeddings", "documents", "metadatas"])
    return {
        id_: (held["embeddings"][row].tolist(), held["documents"][row], held["metadatas"][row] or {})
        for row, id_ in enumerate(held["ids"])
    }


def write(name: str, *ids: str, existing: tuple[str, ...] = (), **owned: Mapping[str, Scalar | None]) -> Plan:
    return Plan(writes=(Write(name, frozenset(ids), frozenset(existing), owned),))


def test_a_delta_is_written_whole(client: ManagedClient, make: Any) -> None:
    """Vector, document and metadata; none of them where the delta has none."""
    deltas = make("one", record("a"), record("b", document=None, metadata={}))
    applied = client.apply(write("one", "a", "b"), deltas)

    assert Applied(written=2, calls=1) == applied
    assert {"a": ([1, 2, 3], "text", {"n": 1}), "b": ([1, 2, 3], None, {})} == stored(client)


def test_only_the_planned_records_of_a_delta_are_written(client: ManagedClient, make: Any) -> None:
    """The others have a newer run, or a newer tombstone."""
    applied = client.apply(write("one", "b"), make("one", record("a"), record("b"), record("c")))
    assert 1 == applied.written
    assert ["b"] == list(stored(client))


def test_owned_keys_come_from_the_plan(client: ManagedClient, make: Any) -> None:
    """A value replaces the delta's; ``None`` takes the key away; others stay the delta's."""
    deltas = make("one", record("a", metadata={"mine": 1, "facts": 1, "gone": 1}))
    client.apply(write("one", "a", a={"facts": 2, "gone": None, "label": True}), deltas)
    assert {"mine": 1, "facts": 2, "label": True} == stored(client)["a"][2]


def test_a_record_written_again_keeps_nothing_of_the_old_one(client: ManagedClient, make: Any) -> None:
    """Chroma's upsert merges metadata and leaves documents; the new run is the whole record."""
    client.apply(write("one", "a", "b"), make("one", record("a", metadata={"old": 1, "both": 1}), record("b")))
    second = make(
        "two", record("a", document=None, embedding=[9, 9, 9], metadata={"both": 2}), record("b", metadata={})
    )
    applied = client.apply(write("two", "a", "b", existing=("a", "b"), a={"label": True}), second)

    assert {"a": ([9, 9, 9], None, {"both": 2, "label": True}), "b": ([1, 2, 3], "text", {})} == stored(client)
    # One call deletes the record that loses its document, one writes both.
    assert (2, 2, 0) == (applied.written, applied.calls, applied.deleted)


def test_updates_set_and_remove_keys_of_metadata(client: ManagedClient, make: Any) -> None:
    """The vector, the document and the keys that are not named stay; nothing is counted as written."""
    client.apply(write("one", "a", "b", "c"), make("one", record("a"), record("b"), record("c")))
    plan = Plan(updates={"a": {"label": True, "n": None}, "b": {"n": None, "never": None}, "c": {}})
    applied = client.apply(plan, {})

    assert Applied(updated=2, calls=1) == applied
    assert [{"label": True}, {}, {"n": 1}] == [stored(client)[id_][2] for id_ in "abc"]
    assert ([1, 2, 3], "text") == stored(client)["a"][:2]


def test_a_record_without_any_key_can_get_some_again(client: ManagedClient, make: Any) -> None:
    """All keys removed reads back as none at all, in every version."""
    client.apply(write("one", "a"), make("one", record("a")))
    client.apply(Plan(updates={"a": {"n": None}}), {})
    assert {} == stored(client)["a"][2]
    client.apply(Plan(updates={"a": {"again": 2.5}}), {})
    assert {"again": 2.5} == stored(client)["a"][2]


def test_deletes_come_first(client: ManagedClient, make: Any) -> None:
    client.apply(write("one", "a", "b"), make("one", record("a"), record("b")))
    plan = Plan(deletes=("b",), writes=write("two", "c").writes, updates={"a": {"label": True}})
    applied = client.apply(plan, make("two", record("c")))

    assert Applied(deleted=1, written=1, updated=1, calls=3) == applied
    assert ["a", "c"] == sorted(stored(client))


def test_many_records_take_few_calls(client: ManagedClient, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5, L2: as many calls as the client's largest batch asks for, and no tail is dropped."""
    ids = [f"r{number}" for number in range(23)]
    deltas = make("one", *(record(id_) for id_ in ids))
    monkeypatch.setattr(ManagedClient, "max_batch", 10)
    assert 3 == client.apply(write("one", *ids), deltas).calls
    assert 3 == client.apply(Plan(updates={id_: {"label": id_} for id_ in ids}), {}).calls
    assert ids == sorted(stored(client), key=lambda id_: int(id_[1:]))
    assert 3 == client.apply(Plan(deletes=tuple(ids)), {}).calls
    assert {} == stored(client)


def test_an_empty_plan_makes_no_call(client: ManagedClient) -> None:
    assert Applied() == client.apply(Plan(), {})


def test_a_delta_of_another_dimension_is_refused_before_any_call(client: ManagedClient, make: Any) -> None:
    """L16: the dimension is fixed when the collection is made, not by the first vector to come."""
    deltas = make("wide", record("a", embedding=[1, 2, 3, 4]))
    with pytest.raises(BadInput, match="wide has 4 dimensions, the collection has 3"):
        client.apply(write("wide", "a"), deltas)
    assert {} == stored(client)


def test_what_chroma_refuses_is_bad_input_and_is_not_quoted(client: ManagedClient, make: Any) -> None:
    """Chroma's own text quotes the value that it refuses; values must not reach a log."""
    client.apply(write("one", "a"), make("one", record("a")))
    plan = Plan(updates={"a": {"label": {"secret": "value"}}})  # type: ignore[dict-item]
    with pytest.raises(BadInput, match="update in collection words") as refusal:
        client.apply(plan, {})
    assert "secret" not in str(refusal.value)
