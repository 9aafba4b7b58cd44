"""``query``: look at records, by id or by nearness."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chroma_lifecycle.cli.options import (
    MOST_LISTED,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    VersionOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, one_line, printable
from chroma_lifecycle.errors import BadInput, Sharded
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of, find_manifest
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.wiring import open_mirror, open_store

if TYPE_CHECKING:
    from chroma_lifecycle.chroma.client import ManagedClient
    from chroma_lifecycle.chroma.records import Record

_VECTOR = "give a JSON list of numbers as in '[0.1, 0.2]', or @FILE with one"
_FILTER = """give Chroma's filter as JSON, for instance '{"section": "games"}' or '{"pages": {"$gt": 3}}'"""
_LARGEST = 3.4e38
_DOCUMENT_WIDTH, _VALUE_WIDTH, _REASON_WIDTH = 100, 60, 300


def query(
    store: StoreOption,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Id of a record; may be given again.")] = None,
    vector: Annotated[
        str | None, typer.Option("--vector", help="JSON list of numbers, or @FILE with one: the nearest records.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Chroma's filter as JSON, with --vector.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the nearest.", min=1, max=MOST_LISTED)] = 10,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show records of a version: those with an id, or those nearest to a vector."""
    if bool(ids) == (vector is not None):
        raise BadInput("a query asks by id or by vector", hint="give --id ID, or --vector '[0.1, ...]'")
    if ids and where is not None:
        raise BadInput("--where filters what --vector finds", hint="leave --where out, or ask by --vector")
    numbers, selected = _vector(vector), _where(where)
    output, source, name = Output(as_json), open_store(store), choose_collection(collection, mapping)
    asked = _Question(numbers, tuple(ids or ()), limit, selected)
    stores = Stores(source, open_mirror(mirror, store))
    try:
        number, found = _ask(output, stores, name, version, asked)
        where_found = f"{name} version {number}"
    except Sharded:
        if version is not None:
            raise BadInput(
                f"{name} is in shards, and each has versions of its own",
                hint="name one shard with --collection, or leave --version out",
            ) from None
        where_found, found = _ask_shards(output, stores, name, asked)
    missing = [each for each in ids or () if each not in {record.id for record in found}]
    output.result(
        [asdict(record) for record in found],
        f"{where_found}: {len(found)} records",
        *(line for record in found for line in _lines(record)),
        *(f"no record {printable(each)}" for each in missing),
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked: records by their ids, or the nearest to a vector."""

    vector: list[float] | None
    ids: tuple[str, ...]
    limit: int
    where: Mapping[str, object] | None


def _ask(
    output: Output, stores: Stores, name: str, version: int | None, asked: _Question
) -> tuple[int, tuple[Record, ...]]:
    """Return which version of a lineage answers, and its answer."""
    from chroma_lifecycle.chroma.client import ManagedClient  # imports chromadb, which takes seconds
    from chroma_lifecycle.chroma.records import get_records

    manifest = find_manifest(stores.store, read_published(stores.store, name), version)
    _check_dimension(asked.vector, manifest)
    with (
        output.doing(f"opening {name}"),
        files_of(manifest, stores) as files,
        ManagedClient.open(files / CHROMA, name) as client,
    ):
        if asked.ids:
            return manifest.version.number, get_records(client, asked.ids)
        return manifest.version.number, _nearest(client, asked.vector or [], asked.limit, asked.where)


def _ask_shards(output: Output, stores: Stores, name: str, asked: _Question) -> tuple[str, tuple[Record, ...]]:
    """Return which shards answer, and their answer: by id in the order asked for, or the nearest of all of them."""
    layout = read_layout(stores.store, name).layout
    concerned = {layout.shard_of(record_id) for record_id in asked.ids} or {*layout.shards}
    found = [
        record
        for shard in layout.shards
        if shard in concerned
        for record in _ask(
            output,
            stores,
            shard.name,
            None,
            replace(asked, ids=tuple(i for i in asked.ids if layout.shard_of(i) == shard)),
        )[1]
    ]
    if asked.ids:
        by_id = {record.id: record for record in found}
        found = [by_id[record_id] for record_id in dict.fromkeys(asked.ids) if record_id in by_id]
    else:
        found = sorted(found, key=lambda record: (record.distance or 0.0, record.id))[: asked.limit]
    return f"{name}, {len(concerned)} of {len(layout.shards)} shards", tuple(found)


def _lines(record: Record) -> Iterator[str]:
    yield ""
    yield printable(record.id) + ("" if record.distance is None else f"  at distance {record.distance:.4f}")
    if record.document is not None:
        yield f"  {one_line(record.document, _DOCUMENT_WIDTH)}"
    for key, value in sorted(record.metadata.items()):
        yield f"  {printable(key)}: {one_line(json.dumps(value, ensure_ascii=False), _VALUE_WIDTH)}"


def _nearest(
    client: ManagedClient, vector: list[float], limit: int, where: Mapping[str, object] | None
) -> tuple[Record, ...]:
    from chroma_lifecycle.chroma.records import query_records

    try:
        return query_records(client, vector, limit=limit, where=where)
    except BadInput as problem:
        if where is None:
            raise
        # What Chroma says quotes the filter; here it goes to whoever wrote it, and to no log.
        reason = one_line(str(problem.__context__ or problem.message), _REASON_WIDTH)
        raise BadInput(f"Chroma does not take the filter of --where: {reason}", hint=_FILTER) from problem


def _check_dimension(vector: list[float] | None, manifest: Manifest) -> None:
    dimension = manifest.details.dimension
    if vector is not None and len(vector) != dimension:
        raise BadInput(
            f"--vector has {len(vector):,} numbers, {manifest.collection} has {dimension:,} dimensions",
            hint="embed the question with the model that embedded the records",
        )


def _vector(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        numbers = parse_json(Path(text[1:]).read_text("utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as problem:
        raise BadInput(f"--vector cannot be read: {problem}", hint=_VECTOR) from problem
    if not isinstance(numbers, list) or not all(_is_number(number) for number in numbers):
        raise BadInput("--vector is no list of numbers that 32 bits can hold", hint=_VECTOR)
    return [float(number) for number in numbers]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _where(text: str | None) -> Mapping[str, object] | None:
    if text is None:
        return None
    try:
        selected = parse_json(text)
    except ValueError as problem:
        raise BadInput(f"--where cannot be read: {problem}", hint=_FILTER) from problem
    if not isinstance(selected, dict):
        raise BadInput("--where is no JSON object", hint=_FILTER)
    return selected


COMMANDS = (query,)
