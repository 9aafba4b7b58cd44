"""The settings of the collections in a closed directory, as its own tables hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chroma_lifecycle.chroma.client import CollectionSettings, Space
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.snapshot import soundness, sqlite_file

_SPACES: Mapping[str, Space] = {"cosine": "cosine", "l2": "l2", "ip": "ip"}
_DEFAULT_SPACE = "l2"  # Chroma's own


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
    return CollectionSettings(_space(directory, collection), dimension)


def _space(directory: Path, collection: str) -> Space:
    with sqlite_file.reading(directory / soundness.DATABASE) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(collections)")}
        schema = "schema_str" if "schema_str" in columns else "NULL"
        config, stored = database.execute(
            f"SELECT config_json_str, {schema} FROM collections WHERE name = ?",  # noqa: S608 (own names)
            (collection,),
        ).fetchone()
        row = database.execute(
            "SELECT str_value FROM collection_metadata JOIN collections ON collections.id = collection_id "
            "WHERE name = ? AND key = 'hnsw:space'",
            (collection,),
        ).fetchone()
    name = _of_schema(stored) or _of_config(config) or (row[0] if row else None) or _DEFAULT_SPACE
    if name not in _SPACES:
        raise BadInput(
            f"collection {collection} in {directory} has the space {name!r}; allowed: {', '.join(_SPACES)}",
            hint="begin it anew with one of them, and merge its records as a delta",
        )
    return _SPACES[name]


def _of_schema(text: str | None) -> str | None:
    """Return the space that the schema names (from chromadb 1.1 on)."""
    part: Any = json.loads(text) if text else None
    for step in ("keys", "#embedding", "float_list", "vector_index", "config", "space"):
        part = part.get(step) if isinstance(part, dict) else None
    return part if isinstance(part, str) else None


def _of_config(text: str | None) -> str | None:
    hnsw = (json.loads(text) if text else {}).get("hnsw") or {}
    space = hnsw.get("space")
    return space if isinstance(space, str) else None
