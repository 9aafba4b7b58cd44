"""``explain``: which item, position and version gave each key of a record."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    CollectionOption,
    JsonOption,
    MappingOption,
    MirrorOption,
    StoreOption,
    VersionOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, Table, one_line
from chroma_lifecycle.cli.shards import each_shard, of_its_records
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.planning.explanation import ENDS, Explanation, Given, explain_record
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of, find_manifest
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.values import ItemKey
from chroma_lifecycle.wiring import open_mirror, open_store

_HEADINGS = "key", "value", "", "item", "rule", "version", "position"


@each_shard(of_its_records("record"))
def explain(
    store: StoreOption,
    mapping: MappingOption,
    record: Annotated[str, typer.Argument(help="Id of the record; it need not exist.")],
    collection: CollectionOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which item, position and version gave each key of a record, and why it is there or not."""
    from chroma_lifecycle.sharding.works import lineage_mapping  # what only looks needs none of it

    output, source, name = Output(as_json), open_store(store), choose_collection(collection, mapping)
    table = lineage_mapping(load_mapping(mapping), name)
    manifest = find_manifest(source, read_published(source, name), version)
    if manifest.details.mapping not in (None, table.digest):
        raise BadInput(
            f"version {manifest.version.number} of {name} was made under another mapping than {mapping}",
            hint="give the mapping that it was made under with --mapping",
        )
    with (
        files_of(manifest, Stores(source, open_mirror(mirror, store))) as files,
        Ledger.open(files / LEDGER, read_only=True) as ledger,
    ):
        found = explain_record(ledger, table, name, record)
    output.result(
        _as_json(found, name, manifest.version.number),
        *_told(found, name, manifest.version.number),
        table=Table(_HEADINGS, rows, spare=("position", "rule")) if (rows := [_row(g) for g in found.given]) else None,
    )


def _told(found: Explanation, collection: str, version: int) -> list[str]:
    if found.writer is not None:
        return [f"{found.record} is a record of {collection} version {version}; what no item gives is its delta's", ""]
    is_none = f"{found.record} is no record of {collection} version {version}"
    if (ended := found.ended) is not None:
        how = "it was erased" if ended.what == "erased" else f"the removal of {_item(ended.item)} deleted it"
        return [f"{is_none}: {how}; what else is known of it waits", ""]
    if found.given:
        return [f"{is_none}; what is known of it waits", ""]
    return [f"{is_none}, and no fact speaks of it"]


def _row(each: Given) -> tuple[object, ...]:
    state = "withheld" if each.withheld else "wins" if each.wins else ""
    value = "nothing" if each.value is None else json.dumps(each.value, ensure_ascii=False)
    told = "" if each.what in ENDS else one_line(value, 40)
    return each.what, told, state, _item(each.item), each.rule, each.version, str(each.position)


def _item(item: ItemKey) -> str:
    return one_line(f"{item.partition} / {item.sort}" if item.sort else item.partition, 80)


def _as_json(found: Explanation, collection: str, version: int) -> dict[str, Any]:
    return {
        "collection": collection,
        "version": version,
        "record": found.record,
        "exists": found.writer is not None,
        "keys": found.keys,
        "given": [
            {
                "what": each.what,
                "value": each.value,
                "wins": each.wins,
                "withheld": each.withheld,
                "item": {"partition": each.item.partition, "sort": each.item.sort},
                "rule": each.rule,
                "position": str(each.position),
                "version": each.version,
            }
            for each in found.given
        ],
    }


COMMANDS = (explain,)
