"""``diff``: what differs between two versions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    MOST_LISTED,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    choose_collection,
    parse_moment,
)
from chroma_lifecycle.cli.output import Output, Table, one_line, printable
from chroma_lifecycle.cli.shards import Given, each_shard, of_its_records
from chroma_lifecycle.difference import Comparison, compare
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.choosing import version_at, version_named
from chroma_lifecycle.publishing.history import find_version
from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.publishing.unpack import Stores
from chroma_lifecycle.snapshot.file_differences import Change, FileDifference
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.pages import PAGE_BYTES
from chroma_lifecycle.snapshot.record_differences import Content, RecordDifference
from chroma_lifecycle.wiring import open_mirror, open_store
from chroma_lifecycle.words import size

_SIGNS = {Change.ADDED: "+", Change.CHANGED: "~", Change.REMOVED: "-"}
_MOST_KEYS, _VALUE_WIDTH, _FIELDS_WIDTH = 8, 60, 100
# The name of a segment's directory; its beginning tells it from the others.
_SEGMENT = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TWO = "name two versions: `chroma-lifecycle log` lists them"


def _that_differ(given: Given, shard: Shard, layout: Layout) -> Given | None:
    """Compare the shards of the records that are named, and those alone in which two versions are meant."""
    narrowed = of_its_records("records")(given, shard, layout)
    if narrowed is None:
        return None
    source = open_store(given["store"])
    old, new = _sides(source, read_published(source, shard.name), given["before"], given["after"], given["since"])
    return None if old in (None, new) else narrowed


@each_shard(_that_differ)
def diff(
    store: StoreOption,
    before: Annotated[
        str | None, typer.Argument(help="A version: its number, latest, or a pin. By default the one before AFTER.")
    ] = None,
    after: Annotated[str | None, typer.Argument(help="The other version; by default the newest.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="In place of BEFORE: the version of this time (UTC), 2026-01-31T12:00."),
    ] = None,
    records: Annotated[
        list[str] | None, typer.Option("--record", help="Only this record, with its values; may be given again.")
    ] = None,
    values: Annotated[bool, typer.Option("--values", help="Show what fields said before and say after.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many records are listed.", min=1, max=MOST_LISTED)
    ] = 20,
    every: Annotated[bool, typer.Option("--all", help="List every record that differs.")] = False,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what differs between two versions: records and their fields, files and their pages."""
    output, source, name = Output(as_json), open_store(store), choose_collection(collection, mapping)
    if since is not None and before is not None:
        raise BadInput("--since says in other words which version is meant than BEFORE", hint="give one of the two")
    old, new = _two(source, read_published(source, name), before, after, since)
    with (
        output.doing(f"comparing versions {old.version.number} and {new.version.number} of {name}"),
        compare(old, new, Stores(source, open_mirror(mirror, store))) as compared,
    ):
        chosen = _chosen(compared, records)
        listed = chosen if every else chosen[:limit]
        contents = {each.id: compared.contents(each.id) for each in listed} if values or records else {}
        same = list(_same(compared, records or ()))
    output.result(
        _as_json(compared, listed, contents),
        *_told(compared),
        *_records_told(listed, contents, len(chosen)),
        *same,
        *_files_told(compared.files if not records else ()),
    )


def _two(
    store: Store, published: Published, before: str | None, after: str | None, since: str | None
) -> tuple[Manifest, Manifest]:
    """Return the versions that are meant: the newest and the one before it, if nothing is said."""
    old, new = _sides(store, published, before, after, since)
    if old is None:
        raise BadInput(f"{new.collection} has only version 1: there is nothing to compare it with", hint=_TWO)
    if old == new:
        raise BadInput(f"both are version {old.version.number} of {old.collection}", hint=_TWO)
    return old, new


def _sides(
    store: Store, published: Published, before: str | None, after: str | None, since: str | None
) -> tuple[Manifest | None, Manifest]:
    newest = published.manifest
    new = newest if after is None else version_named(store, published, after)
    if since is not None:
        return version_at(store, published.head, parse_moment(since)), new
    if before is not None:
        return version_named(store, published, before), new
    if newest.parent is None:
        return None, new
    return find_version(store, published.head, newest.parent.version)[1], new


def _chosen(compared: Comparison, ids: Sequence[str] | None) -> list[RecordDifference]:
    return [each for each in compared.records if not ids or each.id in ids]


def _same(compared: Comparison, ids: Sequence[str]) -> Iterator[str]:
    """Yield a line for each record that was asked for and does not differ."""
    differing = {each.id for each in compared.records}
    for id_ in dict.fromkeys(ids):
        if compared.files and id_ not in differing:
            there = compared.contents(id_) != (None, None)
            yield f"{printable(id_)} is {'the same in both' if there else 'in neither of them'}"


def _told(compared: Comparison) -> Iterator[str]:
    old, new = compared.before, compared.after
    changes, files = Counter(each.change for each in compared.records), compared.files
    yield f"{new.collection}: from version {old.version.number} to version {new.version.number}"
    if old.content == new.content:
        yield "  content   the same, byte for byte"
    else:
        yield (
            f"  records   {_counted(changes)}; {old.details.counts.records:,} before, "
            f"{new.details.counts.records:,} after"
        )
        if fields := _fields(compared.records):
            yield f"  fields    {one_line(', '.join(_field_told(*field) for field in fields), _FIELDS_WIDTH)}"
        pages = sum(file.pages for file in files)
        yield f"  files     {len(files)} files differ, in {pages:,} pages ({size(PAGE_BYTES * pages)})"
    yield f"  stored    {_way_told(old, new)}"
    for name, was, now in _settings(old, new):
        yield f"  {name:<9} {was} before, {now} after"


def _counted(changes: Counter[Change]) -> str:
    return ", ".join(f"{changes[change]:,} {change}" for change in Change)


def _fields(records: Sequence[RecordDifference]) -> list[tuple[str, Counter[Change]]]:
    """Return the fields in which records differ, those of the most records first."""
    found: dict[str, Counter[Change]] = {}
    for record in records:
        for key, change in _parts(record):
            found.setdefault(key, Counter())[change] += 1
    return sorted(found.items(), key=lambda field: (-field[1].total(), field[0]))


def _parts(record: RecordDifference) -> Iterator[tuple[str, Change]]:
    if record.document:
        yield "(document)", record.document
    if record.vector:
        yield "(vector)", Change.CHANGED
    yield from record.metadata.items()


def _field_told(key: str, changes: Counter[Change]) -> str:
    return f"{printable(key)} {' '.join(f'{_SIGNS[each]}{changes[each]:,}' for each in Change if changes[each])}"


def _way_told(old: Manifest, new: Manifest) -> str:
    packs = _packs(old, new)
    if packs is None:
        return "no chain leads from the one to the other: a copy of the first fetches the second whole"
    count, stored = packs
    by = f"{count} pack{'s' if count != 1 else ''}, {size(stored)}"
    return f"a copy of version {old.version.number} becomes version {new.version.number} by {by}"


def _packs(old: Manifest, new: Manifest) -> tuple[int, int] | None:
    """Return how many packs lead from the one to the other, and their bytes; ``None`` where none do."""
    packs = new.chain.after(old.content)
    return None if packs is None else (len(packs), sum(pack.stored_bytes for pack in packs))


def _settings(old: Manifest, new: Manifest) -> Iterator[tuple[str, object, object]]:
    """Yield what else differs: how the versions were made, and what they know."""
    before, after = old.details, new.details
    for name, was, now in (
        ("facts", f"{before.counts.facts:,}", f"{after.counts.facts:,}"),
        ("withheld", f"{before.counts.withheld:,}", f"{after.counts.withheld:,}"),
        ("space", before.space, after.space),
        ("chromadb", before.chroma.version, after.chroma.version),
        ("mapping", (before.mapping or "none")[:12], (after.mapping or "none")[:12]),
    ):
        if was != now:
            yield name, was, now


def _records_told(
    listed: Sequence[RecordDifference], contents: dict[str, tuple[Content | None, Content | None]], count: int
) -> Iterator[str]:
    if not listed:
        return
    yield ""
    if contents:
        for record in listed:
            yield f"{_SIGNS[record.change]} {printable(record.id)}"
            yield from (f"    {line}" for line in _values_told(record, *contents[record.id]))
    else:
        rows = [(printable(each.id), str(each.change), _in_short(each)) for each in listed]
        yield from Table(("record", "change", "fields"), rows).lines()
    if count > len(listed):
        yield f"... and {count - len(listed):,} more; --all lists them"


def _in_short(record: RecordDifference) -> str:
    parts = [f"{_SIGNS[change]}{printable(key)}" for key, change in _parts(record)]
    return " ".join(parts[:_MOST_KEYS]) + (f" and {len(parts) - _MOST_KEYS} more" if len(parts) > _MOST_KEYS else "")


def _values_told(record: RecordDifference, old: Content | None, new: Content | None) -> Iterator[str]:
    before, after = _said(old), _said(new)
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now:
            yield f"{printable(key)}: {' -> '.join(_value(value) for value in (was, now) if value is not None)}" + (
                " (gone)" if now is None and new is not None else " (new)" if was is None and old is not None else ""
            )
    if record.vector:
        yield "(vector): another one"


def _said(content: Content | None) -> dict[str, str]:
    """Return what a record says, spelled as JSON: 1, 1.0 and true are three values."""
    if content is None:
        return {}
    said = {key: json.dumps(value, ensure_ascii=False) for key, value in content.metadata.items()}
    if content.document is not None:
        said["(document)"] = json.dumps(content.document, ensure_ascii=False)
    return said


def _value(spelled: str) -> str:
    return one_line(spelled, _VALUE_WIDTH)


def _files_told(files: Sequence[FileDifference]) -> Iterator[str]:
    """Yield the table of files: the databases, then the segments, which are named by chance."""
    if files:
        named = [(_SEGMENT.sub(r"\1…", each.path), each) for each in files]
        named.sort(key=lambda row: ("…" in row[0], row[0]))
        rows = [(path, str(f.change), f.pages, f.of_pages, f.before_bytes, f.after_bytes) for path, f in named]
        yield ""
        yield from Table(("file", "change", "pages", "of", "bytes before", "after"), rows).lines()


def _as_json(
    compared: Comparison,
    listed: Sequence[RecordDifference],
    contents: dict[str, tuple[Content | None, Content | None]],
) -> dict[str, Any]:
    old, new = compared.before, compared.after
    changes, packs = Counter(each.change for each in compared.records), _packs(old, new)
    return {
        "collection": new.collection,
        "before": _side(old),
        "after": _side(new),
        "same": old.content == new.content,
        "records": {str(change): changes[change] for change in Change},
        "fields": {key: {str(each): count[each] for each in Change} for key, count in _fields(compared.records)},
        "packs": None if packs is None else {"count": packs[0], "stored_bytes": packs[1]},
        "files": [asdict(file) for file in compared.files],
        "listed": [_record(each, contents.get(each.id)) for each in listed],
    }


def _side(manifest: Manifest) -> dict[str, Any]:
    details = manifest.details
    return {
        "version": manifest.version.number,
        "content": manifest.content,
        "records": details.counts.records,
        "facts": details.counts.facts,
        "withheld": details.counts.withheld,
        "space": details.space,
        "chromadb": details.chroma.version,
        "mapping": details.mapping,
    }


def _record(record: RecordDifference, contents: tuple[Content | None, Content | None] | None) -> dict[str, Any]:
    told = asdict(record)
    if contents is not None:
        told |= {"before": contents[0] and asdict(contents[0]), "after": contents[1] and asdict(contents[1])}
    return told


COMMANDS = (diff,)
