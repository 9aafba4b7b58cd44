"""The settings of the collections in a closed directory, as its own tables hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chroma_lifecycle.chroma.client import SPACES, CollectionSettings
from chroma_lifecycle.deltas.marks import HNSW, own_metadata
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.snapshot import soundness, sqlite_file
from chroma_lifecycle.values import Scalar

# Chroma's own.
_DEFAULT_SPACE = "l2"
_DEFAULTS: Mapping[str, float] = {"ef_construction": 100, "ef_search": 100, "max_neighbors": 16, "resize_factor": 1.2}


def read_settings(directory: Path, collection: str) -> CollectionSettings:
    """Return the space and dimension of one of the collections in *directory*.

    Raises:
        BadInput: There is no such collection, or it never held a vector, so that nothing tells its dimension.
        Corrupt: The directory is not whole.
    """
    found = {state.name: state for state in soundness.examine(directory).collections}
    if collection not in found:
        raise BadInput(
            f"{directory} has no collection {collection!r}; allowed: {', '.join(sorted(found)) or 'it has none'}",
            hint="name one of them with --collection",
        )
    dimension = found[collection].dimension
    if dimension is None:
        raise BadInput(
            f"collection {collection} in {directory} never held a vector, so there is nothing to adopt",
            hint="begin it empty: init with --dimension, without --from",
        )
    return stored_settings(directory, collection, dimension)


def stored_settings(directory: Path, collection: str, dimension: int) -> CollectionSettings:
    """Return what a new collection needs to be like one of those in *directory*, whose *dimension* is known.

    Raises:
        BadInput: Its distances are measured in a way that is not supported, or its own metadata is none.
    """
    with sqlite_file.reading(directory / soundness.DATABASE) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(collections)")}
        schema = "schema_str" if "schema_str" in columns else "NULL"
        id_, config, stored = database.execute(
            f"SELECT id, config_json_str, {schema} FROM collections WHERE name = ?",  # noqa: S608 (own names)
            (collection,),
        ).fetchone()
        rows = database.execute(
            "SELECT key, str_value, int_value, float_value, bool_value FROM collection_metadata "
            "WHERE collection_id = ?",
            (id_,),
        ).fetchall()
    metadata = {key: _value(*values) for key, *values in rows}
    try:
        own = own_metadata(metadata)
    except ValueError as problem:
        raise BadInput(f"collection {collection} in {directory}: {problem}", hint="change it there first") from problem
    index = _of_schema(stored) or _of_config(config) or {}
    space = str(index.get("space") or metadata.get("hnsw:space") or _DEFAULT_SPACE)
    if space not in SPACES:
        raise BadInput(
            f"collection {collection} in {directory} has the space {space!r}; allowed: {', '.join(SPACES)}",
            hint="begin it anew with one of them, and merge its records as a delta",
        )
    hnsw = {name: value for name in HNSW if (value := index.get(name)) not in (None, _DEFAULTS[name])}
    return CollectionSettings(SPACES[space], dimension, own, hnsw)


def _value(text: str | None, integer: int | None, number: float | None, flag: int | None) -> Scalar | None:
    return text if text is not None else integer if integer is not None else number if flag is None else bool(flag)


def _of_schema(text: str | None) -> dict[str, Any]:
    """Return the space and the index that the schema names (from chromadb 1.1 on)."""
    part: Any = json.loads(text) if text else None
    for step in ("keys", "#embedding", "float_list", "vector_index", "config"):
        part = part.get(step) if isinstance(part, dict) else None
    return {**(part.get("hnsw") or {}), "space": part.get("space")} if isinstance(part, dict) else {}


def _of_config(text: str | None) -> dict[str, Any]:
    found: Any = (json.loads(text) if text else {}).get("hnsw")
    return found if isinstance(found, dict) else {}
