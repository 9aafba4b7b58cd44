"""``delta inspect``, ``delta validate`` and ``delta convert``: what a delta holds, whether a cycle would take it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from chroma_lifecycle.cli.delta_options import (
    DeltaArgument,
    DimensionOption,
    OptionalStoreOption,
    as_a_cycle,
    for_any,
    known_vectors,
    opened,
    surveyed,
)
from chroma_lifecycle.cli.new_files import new_file
from chroma_lifecycle.cli.options import (
    MOST_LISTED,
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MappingOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import EXIT_USAGE, Output, one_line, printable
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.values import Ordering

if TYPE_CHECKING:
    from chroma_lifecycle.deltas.marks import Origin
    from chroma_lifecycle.deltas.model import Delta
    from chroma_lifecycle.deltas.open import Survey

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_FIRST = 3
_LONGEST_ID = 80
_TYPES = {str: "text", bool: "true or false", int: "integer", float: "float"}


@app.callback()
def _group() -> None:
    """Write deltas, look at them, check them, and change their form."""


@app.command()
def inspect(
    delta: DeltaArgument,
    collection: CollectionOption = None,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a delta holds: its form, how many records, their dimension, metadata keys and first ids."""
    output = Output(as_json)
    with output.doing(f"reading {delta}"), opened(delta, for_any(collection), checksums) as (form, found):
        types = _types_of_keys(found)
    told = {
        "form": form.value,
        "records": len(found.ids),
        "dimension": found.dimension,
        "digest": found.digest,
        "keys": types,
        "first_ids": found.ids[:_FIRST],
        "origin": asdict(found.origin) if found.origin else None,
    }
    keys = [f"  {one_line(key, _LONGEST_ID)}: {_counted(counts)}" for key, counts in types.items()]
    output.result(
        told,
        f"{delta}: {form.value}, {len(found.ids):,} records, {found.dimension or 0:,} dimensions",
        f"content {found.digest[:12]}",
        *([_from(found.origin)] if found.origin else []),
        *(["metadata keys:", *keys] if keys else ["no metadata"]),
        "first ids:",
        *(f"  {one_line(id_, _LONGEST_ID)}" for id_ in found.ids[:_FIRST]),
    )


@app.command()
def validate(
    delta: DeltaArgument,
    mapping: MappingOption,
    dimension: DimensionOption = None,
    store: OptionalStoreOption = None,
    collection: CollectionOption = None,
    below: Annotated[
        str | None, typer.Option("--below", help="The run item's partition key, below which every id must lie.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many problems are listed.", min=1, max=MOST_LISTED)
    ] = 20,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check a delta as a cycle would check it before merging it, and name every problem."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    size, space = known_vectors(dimension, store, name, checksums)
    expected = as_a_cycle(mapping, name, size, below, space)
    unchecked = below is None and load_mapping(mapping).ordering is Ordering.EXACT
    with output.doing(f"checking {delta}"):
        found = surveyed(delta, expected, checksums, limit)
    told = {
        "collection": name,
        "dimension": expected.dimension,
        "records": found.records,
        "digest": found.digest,
        "below_checked": not unchecked,
        "problems": found.problems.total,
        "by_kind": dict(found.problems.counts),
        "first": [asdict(problem) for problem in found.problems.listed],
    }
    output.result(
        told,
        *_survey_told(delta, name, found),
        *(["not checked: whether ids lie below their run's partition key; give it with --below"] if unchecked else []),
    )
    return EXIT_USAGE if found.problems.total else 0


def _survey_told(delta: str, collection: str, found: Survey) -> Iterator[str]:
    problems = found.problems
    if not problems.total:
        yield f"{delta}: {found.records:,} records, all fit {collection}"
        return
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in problems.counts.most_common())
    yield f"{delta}: {found.records:,} records, {problems.total:,} problems ({kinds}); no cycle would take it"
    for problem in problems.listed:
        yield f"  {printable(problem.text)}"
    if more := problems.total - len(problems.listed):
        yield f"  and {more:,} more"


@app.command()
def convert(
    delta: DeltaArgument,
    to: Annotated[
        str, typer.Argument(help="The new file, a path or s3://bucket/key; its name ends with .parquet or .jsonl.")
    ],
    collection: CollectionOption = None,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the records of a delta, checked, to a new file of another form."""
    from chroma_lifecycle.deltas.convert import convert as convert_to

    output = Output(as_json)
    with (
        output.doing(f"converting {delta}"),
        new_file(to, checksums) as path,
        opened(delta, for_any(collection), checksums) as (_, found),
    ):
        convert_to(found, path)
    output.result(
        {"output": to, "records": len(found.ids), "digest": found.digest},
        f"{to}: {len(found.ids):,} records, content {found.digest[:12]}",
    )


def _from(origin: Origin) -> str:
    wrote = printable(origin.chroma)
    return f"exported from {origin.collection} version {origin.version}, {origin.space}, chromadb {wrote}"


def _types_of_keys(delta: Delta) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for rows in delta.batches():
        for metadata in rows.metadatas:
            for key, value in metadata.items():
                found[key][_TYPES[type(value)]] += 1
    return {key: dict(found[key].most_common()) for key in sorted(found)}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} in {count:,}" for kind, count in counts.items())
