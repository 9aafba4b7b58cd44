"""``delta inspect``, ``delta validate`` and ``delta convert``: what a delta holds, whether a cycle would take it."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chroma_lifecycle.cli.options import CollectionOption, JsonOption, MappingOption, choose_collection
from chroma_lifecycle.cli.output import Output, one_line
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.values import Ordering

if TYPE_CHECKING:
    from chroma_lifecycle.deltas.checks import Expectation
    from chroma_lifecycle.deltas.model import Delta
    from chroma_lifecycle.deltas.open import Form

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_FIRST = 3
_LONGEST_ID = 80
_TYPES = {str: "text", bool: "true or false", int: "integer", float: "float"}

DeltaArgument = Annotated[
    Path,
    typer.Argument(help="A .parquet or .jsonl file, a directory of them, a Chroma directory, or a .tar.gz of one."),
]


@app.callback()
def _group() -> None:
    """Look at deltas, check them, and change their form."""


@app.command()
def inspect(delta: DeltaArgument, collection: CollectionOption = None, as_json: JsonOption = False) -> None:
    """Say what a delta holds: its form, how many records, their dimension, metadata keys and first ids."""
    output = Output(as_json)
    with output.doing(f"reading {delta.name}"), _opened(delta, _any_of(collection)) as (form, found):
        types = _types_of_keys(found)
    told = {
        "form": form.value,
        "records": len(found.ids),
        "dimension": found.dimension,
        "digest": found.digest,
        "keys": types,
        "first_ids": found.ids[:_FIRST],
    }
    keys = [f"  {one_line(key, _LONGEST_ID)}: {_counted(counts)}" for key, counts in types.items()]
    output.result(
        told,
        f"{delta}: {form.value}, {len(found.ids):,} records, {found.dimension or 0:,} dimensions",
        f"content {found.digest[:12]}",
        *(["metadata keys:", *keys] if keys else ["no metadata"]),
        "first ids:",
        *(f"  {one_line(id_, _LONGEST_ID)}" for id_ in found.ids[:_FIRST]),
    )


@app.command()
def validate(
    delta: DeltaArgument,
    mapping: MappingOption,
    dimension: Annotated[int, typer.Option("--dimension", help="Of the collection's vectors.", min=1)],
    collection: CollectionOption = None,
    below: Annotated[
        str | None, typer.Option("--below", help="The run item's partition key, below which every id must lie.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a delta as a cycle would check it before merging it; the first problem is told."""
    output = Output(as_json)
    expected = _as_a_cycle(mapping, choose_collection(collection, mapping), dimension, below)
    unchecked = below is None and load_mapping(mapping).ordering is Ordering.EXACT
    with output.doing(f"checking {delta.name}"), _opened(delta, expected) as (_, found):
        count = len(found.ids)
    output.result(
        {"collection": expected.collection, "records": count, "digest": found.digest, "below_checked": not unchecked},
        f"{delta}: {count:,} records, all fit {expected.collection}",
        *(["not checked: whether ids lie below their run's partition key; give it with --below"] if unchecked else []),
    )


@app.command()
def convert(
    delta: DeltaArgument,
    to: Annotated[Path, typer.Argument(help="The new file; its name ends with .parquet or .jsonl.")],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the records of a delta, checked, to a new file of another form."""
    from chroma_lifecycle.deltas import convert as converting

    output = Output(as_json)
    converting.require_target(to)
    with output.doing(f"converting {delta.name}"), _opened(delta, _any_of(collection)) as (_, found):
        converting.convert(found, to)
    output.result(
        {"output": str(to), "records": len(found.ids), "digest": found.digest},
        f"{to}: {len(found.ids):,} records, content {found.digest[:12]}",
    )


@contextmanager
def _opened(path: Path, expected: Expectation) -> Iterator[tuple[Form, Delta]]:
    from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
    from chroma_lifecycle.deltas.open import Form, form_of, open_delta
    from chroma_lifecycle.deltas.sources import directory_deltas

    if not path.exists():
        raise BadInput(f"there is no delta {str(path)!r}", hint="give the path of a file or a directory")
    whole = path.resolve()
    source = directory_deltas(whole.parent)
    form = form_of(whole.name, source)
    if form in (Form.CHROMA, Form.ARCHIVE) and not expected.collection:
        raise BadInput(f"{path} is a {form.value}: which collection is meant?", hint="name it with --collection NAME")
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        yield form, open_delta(whole.name, source, Path(scratch), expected, read_chroma_delta)


def _any_of(collection: str | None) -> Expectation:
    from chroma_lifecycle.deltas.checks import Expectation

    return Expectation(choose_collection(collection, None) if collection else "", None, None, lambda _: True)


def _as_a_cycle(mapping: str, collection: str, dimension: int, below: str | None) -> Expectation:
    from chroma_lifecycle.deltas.checks import Expectation

    table = load_mapping(mapping)
    if collection not in table.collections:
        known = ", ".join(table.collections)
        raise BadInput(f"the mapping has no collection {collection!r}; it has {known}", hint="name one of these")
    if below is not None and table.ordering is not Ordering.EXACT:
        raise BadInput(
            "--below: in this mapping ids need not lie below their run's partition key", hint="leave --below out"
        )
    return Expectation(collection, dimension, below, lambda id_: table.fits(collection, id_))


def _types_of_keys(delta: Delta) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for rows in delta.batches():
        for metadata in rows.metadatas:
            for key, value in metadata.items():
                found[key][_TYPES[type(value)]] += 1
    return {key: dict(found[key].most_common()) for key in sorted(found)}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} in {count:,}" for kind, count in counts.items())
