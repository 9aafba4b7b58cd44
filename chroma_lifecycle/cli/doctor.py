"""``doctor``: who has a Chroma directory open, and whether a store can be relied upon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import CollectionOption, JsonOption, MirrorOption, OptionalMappingOption
from chroma_lifecycle.cli.output import EXIT_NOT_OWNED, EXIT_PARTLY, Output, printable
from chroma_lifecycle.config import PREFIX
from chroma_lifecycle.errors import BadInput, Corrupt, NotInitialised, ObjectMissing, Sharded
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.page.bucket import check_bucket
from chroma_lifecycle.page.health import Check, State
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.trial import compares_before_it_writes
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.names import UNFINISHED
from chroma_lifecycle.stores.folders import os_errors
from chroma_lifecycle.values import Ordering
from chroma_lifecycle.wiring import BUCKET, open_mirror, open_store

SubjectArgument = Annotated[
    str | None,
    typer.Argument(help="A Chroma directory, or the number of a process; without it, the store is examined."),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar=f"{PREFIX}STORE", help="The store to examine: s3://bucket/prefix or a directory."),
]


def doctor(
    subject: SubjectArgument = None,
    store: StoreOption = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Write and erase a small HEAD, to see that the store compares first.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say who has a directory open and what would stop a safe copy; or whether a store can be relied upon."""
    output = Output(as_json)
    if subject is not None and not subject.startswith(BUCKET):
        _directory_or_process(subject, output)
        return
    if not (address := subject or store):
        raise BadInput(
            "what is to be examined?", hint="name a Chroma directory, the number of a process, or --store ADDRESS"
        )
    found = list(_examine(address, mirror, collection, mapping, trial=trial))
    safe = all(check.state is not State.BAD for check in found)
    output.result(
        {"subject": address, "safe": safe, "checks": [asdict(check) for check in found]},
        *(printable(f"{check.state}: {check.text} {check.way_out}".rstrip()) for check in found),
    )
    if not safe:
        raise typer.Exit(EXIT_PARTLY)


def _directory_or_process(subject: str, output: Output) -> None:
    from chroma_lifecycle.chroma.doctor import diagnose  # imports chromadb, which takes seconds

    path = Path(subject)
    if not path.exists() and not (subject.isascii() and subject.isdigit()):
        raise BadInput(f"{subject} is neither a directory nor the number of a process", hint="check the path")
    found = diagnose(path if path.exists() else int(subject))
    output.result(asdict(found), *found.findings, *found.advice)
    if not found.safe:
        raise typer.Exit(EXIT_NOT_OWNED)


def _examine(
    address: str, mirror: str | None, collection: str | None, mapping: str | None, *, trial: bool
) -> Iterator[Check]:
    store = open_store(address)
    if address.startswith(BUCKET):
        from chroma_lifecycle.aws.bucket import look_at_bucket  # boto3, which takes long to import

        yield from check_bucket(look_at_bucket(address))
    if trial:
        yield _compares(address)
    table = load_mapping(mapping) if mapping else None
    if table is not None and table.ordering is Ordering.TO_THE_SECOND:
        yield Check(
            State.LOOK,
            "The mapping orders changes of items with different keys to the second: of two within one, either can win.",
            "Where ids can begin with the partition key of every item, 'ordering: exact' knows no such doubt.",
        )
    for name in [collection] if collection else table.collections if table else ():
        yield from _facts(Stores(store, open_mirror(mirror, address)), name)


def _compares(address: str) -> Check:
    if _try(address):
        return Check(State.GOOD, f"{address} compares before it writes: of two writers, one is refused.")
    return Check(
        State.BAD,
        f"{address} takes conditions and does not keep to them: two writers lose each other's updates.",
        "Use a store that implements If-Match and If-None-Match of PutObject.",
    )


def _try(address: str) -> bool:
    if address.startswith(BUCKET):
        return compares_before_it_writes(open_store(address))
    if not Path(address).is_dir():
        raise BadInput(f"there is no directory {address}", hint="check --store; `chroma-lifecycle init` makes it")
    # Beside the collections of the directory, on its file system, and gone with all that was made for it.
    with os_errors(address), TemporaryDirectory(prefix=f"{UNFINISHED}-", dir=address) as beside:
        return compares_before_it_writes(open_store(beside))


def _facts(stores: Stores, collection: str) -> Iterator[Check]:
    """Yield what the facts of the newest version say about where they came from."""
    try:
        origins = _origins(stores, collection)
    except (Corrupt, ObjectMissing) as problem:
        text = f"The newest version of {collection} cannot be read: {problem.message}."
        yield Check(State.BAD, text, f"{problem.hint[:1].upper()}{problem.hint[1:]}.")
        return
    except NotInitialised as problem:
        yield Check(State.LOOK, f"{problem.message}.", f"{problem.hint[:1].upper()}{problem.hint[1:]}.")
        return
    except Sharded:
        for shard in read_layout(stores.store, collection).layout.shards:
            yield from _facts(stores, shard.name)
        return
    if {"stream", "flat"} <= origins:
        yield Check(
            State.LOOK,
            f"{collection} has facts of stream records and of flat messages: a stream record beats every message, "
            "also one that was made later.",
            "Let either the stream or the messages change an item, not both.",
        )
    else:
        yield Check(State.GOOD, f"The facts of {collection} can all be compared with each other.")


def _origins(stores: Stores, collection: str) -> frozenset[str]:
    manifest = read_published(stores.store, collection).manifest
    with files_of(manifest, stores) as files, Ledger.open(files / LEDGER, read_only=True) as ledger:
        return ledger.origins()


COMMANDS = (doctor,)
