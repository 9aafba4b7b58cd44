"""``expire``, ``pin``, ``unpin``, ``sweep``: what is kept, and what goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    VersionOption,
    choose_collection,
    parse_age,
)
from chroma_lifecycle.cli.output import Output, printable
from chroma_lifecycle.cli.shards import each_shard
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import StoredObject
from chroma_lifecycle.publishing.condemned import Judged
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.retention import Amended, undo_expire
from chroma_lifecycle.publishing.retention import expire as expire_versions
from chroma_lifecycle.publishing.retention import pin as pin_version
from chroma_lifecycle.publishing.retention import unpin as unpin_version
from chroma_lifecycle.publishing.sweep import Swept, sweep_mirror
from chroma_lifecycle.publishing.sweep import sweep as sweep_store
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.values import Version
from chroma_lifecycle.wiring import open_mirror, open_store, writer
from chroma_lifecycle.words import age, size, version_range

_SHOWN = 20
_TAKEN_BACK = (
    "take it back: chroma-lifecycle expire --undo; a sweep deletes what expired longer ago than its grace period"
)
PinArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the pin.")]


@each_shard()
def expire(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    keep: Annotated[int | None, typer.Option("--keep", help="How many of the newest versions stay.", min=1)] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", help="Versions expire that were replaced longer ago than this: 12h, 30d."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last expiry back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let old versions leave the history; they stay whole until a sweep, and can come back."""
    if undo and (keep is not None or older_than is not None):
        raise BadInput("--undo takes the last expiry back as it was", hint="leave --keep and --older-than out")
    source, name = open_store(store), choose_collection(collection, mapping)
    if undo:
        amended = undo_expire(source, name, writer=writer())
    else:
        span = None if older_than is None else parse_age(older_than)
        amended = expire_versions(source, name, keep=keep, older_than=span, writer=writer())
    Output(as_json).result({**_kept(amended.after), "changed": amended.changed}, *_told(name, amended, undo))


def _kept(head: Head) -> dict[str, Any]:
    """Return what HEAD keeps, for programs."""
    return {
        "collection": head.collection,
        "version": head.version.number,
        "shown_from": head.shown_from.number,
        "floor": head.floor.number,
        "expiries": [{"bound": each.bound.number, "time": each.time} for each in head.expiries],
        "pins": {pin: ref.version.number for pin, ref in sorted(head.pins.items())},
    }


def _told(name: str, amended: Amended, undo: bool) -> Iterator[str]:
    before, after = amended.before.shown_from.number, amended.after.shown_from.number
    if not amended.changed:
        yield (
            f"{name}: there is no expiry to undo" if undo else f"{name}: nothing expires, {_range(amended.after)} stay"
        )
    elif undo:
        yield f"{name}: {version_range(after, before - 1)} back in the history"
    else:
        yield f"{name}: {version_range(before, after - 1)} expired; the history is now {_range(amended.after)}"
        yield _TAKEN_BACK


def _range(head: Head) -> str:
    return version_range(head.shown_from.number, head.version.number)


@each_shard()
def pin(
    name: PinArgument,
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a version whatever expires, by default the newest, under a name."""
    source, where = open_store(store), choose_collection(collection, mapping)
    wanted = None if version is None else Version(version)
    head = pin_version(source, where, name, wanted, writer=writer()).after
    Output(as_json).result(_kept(head), f"{where}: version {head.pins[name].version.number} is pinned as {name}")


@each_shard()
def unpin(
    name: PinArgument,
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a pin; its version expires with the others of its age, after the grace period."""
    source, where = open_store(store), choose_collection(collection, mapping)
    amended = unpin_version(source, where, name, writer=writer())
    number = amended.before.pins[name].version.number
    Output(as_json).result(_kept(amended.after), f"{where}: version {number} is no longer pinned as {name}")


@each_shard()
def sweep(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without this, say what would go.")] = False,
    grace: Annotated[
        str, typer.Option("--grace", help="How long ago something must have expired, and how old a file must be.")
    ] = "24h",
    named: Annotated[
        list[str] | None,
        typer.Option("--name", help="A foreign or unknown file that is to go too, or a foreign lineage; repeatable."),
    ] = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete what no version needs any more, from the mirror too; a dry run unless told otherwise."""
    output, name, span = Output(as_json), choose_collection(collection, mapping), parse_age(grace)
    source, second = open_store(store), open_mirror(mirror, store)
    with output.doing(f"sweeping {name}"):
        swept = sweep_store(source, name, grace=span, named=named or (), delete=delete, writer=writer())
        mirrored = sweep_mirror(source, second, name, delete=delete) if second else None
    told = [*_sweep_told(f"{name} in {source.address}", swept, span)]
    spared = _without_effect(named or (), Names(name), swept.judged)
    told += [f"  --name {printable(each)}: nothing that could go has this name or lineage" for each in spared]
    if second and mirrored:
        told += _sweep_told(f"{name} in the mirror {second.address}", mirrored, timedelta(0))
    output.result(
        {"store": _sweep_value(swept), "without_effect": spared, "mirror": mirrored and _sweep_value(mirrored)}, *told
    )


def _without_effect(named: Sequence[str], names: Names, judged: Judged) -> list[str]:
    """Return which of *named* are the name or lineage of nothing that goes, now or when it is older."""
    gone = (*judged.condemned, *judged.young)
    eras = [names.era_of(row.name) for row in gone]
    known = {*(row.name for row in gone), *(era.lineage for era in eras if era is not None)}
    return [each for each in named if each not in known]


def _sweep_value(swept: Swept) -> dict[str, Any]:
    judged = swept.judged
    return {
        "deleted": swept.deleted,
        "floor": swept.head.floor.number,
        "sweeps": swept.head.sweeps,
        "live": judged.live,
        **{
            pile: [{"name": row.name, "bytes": row.size, "modified": row.modified} for row in rows]
            for pile, rows in _piles(judged)
        },
    }


def _piles(judged: Judged) -> tuple[tuple[str, Sequence[StoredObject]], ...]:
    return (
        ("condemned", judged.condemned),
        ("young", judged.young),
        ("foreign", judged.foreign),
        ("unknown", judged.unknown),
        ("spare_heads", judged.spare_heads),
    )


def _sweep_told(where: str, swept: Swept, grace: timedelta) -> Iterator[str]:
    judged, gone = swept.judged, (*swept.judged.condemned, *swept.judged.spare_heads)
    verb = "deleted" if swept.deleted else "would be deleted"
    yield f"{where}: {len(gone)} files {verb}, {_bytes(gone)}; {judged.live} live, {_range(swept.head)}"
    yield from _listed(verb, gone)
    if judged.young:
        yield f"  {len(judged.young)} files that nobody needs are younger than {age(grace)} and stay"
    if judged.foreign:
        yield "  of another lineage, left alone (delete them by --name LINEAGE, if they are nobody's):"
        yield from _listed("foreign", judged.foreign)
    if judged.unknown:
        yield "  unknown, left alone (delete them by --name FILE):"
        yield from _listed("unknown", judged.unknown)
    if gone and not swept.deleted:
        yield "nothing was deleted; do it with --delete"


def _listed(kind: str, rows: Sequence[StoredObject]) -> Iterator[str]:
    for row in rows[:_SHOWN]:
        yield f"  {kind}: {printable(row.name)}  {size(row.size)}  {row.modified:%Y-%m-%d %H:%M}"
    if len(rows) > _SHOWN:
        yield f"  ... and {len(rows) - _SHOWN} more; --json lists all"


def _bytes(rows: Sequence[StoredObject]) -> str:
    return size(sum(row.size for row in rows))


COMMANDS = (expire, pin, unpin, sweep)
