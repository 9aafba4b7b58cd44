"""``query``: look at records, by id or by nearness."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import (
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    VersionOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, rows
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of, find_manifest
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.wiring import open_mirror, open_store


def query(
    store: StoreOption,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Id of a record; may be given again.")] = None,
    vector: Annotated[
        str | None, typer.Option("--vector", help="JSON list of numbers, or @FILE with one: the nearest records.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Chroma's filter as JSON, with --vector.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the nearest.", min=1)] = 10,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show records of a version: those with an id, or those nearest to a vector."""
    from chroma_lifecycle.chroma.client import ManagedClient  # imports chromadb, which takes seconds
    from chroma_lifecycle.chroma.records import get_records, query_records

    if bool(ids) == (vector is not None):
        raise BadInput("a query asks by id or by vector", hint="give --id ID, or --vector '[0.1, ...]'")
    if ids and where is not None:
        raise BadInput("--where filters what --vector finds", hint="leave --where out, or ask by --vector")
    numbers, selected = _vector(vector), _where(where)
    output, source, name = Output(as_json), open_store(store), choose_collection(collection, mapping)
    manifest = find_manifest(source, read_published(source, name), version)
    stores = Stores(source, open_mirror(mirror))
    with (
        output.doing(f"opening {name}"),
        files_of(manifest, stores) as files,
        ManagedClient.open(files / CHROMA, name) as client,
    ):
        found = get_records(client, ids) if ids else query_records(client, numbers, limit=limit, where=selected)
    output.result(
        [asdict(record) for record in found],
        f"version {manifest.version.number}: {len(found)} records",
        table=rows(
            "id", "distance", "document", "metadata",
            of=[
                (
                    record.id,
                    "" if record.distance is None else f"{record.distance:.4f}",
                    _short(record.document),
                    json.dumps(dict(record.metadata), ensure_ascii=False, sort_keys=True),
                )
                for record in found
            ],
        ),
    )  # fmt: skip


def _vector(text: str | None) -> list[float]:
    if text is None:
        return []
    try:
        numbers = json.loads(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as problem:
        raise BadInput(f"--vector cannot be read: {problem}", hint="give a JSON list of numbers, or @FILE") from problem
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise BadInput("--vector is no JSON list of numbers", hint="give for instance '[0.1, 0.2]', or @FILE")
    return [float(number) for number in numbers]


def _where(text: str | None) -> Mapping[str, object] | None:
    if text is None:
        return None
    try:
        selected = json.loads(text)
    except ValueError as problem:
        raise BadInput(
            f"--where is not JSON: {problem}", hint="""give for instance '{"section": "games"}'"""
        ) from problem
    if not isinstance(selected, dict):
        raise BadInput("--where is no JSON object", hint="""give for instance '{"section": "games"}'""")
    return selected


def _short(document: str | None) -> str:
    line = (document or "").partition("\n")[0]
    return line if len(line) <= 60 else f"{line[:59]}…"


COMMANDS = (query,)
