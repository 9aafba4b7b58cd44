"""``delta write``: records from a file become a delta where the compactor looks, and its run is announced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chroma_lifecycle.cli.delta_options import (
    DeltaArgument,
    DimensionOption,
    OptionalStoreOption,
    as_a_cycle,
    known_vectors,
    opened,
)
from chroma_lifecycle.cli.options import ChecksumsOption, CollectionOption, JsonOption, MappingOption, choose_collection
from chroma_lifecycle.cli.output import Output, printable
from chroma_lifecycle.config import PREFIX
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.wiring import first_root

if TYPE_CHECKING:
    from chroma_lifecycle.producer import Announced


def write(
    delta: DeltaArgument,
    mapping: MappingOption,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="NAME=VALUE of a placeholder in the run item's key; given again for each."),
    ] = None,
    dimension: DimensionOption = None,
    store: OptionalStoreOption = None,
    collection: CollectionOption = None,
    deltas: Annotated[
        str | None,
        typer.Option(
            "--deltas",
            envvar=f"{PREFIX}DELTAS",
            help="Where the compactor looks for deltas, the first root; by default the store's bucket or directory.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", envvar=f"{PREFIX}TABLE", help="Announce the run in this DynamoDB table.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Below the root; by default one that follows from the run's key.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="The mapping's rule for run items, if several merge here.")
    ] = None,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write records from a file as a delta, every one checked, and announce its run; again, it changes nothing."""
    from chroma_lifecycle.producer import Producer, run_rule  # imports pyarrow, which takes long

    output, name = Output(as_json), choose_collection(collection, mapping)
    if not deltas and not store:
        raise BadInput("where does the compactor look for deltas?", hint="give --deltas, or --store")
    values = _values(key or [], run_rule(load_mapping(mapping), name, rule).key.names)
    size, space = known_vectors(dimension, store, name, checksums)
    producer = Producer.open(
        mapping=mapping,
        dimension=size,
        deltas=first_root(deltas, store or ""),
        collection=name,
        table=table,
        rule=rule,
        s3_checksums=checksums,
    )
    with (
        output.counting(f"writing {delta}") as tell,
        producer.run(address=address, **values) as run,
        opened(delta, as_a_cycle(mapping, name, size, None, space), checksums) as (_, found),
    ):
        for rows in found.batches():
            run.add(rows.ids, rows.embeddings, rows.documents, rows.metadatas)
            tell(run.count)
    assert run.announced is not None  # the block has ended without an error
    output.result(_value(name, run.announced, table), *_told(name, run.announced, table))


def _values(given: list[str], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the value of each placeholder in the run item's key."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in names or name in values:
            raise BadInput(f"--key {text!r} gives no placeholder of the run's key a value", hint=_wanted(names))
        values[name] = value
    if missing := [name for name in names if name not in values]:
        raise BadInput(f"the run's key needs {', '.join(missing)}", hint=_wanted(names))
    return values


def _wanted(names: tuple[str, ...]) -> str:
    return f"give each once: {' '.join(f'--key {name}=VALUE' for name in names)}"


def _value(collection: str, done: Announced, table: str | None) -> dict[str, Any]:
    return {
        "collection": collection,
        "address": done.delivered.address,
        "records": done.delivered.count,
        "new": done.delivered.is_new,
        "item": {"partition": done.item.partition, "sort": done.item.sort},
        "table": table,
        "begins": done.begins,
    }


def _told(collection: str, done: Announced, table: str | None) -> Iterator[str]:
    delivered, item = done.delivered, printable(f"{done.item.partition}, {done.item.sort}".removesuffix(", "))
    was = "" if delivered.is_new else "; they were there already"
    yield f"{collection}: {delivered.count:,} records in {printable(delivered.address)}{was}"
    if table is None:
        yield f"not announced: give --table, or put this address and PENDING into item {item}"
    elif done.begins:
        yield f"run {item} is announced in {table}"
    else:
        yield f"run {item} says so in {table} already, or is completed: nothing begins"


COMMANDS = (write,)
"""What ``delta`` takes from here."""
