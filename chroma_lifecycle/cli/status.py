"""``status``: how a collection is, on one screen, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from chroma_lifecycle.cli.options import (
    CollectionOption,
    DeltasOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, printable
from chroma_lifecycle.cli.shards import each_shard
from chroma_lifecycle.deltas.addresses import BucketRoot, Roots, parse_root
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.page.health import Check, State, checks
from chroma_lifecycle.page.history import History, read_history
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.mirror import MirrorStatus, look_at_mirror
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.wiring import BUCKET, open_mirror, open_store
from chroma_lifecycle.words import age

_MOST_VERSIONS = 101
"""How far back it looks: a check of every page that is longer ago is due again."""


@each_shard()
def status(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    deltas: DeltasOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say on one screen how a collection is, whether the settings agree with it, and what to do next."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    source, second = open_store(store), open_mirror(mirror, store)
    with output.counting(f"reading versions of {name}") as tell:
        history = read_history(source, name, most=_MOST_VERSIONS, tell=tell)
        mirrored = _look_at(source, second, name) if second else None
    found = [each for each in checks(history) if each.state is not State.GOOD]
    found += _mapping(history.newest, mapping)
    found += _deltas(store, deltas)
    found += _mirror(mirrored)
    found.sort(key=lambda each: each.state is not State.BAD)
    output.result(_value(history, mirrored, found), *_lines(history, mirrored, found))


def _look_at(store: Store, mirror: Store, collection: str) -> MirrorStatus:
    try:
        return look_at_mirror(store, mirror, collection)
    except StoreUnavailable as problem:  # of the mirror: the store has just answered, and this is about both
        return MirrorStatus("unavailable", problem.message, None, None)


# Settings that disagree with what is published.


def _mapping(newest: Manifest, name: str | None) -> Iterator[Check]:
    if not name:
        return
    mapping, known = load_mapping(name), newest.details.mapping
    if not {newest.collection, whole_of(newest.collection)} & {*mapping.collections}:
        yield Check(State.BAD, f"The mapping {name} has no collection {newest.collection}.", "Check --mapping.")
    elif known not in (None, mapping.digest):
        yield Check(
            State.BAD,
            f"Version {newest.version.number:,} was made under the mapping {str(known)[:12]}, "
            f"and {name} is {mapping.digest[:12]}: every batch is refused.",
            "Go back to the mapping that it was made under, or bring the collection to this one: resync --apply.",
        )


def _deltas(store: str, given: str | None) -> Iterator[Check]:
    if not given or not given.strip() or not store.startswith(BUCKET):
        return
    home = parse_root(store)
    for root in Roots.parse(each.strip() for each in given.split(",")).roots:
        if not (isinstance(root, BucketRoot) and isinstance(home, BucketRoot) and root.bucket == home.bucket):
            yield Check(
                State.LOOK,
                f"Deltas are read below {root}, outside the store's bucket.",
                "Right if embedding jobs leave them there; if not, correct CHROMA_LIFECYCLE_DELTAS.",
            )


def _mirror(mirrored: MirrorStatus | None) -> Iterator[Check]:
    match mirrored.state if mirrored else None:
        case "foreign":
            yield Check(
                State.BAD,
                "The mirror is not this store's.",
                "Check both addresses; `chroma-lifecycle mirror --repair` replaces what is there.",
            )
        case "damaged":
            yield Check(State.BAD, "The mirror is damaged.", "`chroma-lifecycle mirror --repair` mends it.")
        case "unavailable":
            yield Check(State.BAD, "The mirror does not answer.", "Check the mount.")
        case "empty" | "behind":
            yield Check(State.LOOK, "The mirror is behind the store.", "The next cycle brings it forward.")


# What is printed.


def _value(history: History, mirrored: MirrorStatus | None, found: list[Check]) -> dict[str, Any]:
    head, newest = history.head, history.rows[-1]
    counts = history.newest.details.counts
    return {
        "collection": head.collection,
        "store": history.address,
        "version": head.version.number,
        "written_at": newest.written_at,
        "age_seconds": round(max(0.0, (history.read_at - newest.written_at).total_seconds()), 3),
        "records": counts.records,
        "packs": newest.packs,
        "tail": counts.tail,
        "withheld": counts.withheld,
        "floor": head.floor.number,
        "expiries": [{"bound": each.bound.number, "time": each.time} for each in head.expiries],
        "pins": {pin: ref.version.number for pin, ref in sorted(head.pins.items())},
        "mapping": history.newest.details.mapping,
        "mirror": asdict(mirrored) if mirrored else None,
        "state": str(found[0].state if found else State.GOOD),
        "todo": [asdict(each) for each in found],
    }


def _lines(history: History, mirrored: MirrorStatus | None, found: list[Check]) -> Iterator[str]:
    head, newest = history.head, history.rows[-1]
    pins = ", ".join(f"{pin} ({ref.version.number})" for pin, ref in sorted(head.pins.items()))
    expired = max((each.bound.number for each in head.expiries), default=None)
    yield f"{head.collection} in {history.address}"
    yield f"  newest    version {newest.version:,}, {age(history.read_at - newest.written_at)} ago, by {newest.action}"
    yield f"  records   {newest.records:,}; {newest.withheld:,} facts withheld"
    yield f"  to read   a base and {newest.packs:,} packs; {newest.tail:,} operations in the tail"
    yield f"  history   from version {head.floor.number:,}" + (
        f"; those before {expired:,} are expired" if expired is not None else ""
    )
    yield f"  pins      {pins or 'none'}"
    yield f"  mirror    {f'{mirrored.state}: {printable(mirrored.text)}' if mirrored else 'not looked at'}"
    for check in found:
        yield f"{check.state}: {printable(check.text)} {check.way_out}".rstrip()
    if not found:
        yield "nothing to do"


COMMANDS = (status,)
