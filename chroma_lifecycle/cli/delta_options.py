"""What the commands on deltas share: which delta, opened how, and what it must fit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chroma_lifecycle.cli.options import MOST_DIMENSIONS, choose_collection
from chroma_lifecycle.config import PREFIX, Checksums
from chroma_lifecycle.errors import BadInput, Sharded
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.values import Ordering
from chroma_lifecycle.wiring import open_delta_at, open_store

if TYPE_CHECKING:
    from chroma_lifecycle.deltas.checks import Expectation
    from chroma_lifecycle.deltas.listing import Form
    from chroma_lifecycle.deltas.model import Delta
    from chroma_lifecycle.deltas.open import Survey

DeltaArgument = Annotated[
    str,
    typer.Argument(
        help="A .parquet or .jsonl file, a directory of them, a Chroma directory, or a .tar.gz of one; "
        "a path or s3://bucket/key."
    ),
]
DimensionOption = Annotated[
    int | None,
    typer.Option(
        "--dimension", help="Of the collection's vectors; by default what the store says.", min=1, max=MOST_DIMENSIONS
    ),
]
OptionalStoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar=f"{PREFIX}STORE", help="Where versions live: s3://bucket/prefix or a directory."),
]


@contextmanager
def opened(address: str, expected: Expectation, checksums: Checksums | None) -> Iterator[tuple[Form, Delta]]:
    """Give the delta that a person names, every record of it checked.

    Raises:
        BadInput: There is none, or a record of it cannot be applied.
    """
    from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
    from chroma_lifecycle.deltas.listing import Form, list_delta
    from chroma_lifecycle.deltas.open import open_delta

    name, source = open_delta_at(address, checksums=checksums)
    form = list_delta(name, source).form
    if form in (Form.CHROMA, Form.ARCHIVE) and not expected.collection:
        raise BadInput(
            f"{address} is a {form.value}: which collection is meant?", hint="name it with --collection NAME"
        )
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        yield form, open_delta(name, source, Path(scratch), expected, read_chroma_delta)


def surveyed(address: str, expected: Expectation, checksums: Checksums | None, most: int) -> Survey:
    """Return everything that is wrong with the delta that a person names."""
    from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
    from chroma_lifecycle.deltas.open import survey_delta

    name, source = open_delta_at(address, checksums=checksums)
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        return survey_delta(name, source, Path(scratch), expected, read_chroma_delta, most=most)


def for_any(collection: str | None) -> Expectation:
    """Return what the records of any collection must fit."""
    from chroma_lifecycle.deltas.checks import Expectation

    return Expectation(choose_collection(collection, None) if collection else "", None, None, lambda _: True)


def as_a_cycle(
    mapping: str, collection: str, dimension: int, below: str | None, space: str | None = None
) -> Expectation:
    """Return what a cycle expects of a delta for *collection*.

    Raises:
        BadInput: The mapping has no such collection, or knows no prefix that ids must lie below.
    """
    from chroma_lifecycle.deltas.checks import Expectation

    table = load_mapping(mapping)
    if collection not in table.collections:
        known = ", ".join(table.collections)
        raise BadInput(f"the mapping has no collection {collection!r}; it has {known}", hint="name one of these")
    if below is not None and table.ordering is not Ordering.EXACT:
        raise BadInput(
            "--below: in this mapping ids need not lie below their run's partition key", hint="leave --below out"
        )
    return Expectation(collection, dimension, below, lambda id_: table.fits(collection, id_), space)


def known_vectors(
    given: int | None, store: str | None, collection: str, checksums: Checksums | None
) -> tuple[int, str | None]:
    """Return the dimension that is given, or else dimension and space of the collection in its store.

    Raises:
        BadInput: Neither is given.
        NotInitialised: The store has no such collection.
    """
    if given is not None:
        return given, None
    if not store:
        raise BadInput(
            f"which dimension does {collection} have?", hint="give --store, where it lives, or else --dimension N"
        )
    source = open_store(store, checksums=checksums)
    try:
        published = read_published(source, collection)
    except Sharded:  # all shards have one dimension
        published = read_published(source, read_layout(source, collection).layout.shards[0].name)
    details = published.manifest.details
    return details.dimension, details.space
