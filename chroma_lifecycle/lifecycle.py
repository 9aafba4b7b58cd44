"""A collection's life beside its cycles: begin it, adopt or import it, verify it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from chroma_lifecycle.batch.summary import counts_of
from chroma_lifecycle.chroma.client import SPACES, CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.deep import Probe, verify_deep
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.chroma.stored_settings import read_settings
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.clock import Clock, Deadline, new_id
from chroma_lifecycle.deltas.checks import COSINE, NO_DIRECTION, Expectation, without_direction
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import RootedDeltas, directory_deltas
from chroma_lifecycle.errors import BadInput, NotInitialised
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.facts import RunFact
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges
from chroma_lifecycle.planning.plan import Plan, Write
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.beside import require_never_cut
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.history import Verified, verify_store
from chroma_lifecycle.publishing.layout import SeenLayout, even_layout, publish_layout
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.publishing.publish import initialise
from chroma_lifecycle.publishing.published import Published, read_manifest, read_published
from chroma_lifecycle.publishing.shard import shard_name
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.descriptors import require_closed
from chroma_lifecycle.snapshot.details import ChromaVersion, Details, Summary
from chroma_lifecycle.snapshot.disk import require_room
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import HEADROOM_BYTES, Workspace
from chroma_lifecycle.values import ADOPTED, Digest, ItemKey

_DEFAULT_SPACE = "cosine"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a collection begins with, beside its records.

    Attributes:
        mapping: Digest of the mapping under which facts will be made, if it is known.
        lineage: What it begins, if that is decided already: then what an earlier attempt at the same
            lineage has left is no hindrance. By default a new one.
    """

    collection: str
    mapping: Digest | None
    store: Store
    workspace: Workspace
    clock: Clock
    writer: str
    lineage: str | None = None


def begin(beginning: Beginning, settings: CollectionSettings) -> Published:
    """Publish version 1 of a collection: no records, no facts; dimension and space are fixed for ever.

    Raises:
        BadInput: There is such a collection in the store, or what is left of one.
    """
    with beginning.workspace.blank() as working:
        with ManagedClient.open(working / CHROMA, beginning.collection, create=settings):
            pass
        Ledger.create(working / LEDGER).close()
        return _publish(beginning, settings, working, Summary("init"))


def begin_in_shards(
    collection: str,
    mapping: TableMapping,
    settings: CollectionSettings,
    *,
    store: Store,
    workspaces: Path,
    clock: Clock,
    writer: str,
) -> SeenLayout:
    """Publish version 1 of each shard of a collection, and then the layout that names them.

    Shards that are there already are taken: a beginning that was cut off goes on, and where all of them are
    there, a layout that was lost comes back.

    Args:
        collection: One that *mapping* has in shards.
        mapping: Says how many shards, and what decides about them.
        settings: Of each shard.
        store: Where they are published.
        workspaces: Directory below which each shard has its workspace.
        clock: For the summaries.
        writer: Who does it, for people.

    Raises:
        BadInput: There is such a collection in the store, or a shard that was not begun like this.
    """
    if store.read_head(collection) is not None:
        raise already_initialised(collection, store)
    names = [shard_name(collection, 1, number) for number in range(mapping.shards[collection])]
    _require_fitting(store, collection, names, settings)
    lineages = []
    for name in names:
        with Workspace.open(workspaces / name, clock=clock) as workspace:
            beginning = Beginning(name, mapping.digest, store, workspace, clock, writer)
            published = _find(store, name) or begin(beginning, settings)
            lineages.append(published.head.lineage)
    layout = even_layout(
        collection,
        lineages,
        segments=len(mapping.routing(collection).segments),
        swap_id=new_id(),
        written_at=store.now(),
        writer=writer,
    )
    return publish_layout(store, layout, None)


def _require_fitting(store: Store, collection: str, names: Sequence[str], settings: CollectionSettings) -> None:
    """Refuse shards that are there and are not those that would be begun."""
    require_never_cut(store, collection)
    found = {name: _find(store, name) for name in names}
    for name, published in found.items():
        details = published.manifest.details if published else None
        if details and (details.dimension, details.space) != (settings.dimension, settings.space):
            raise BadInput(
                f"{name} is there already, with {details.dimension} dimensions and {details.space}",
                hint="give the same --dimension and --space; or choose another name, or another store",
            )
    lost = next((name for name, published in found.items() if published is None), None)
    if lost and any(published and published.manifest.version.number > 1 for published in found.values()):
        raise BadInput(
            f"{lost} is not there, and other shards of {collection} have gone on",
            hint=f"run `chroma-lifecycle recover --collection {lost}` first: an empty shard would stand for a lost one",
        )
    if _find(store, more := shard_name(collection, 1, len(names))):
        raise BadInput(
            f"{more} is there too: {collection} has more than {len(names)} shards",
            hint="correct 'shards' in the mapping: by another number records would be looked for where they are not",
        )


def _find(store: Store, collection: str) -> Published | None:
    try:
        return read_published(store, collection)
    except NotInitialised:
        return None


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to be adopted, every record of it checked."""

    settings: CollectionSettings
    delta: Delta


def examine_adoption(collection: str, directory: Path, fits: Callable[[str], bool], scratch: Path) -> Adoption:
    """Check what `adopt` would take; its records are copied below *scratch*.

    Raises:
        LifecycleError: As :func:`adopt`, but for what is in the store.
    """
    source = directory.absolute()
    require_closed(source, timeout_seconds=5.0)
    settings = read_settings(source, collection)
    expected = Expectation(collection, settings.dimension, None, fits, settings.space)
    delta = open_delta(source.name, directory_deltas(source.parent), scratch, expected, read_chroma_delta)
    return Adoption(settings, delta)


def adopt(beginning: Beginning, directory: Path, fits: Callable[[str], bool], *, tail_budget: int) -> Published:
    """Publish version 1 of a collection with the records of an existing Chroma directory.

    They belong to one run that is older than every change; their metadata is a delta's. The directory
    is copied and not opened; what is published is written anew, so that a directory of several
    collections, or of another Chroma, gives a sound one.

    Args:
        beginning: Its collection has the same name in *directory*.
        directory: A Chroma directory that nobody has open.
        fits: Whether an id may be one of the collection's.
        tail_budget: Vector operations that a reader may have to replay.

    Raises:
        BadInput: There is no such collection, a record cannot be taken, or the store has the collection already.
        Corrupt: The directory is not whole.
        NotClosed: This process has it open.
    """
    with beginning.workspace.blank() as scratch:
        found = examine_adoption(beginning.collection, directory, fits, scratch)
        return begin_with(beginning, found.settings, found.delta, "adopt", tail_budget=tail_budget)


def examine_import(
    collection: str, address: str, source: RootedDeltas, fits: Callable[[str], bool], scratch: Path, space: str | None
) -> Adoption:
    """Check what `import_records` would take; its records are copied below *scratch*.

    Raises:
        LifecycleError: As :func:`import_records`, but for what is in the store.
    """
    delta = open_delta(address, source, scratch, Expectation(collection, None, None, fits))
    if delta.dimension is None:
        raise BadInput(
            f"there is no record in {address!r}", hint="begin it empty: init with --dimension, without --from"
        )
    origin = delta.origin
    if origin is None:
        settings = CollectionSettings(SPACES[space or _DEFAULT_SPACE], delta.dimension)
    else:
        settings = CollectionSettings(SPACES[space or origin.space], delta.dimension, origin.metadata, origin.hnsw)
    if settings.space == COSINE:
        _require_directions(delta)
    return Adoption(settings, delta)


def _require_directions(delta: Delta) -> None:
    """Refuse vectors that a cosine space spoils: which space it is to be is known only when the file was read."""
    for rows in delta.batches():
        for at in without_direction(rows.embeddings):
            raise BadInput(
                f"delta {delta.address!r}: record {shorten(rows.ids[at])} {NO_DIRECTION}",
                hint="correct the vector, or take another space with --space",
            )


def import_records(
    beginning: Beginning,
    address: str,
    source: RootedDeltas,
    fits: Callable[[str], bool],
    *,
    space: str | None = None,
    tail_budget: int,
) -> Published:
    """Publish version 1 of a collection with the records of a file: an export, or any Parquet or JSON Lines.

    As after :func:`adopt`, they belong to one run that is older than every change. Of an export the
    collection gets its own metadata and the settings of its index, too.

    Args:
        address: Of the file below the root of *source*.
        fits: Whether an id may be one of the collection's.
        space: How distances are measured; by default as where the export comes from, else cosine.
        tail_budget: Vector operations that a reader may have to replay.

    Raises:
        BadInput: There is no such file, a record cannot be taken, or the store has the collection already.
    """
    with beginning.workspace.blank() as scratch:
        found = examine_import(beginning.collection, address, source, fits, scratch, space)
        return begin_with(beginning, found.settings, found.delta, "import", tail_budget=tail_budget)


def begin_with(
    beginning: Beginning,
    settings: CollectionSettings,
    delta: Delta,
    action: str,
    *,
    tail_budget: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Published:
    """Publish version 1 of a collection with the records of *delta*: one run that is older than every change.

    Args:
        action: One word for the history.
        tail_budget: Vector operations that a reader may have to replay.
        tell: Is told how many records were written, after each call of Chroma.

    Raises:
        BadInput: There is such a collection in the store, or what is left of one.
        NoRoom: The disk cannot hold the records once more.
    """
    collection = beginning.collection
    with beginning.workspace.blank() as working:
        needed = delta.path.stat().st_size + HEADROOM_BYTES
        require_room(working, needed, f"writing {len(delta.ids):,} records of {collection}")
        whole = Plan(writes=(Write(delta.address, frozenset(delta.ids), existing=frozenset()),))
        with ManagedClient.open(working / CHROMA, collection, create=settings) as client:
            client.apply(whole, {delta.address: delta}, tell)
        settle_tail(working / CHROMA, collection, budget=tail_budget)
        run = RunFact(ItemKey(""), "adopted", ADOPTED, delta.digest, len(delta.ids))
        with Ledger.create(working / LEDGER) as ledger:
            changes = LedgerChanges(runs=(run,), written={(run.item, run.address): delta.ids})
            ledger.store(changes, received_seconds=int(beginning.clock.now().timestamp()), version=1)
        return _publish(beginning, settings, working, Summary(action, added=len(delta.ids)))


def _publish(beginning: Beginning, settings: CollectionSettings, working: Path, summary: Summary) -> Published:
    with Ledger.open(working / LEDGER, read_only=True) as ledger:
        counts = ledger.counts()
    sealed = seal(working, full=True, records=counts["records"])
    found = sealed.soundness
    details = Details(
        summary=summary,
        counts=counts_of(counts, found),
        chroma=ChromaVersion(version("chromadb"), found.migrations),
        dimension=settings.dimension,
        space=settings.space,
        mapping=beginning.mapping,
        verified=True,
    )
    return initialise(
        sealed,
        collection=beginning.collection,
        details=details,
        workspace=beginning.workspace,
        store=beginning.store,
        deadline=Deadline(),
        clock=beginning.clock,
        writer=beginning.writer,
        lineage=beginning.lineage,
    )


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        stored: What the store holds, every digest proven.
        records: How many there are, by a look at every page; ``None`` if the objects are damaged.
        probes: How records answered, if they were asked.
    """

    version: int
    stored: Verified
    records: int | None
    probes: tuple[Probe, ...] = ()


def verify(collection: str, stores: Stores, *, every_version: bool = False, deep: bool = False) -> Verification:
    """Prove every object in the store, then lay the newest version out and check every page of it.

    Args:
        collection: Whose.
        stores: The mirror is not looked at: what counts is the store.
        every_version: Prove the objects of every retained version.
        deep: Let records find themselves too, in a child process.

    Raises:
        Corrupt: The objects are as published, and the files that they make are not sound.
    """
    seen = read_head(stores.store, collection)
    seen.head.require_here()
    stored = verify_store(seen, stores.store, every_version=every_version)
    number = seen.head.version.number
    if stored.damage:
        return Verification(number, stored, None)
    with files_of(read_manifest(stores.store, seen.head.manifest), Stores(stores.store)) as files:
        found = seal(files, full=True).soundness
        probes = verify_deep(files / CHROMA) if deep else ()
    return Verification(number, stored, sum(state.records or 0 for state in found.collections), probes)
