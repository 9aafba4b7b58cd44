"""``recover``, ``mirror``, ``move``, ``copy``: where a collection lives, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, gathering, printable
from chroma_lifecycle.cli.shards import Given, each_shard
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Sharded
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import Copied
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import Layout, encode_layout, read_layout
from chroma_lifecycle.publishing.layout_mirror import repair_mirrored_layout
from chroma_lifecycle.publishing.lost_layout import LostLayout, bring_back, find_lost_layout
from chroma_lifecycle.publishing.mirror import look_at_mirror, repair_mirror
from chroma_lifecycle.publishing.recover import Recovery, is_broken
from chroma_lifecycle.publishing.recover import recover as recover_head
from chroma_lifecycle.publishing.relocating_shards import copy_shards, move_shards
from chroma_lifecycle.publishing.relocation import copy as copy_collection
from chroma_lifecycle.publishing.relocation import move as move_collection
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.wiring import BUCKET, create_store, open_mirror, open_store, require_place, writer
from chroma_lifecycle.words import size, version_range

ToOption = Annotated[str, typer.Option("--to", help="A store that holds nothing of this collection.")]


def _that_are_broken(given: Given, shard: Shard, layout: Layout) -> Given | None:
    """Recover the shards alone that have no sound HEAD."""
    if given["manifest"] is not None:
        raise BadInput(
            f"{layout.collection} is in shards, and each has manifests of its own",
            hint="name the shard that the manifest is of with --collection",
        )
    return (
        given
        if is_broken(open_store(given["store"]), open_mirror(given["mirror"], given["store"]), shard.name)
        else None
    )


def recover(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    manifest: Annotated[
        str | None, typer.Option("--manifest", help="Take this version: one of those that a dry run names.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a HEAD again that was deleted or damaged, and bring back what the mirror has and the store has lost."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    source, second = open_store(store), open_mirror(mirror, store)
    lost = find_lost_layout(source, second, name)
    if lost is not None and dry_run:
        value = {"collection": name, "layout": _layout_value(lost, done=False), "shards": []}
        output.result(value, *_layout_told(lost, done=False))
        return
    if lost is not None:
        bring_back(source, lost, writer())
        output.tell(*_layout_told(lost, done=True))
    given = {"collection": name, "mapping": mapping, "mirror": mirror, "manifest": manifest, "dry_run": dry_run}
    with gathering() as results:
        _recover_heads(**given, store=store, as_json=as_json)
    for value in results:
        output.result({**value, "layout": _layout_value(lost, done=True)} if lost is not None else value)


@each_shard(_that_are_broken)
def _recover_heads(
    store: str,
    collection: str,
    mapping: str | None,
    mirror: str | None,
    manifest: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    del mapping  # the name is known
    output, name = Output(as_json), collection
    second = open_mirror(mirror, store)
    with output.watching(f"looking for what is left of {name}", open_store(store)) as source:
        found = recover_head(source, second, name, manifest=manifest, dry_run=dry_run, writer=writer())
    output.result(_recovery_value(found), *_recovery_told(found))


def _layout_value(lost: LostLayout, *, done: bool) -> dict[str, Any]:
    return {
        "done": done,
        "taken_from": lost.place,
        "serial": lost.layout.serial,
        "generation": lost.layout.generation,
        "shards": [shard.name for shard in lost.layout.shards],
    }


def _layout_told(lost: LostLayout, *, done: bool) -> Iterator[str]:
    layout = lost.layout
    yield (
        f"{layout.collection}: the layout {'is' if done else 'would be'} that of serial {layout.serial}, from "
        f"{lost.place}: {len(layout.shards)} shards, {layout.shards[0].name} to {layout.shards[-1].name}"
    )
    if not done:
        yield "  when it is back, the HEAD of each shard is looked at"


def _recovery_value(found: Recovery) -> dict[str, Any]:
    head = found.head
    return {
        "collection": head.collection,
        "done": found.done,
        "taken_from": found.taken_from,
        "version": head.version.number,
        "floor": head.floor.number,
        "serial": head.serial,
        "sweeps": head.sweeps,
        "manifest": head.manifest.name,
        "pins": sorted(head.pins),
        "lost_pins": list(found.lost_pins),
        "rivals": list(found.rivals),
        "given_up": [asdict(each) for each in found.given_up],
        "brought_from_mirror": found.brought,
        "notes": list(found.notes),
    }


def _recovery_told(found: Recovery) -> Iterator[str]:
    head, number = found.head, found.head.version.number
    if not found.is_new:
        yield f"{head.collection}: HEAD is version {number}, and stays"
    else:
        yield f"{head.collection}: HEAD {'is' if found.done else 'would be'} version {number}, from {found.taken_from}"
        are = "is" if head.floor.number == number else "are"
        yield f"  {version_range(head.floor.number, number)} {are} there; serial {head.serial}"
    for each in found.given_up:
        yield f"  given up: version {each.version}, {printable(each.manifest)}"
        yield f"    {printable(each.why)}"
    if found.brought:
        objects = "1 object" if found.brought == 1 else f"{found.brought:,} objects"
        yield f"  {objects} {'came' if found.done else 'would come'} back from the mirror"
    yield from (f"  lost: the pin {pin}, whose version is not whole" for pin in found.lost_pins)
    yield from (f"  note: {printable(note)}" for note in found.notes)
    if found.rivals:
        yield "  these versions could have been the newest as well (recover --manifest NAME takes one of them):"
        yield from (f"    {rival}" for rival in found.rivals)
    if found.done:
        yield f"next: chroma-lifecycle verify --all{_AFTER_LOSS.format(number) if found.is_new else ''}"


_AFTER_LOSS = (
    ", and let the queue deliver again what came after version {0}; "
    "what it does not have any more is found in the table by chroma-lifecycle resync"
)


def _layout_too(given: Given, layout: Layout, output: Output) -> None:
    """Mend the layout in the mirror as well, or say how it stands."""
    source, second, name = open_store(given["store"]), open_mirror(given["mirror"], given["store"]), layout.collection
    assert second is not None  # or every shard would have failed
    if given["repair"]:
        repair_mirrored_layout(source, second, name, writer=writer())
    stored = second.read_head(name)
    if stored is None:
        output.tell(f"the layout of {name} is not in the mirror yet: the next batch brings it")
    elif stored.body == encode_layout(read_layout(source, name).layout):
        output.tell(f"the layout of {name} in the mirror is that of the store")
    else:
        output.tell(f"the layout of {name} in the mirror is another than that of the store", _REPAIR)


@each_shard(then=_layout_too)
def mirror(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read every byte, mend what is damaged, and replace what is foreign.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say how the mirror stands to the store, or repair it."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    source, second = open_store(store), open_mirror(mirror, store)
    if second is None:
        raise BadInput("which mirror is meant?", hint="give it with --mirror DIRECTORY")
    if repair:
        with output.watching(f"reading every byte of {name} in {second.address}", second) as watched:
            copied = repair_mirror(source, watched, name, deadline=Deadline(), writer=writer())
        value = _copied_value(name, second, copied)
        output.result(value, f"{name} in the mirror {second.address} is whole: {_copied_told(copied)}")
        return
    status = look_at_mirror(source, second, name)
    output.result(
        {"collection": name, "address": second.address, **asdict(status)},
        f"{name} in the mirror {second.address} is {status.state}: {status.text}",
        *([_REPAIR] if status.state in {"foreign", "damaged"} else []),
    )


_REPAIR = "to replace what is there: chroma-lifecycle mirror --repair"


def move(
    store: StoreOption,
    to: ToOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a collection to another store; from now on every writer is refused here, with the new address."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    target, copied = _relocated(output, name, store, to, "moving", move_collection, move_shards)
    output.result(
        _relocated_value(name, target, copied),
        *(f"{each} has moved to {target.address}: {_copied_told(found)}" for each, found in copied.items()),
        f"set CHROMA_LIFECYCLE_STORE to {target.address} everywhere; the files here can go when nobody reads them",
    )


def copy(
    store: StoreOption,
    to: ToOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a collection with its history to another store, where it lives on its own."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    target, copied = _relocated(output, name, store, to, "copying", copy_collection, copy_shards)
    output.result(
        _relocated_value(name, target, copied),
        *(
            f"{each} is in {target.address} too, as lineage {found.head.lineage}: {_copied_told(found)}"
            for each, found in copied.items()
        ),
    )


def _relocated(
    output: Output, name: str, store: str, to: str, doing: str, one: Callable[..., Copied], shards: Callable[..., None]
) -> tuple[Store, Mapping[str, Copied]]:
    """Bring a collection to the store at *to*; return that and what was copied, by name."""
    source, found = open_store(store), dict[str, Copied]()
    in_shards = _is_in_shards(source, name)  # first: a place is not made for nothing
    target = _create_target(to)
    with output.watching(f"{doing} {name} to {target.address}", source) as watched:
        if in_shards:
            shards(watched, target, name, deadline=Deadline(), writer=writer(), told=found.__setitem__)
        else:
            found[name] = one(watched, target, name, deadline=Deadline(), writer=writer())
    return target, found


def _is_in_shards(source: Store, name: str) -> bool:
    """Return whether the collection, which must be there, is in shards."""
    try:
        read_head(source, name)
    except Sharded:
        return True
    return False


def _relocated_value(name: str, target: Store, copied: Mapping[str, Copied]) -> dict[str, Any]:
    values = {each: _copied_value(each, target, found) for each, found in copied.items()}
    if name in values:
        return values[name]
    return {"collection": name, "shards": [{"shard": shard, "result": value} for shard, value in values.items()]}


def _create_target(address: str) -> Store:
    """Open the target by an address that means the same to everybody who reads it in HEAD."""
    require_place(address)
    return create_store(address if address.startswith(BUCKET) else str(Path(address).absolute()))


def _copied_value(name: str, target: Store, copied: Copied) -> dict[str, Any]:
    head = copied.head
    return {
        "collection": name,
        "address": target.address,
        "version": head.version.number,
        "floor": head.floor.number,
        "lineage": head.lineage,
        "objects": copied.objects,
        "bytes_written": copied.bytes_written,
    }


def _copied_told(copied: Copied) -> str:
    head = copied.head
    return (
        f"{version_range(head.floor.number, head.version.number)}, {copied.objects} objects written, "
        f"{size(copied.bytes_written)}"
    )


COMMANDS = (recover, mirror, move, copy)
"""What the application takes from here."""
