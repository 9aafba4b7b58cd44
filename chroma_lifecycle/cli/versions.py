"""``log``, ``show``, ``verify``, ``restore``: what was published, and what of it is sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

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
    parse_moment,
)
from chroma_lifecycle.cli.output import EXIT_CORRUPT, Output, Table, printable
from chroma_lifecycle.cli.progress import stored_size
from chroma_lifecycle.cli.shards import each_shard, into_directories_of_their_own
from chroma_lifecycle.cli.sparkline import sparkline
from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.choosing import restore_newest, version_at
from chroma_lifecycle.publishing.fallback import restore_sound
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_manifest, read_published
from chroma_lifecycle.publishing.unpack import Stores, find_manifest, restore_directory
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.snapshot.waste import waste_of
from chroma_lifecycle.wiring import open_mirror, open_store, require_local
from chroma_lifecycle.words import size, versions

_LOG = "version", "time (UTC)", "action", "added", "changed", "removed", "records", "stored", "size", "writer"
_BARS = 60
_SPARE = "writer", "size", "stored", "action"


@each_shard()
def log(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many versions, the newest first.", min=1, max=MOST_LISTED)
    ] = 20,
    every: Annotated[bool, typer.Option("--all", help="Expired and pinned versions too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the versions, newest first, and what changed in each."""
    source, name = open_store(store), choose_collection(collection, mapping)
    head = read_published(source, name).head
    found, broken = _found(source, head, limit, every)
    states = [_state(head, ref) for ref, _ in found]
    rows = [(*_row(manifest), state) for (_, manifest), state in zip(found, states, strict=True)]
    if any(states):
        table = Table((*_LOG, "state"), rows, spare=_SPARE)
    else:
        table = Table(_LOG, [row[:-1] for row in rows], spare=_SPARE)
    summaries = [_summary(manifest) | {"state": state} for (_, manifest), state in zip(found, states, strict=True)]
    Output(as_json).result(summaries, *_drawn([manifest for _, manifest in found]), table=table)
    if broken is not None:
        raise broken


def _found(
    source: Store, head: Head, limit: int, every: bool
) -> tuple[list[tuple[ManifestRef, Manifest]], Corrupt | None]:
    """Return the newest versions of the history, and where it breaks, if it does before their number is reached.

    Args:
        every: Go on past what expired, to all that lives.
    """
    found = list[tuple[ManifestRef, Manifest]]()
    beside = [ref for ref in head.beside if every and ref.version < head.floor]
    newest_first = sorted(beside, key=lambda ref: ref.version, reverse=True)
    pinned = ((ref, read_manifest(source, ref)) for ref in newest_first)
    try:
        for each in chain(walk(source, head, down_to=head.floor if every else head.shown_from), pinned):
            found.append(each)
            if len(found) == limit:
                break
    except (Corrupt, ObjectMissing) as problem:
        number = found[-1][1].version.number
        return found, Corrupt(f"history breaks below version {number}: {problem.message}", hint=_BROKEN)
    return found, None


_BROKEN = (
    "`chroma-lifecycle recover --mirror DIRECTORY` brings it back from a mirror; `chroma-lifecycle verify --all` names "
    "all damage; `chroma-lifecycle restore --version N --fallback` goes past it"
)


def _state(head: Head, ref: ManifestRef) -> str:
    """Return what else HEAD says of a version: its pins, or that it is on its way out."""
    if pins := sorted(name for name, pinned in head.pins.items() if pinned == ref):
        return f"pinned: {', '.join(pins)}"
    return "expired" if ref.version < head.shown_from else ""


def _drawn(newest_first: Sequence[Manifest]) -> Iterator[str]:
    """Yield size and change of the versions as words of bars, the oldest one first."""
    drawn = newest_first[:_BARS][::-1]
    summaries = [manifest.details.summary for manifest in drawn]
    sizes, stored = [manifest.size for manifest in drawn], [manifest.stored_bytes for manifest in drawn]
    changed = [summary.added + summary.changed + summary.removed for summary in summaries]
    if len(drawn) > 1 and sparkline(sizes):
        yield f"size     {sparkline(sizes, min(sizes))}  {size(sizes[0])} to {size(sizes[-1])}"
        yield f"stored   {sparkline(stored)}  at most {size(max(stored))}"
        yield f"records  {sparkline(changed)}  at most {max(changed):,} changed"
        yield ""


def _row(manifest: Manifest) -> tuple[object, ...]:
    summary, counts = manifest.details.summary, manifest.details.counts
    return (
        manifest.version.number,
        manifest.written_at.strftime("%Y-%m-%d %H:%M"),
        summary.action,
        summary.added,
        summary.changed,
        summary.removed,
        counts.records,
        size(manifest.stored_bytes),
        size(manifest.size),
        manifest.writer,
    )


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version.number,
        "written_at": manifest.written_at,
        "writer": manifest.writer,
        "content": manifest.content,
        "size_bytes": manifest.size,
        "stored_bytes": manifest.stored_bytes,
        **asdict(manifest.details),
    }


@each_shard()
def show(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one version: what it holds, how it is stored, and what made it."""
    source, name = open_store(store), choose_collection(collection, mapping)
    published = read_published(source, name)
    manifest = find_manifest(source, published, version)
    head = published.head
    Output(as_json).result(
        {
            **_summary(manifest),
            "unused": {**asdict(waste := waste_of(manifest)), "pays": waste.pays},
            "manifest": manifest.name,
            "head": {"serial": head.serial, "version": head.version.number, "floor": head.floor.number},
            "files": [asdict(entry) for entry in manifest.files],
            "packs": len(manifest.chain.packs),
        },
        *_told(manifest, published.head),
        table=Table(("file", "bytes", "digest"), [(f.path, f.size, f.digest[:12]) for f in manifest.files]),
    )


def _told(manifest: Manifest, head: Head) -> Iterator[str]:
    details = manifest.details
    counts, packs, checked = details.counts, len(manifest.chain.packs), "every page" if details.verified else "lightly"
    yield f"{manifest.collection} version {manifest.version.number}"
    yield f"  written   {manifest.written_at:%Y-%m-%d %H:%M:%S} UTC by {manifest.writer}"
    held = f"; {counts.withheld:,} more are withheld by a rollback" if counts.withheld else ""
    yield f"  records   {counts.records:,}, from {counts.facts:,} facts{held}"
    yield f"  vectors   {details.dimension:,} dimensions, {details.space}; {counts.tail:,} operations in the tail"
    yield f"  size      {size(manifest.size)} in {len(manifest.files)} files, stored as a base and {packs} packs"
    if (waste := waste_of(manifest)).dead_bytes + waste.free_bytes:
        pays = "; it pays to run `chroma-lifecycle rebuild`" if waste.pays else ""
        yield (
            f"  unused    {waste.dead_elements:,} dead vectors, about {size(waste.dead_bytes)}; "
            f"{size(waste.free_bytes)} of free pages{pays}"
        )
    yield f"  content   {manifest.content[:12]}, checked: {checked}"
    yield f"  made by   chromadb {details.chroma.version}, mapping {(details.mapping or 'none')[:12]}"
    yield f"  history   version {head.version.number} is the newest, {head.floor.number} the oldest kept"
    yield f"  lineage   {manifest.lineage}, HEAD {head.serial}"
    yield ""


@each_shard()
def verify(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    every_version: Annotated[bool, typer.Option("--all", help="The objects of every version that lives.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Let records find themselves, in a child process.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that what the store holds is what was published, and sound; exit 4 if it is not."""
    from chroma_lifecycle.lifecycle import verify as verify_collection  # imports chromadb, which takes seconds

    output, name = Output(as_json), choose_collection(collection, mapping)
    with output.watching(f"reading every object of {name}", open_store(store)) as source:
        found = verify_collection(name, Stores(source), every_version=every_version, deep=deep)
    damage = [f"damaged: {_with_its_name(each, problem)}" for each, problem in found.stored.damage.items()]
    probes = [f"{probe.found} of {probe.asked} records found themselves" for probe in found.probes]
    output.result(
        asdict(found),
        f"{name} version {found.version}: {found.stored.objects} objects of {versions(found.stored.versions)} read, "
        f"manifests included, {size(found.stored.bytes_read)}",
        *damage,
        *(f"note: {each}" for each in found.stored.notes),
        *([_AFTER_DAMAGE] if damage else [f"sound: every digest, every page, {found.records:,} records"]),
        *probes,
    )
    if damage:
        raise typer.Exit(EXIT_CORRUPT)


@each_shard(into_directories_of_their_own)
def restore(
    store: StoreOption,
    to: Annotated[
        Path,
        typer.Option("--to", help="A new directory; it becomes a plain Chroma directory.", callback=require_local),
    ],
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    at: Annotated[
        str | None, typer.Option("--at", help="The version of this time (UTC): 2026-01-31, 2026-01-31T12:00.")
    ] = None,
    fallback: Annotated[
        bool, typer.Option("--fallback", help="If that version is damaged, the newest sound one before it.")
    ] = False,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a plain Chroma directory of a version, every byte of it proven."""
    output, source, name = Output(as_json), open_store(store), choose_collection(collection, mapping)
    if version is not None and at is not None:
        raise BadInput("a version is asked for by its number or by a time", hint="leave --version or --at out")
    second, moment = open_mirror(mirror, store), parse_moment(at) if at is not None else None
    damage: tuple[str, ...] = ()
    if fallback:
        with output.doing(f"restoring {name}"):
            head, stores = read_head(source, name).head, Stores(source, second)
            sound = restore_sound(to, head, stores, number=version, moment=moment)
        manifest, damage = sound.manifest, sound.damage
    else:
        published = read_published(source, name)
        if moment is None:
            manifest = find_manifest(source, published, version)
        else:
            manifest = version_at(source, published.head, moment)
        what = f"restoring {name}, {size(manifest.size)} of files"
        with output.watching(what, second or source, stored_size(manifest)) as first:
            stores = Stores(source, first) if second else Stores(first)
            if version is None and moment is None:
                manifest = restore_newest(to, stores, name)
            else:
                restore_directory(to, manifest, stores)
    number, count = manifest.version.number, manifest.details.counts.records
    output.result(
        {"collection": name, "version": number, "directory": str(to), "records": count, "damage": list(damage)},
        *(f"damaged: {text}" for text in damage),
        f"{name} version {number} with {count:,} records is in {to}",
    )


def _with_its_name(name: str, problem: str) -> str:
    return printable(problem if name in problem else f"{name}: {problem}")


_AFTER_DAMAGE = (
    "hint: `chroma-lifecycle recover --mirror DIRECTORY` brings back what a mirror has soundly; `chroma-lifecycle "
    "recover` says what else can be done, and `chroma-lifecycle restore --fallback` gives the newest sound version"
)

COMMANDS = (log, show, verify, restore)
