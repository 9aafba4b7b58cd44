"""Round trips over real Chroma directories of many shapes: through a pack, and through a store."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.publishing.publish import Published, initialise
from chroma_lifecycle.publishing.restore import restore_to
from chroma_lifecycle.snapshot.applying import apply_patches
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.image import Image, read_image, read_pack
from chroma_lifecycle.snapshot.pack import Pack, decode_pack, encode_pack
from chroma_lifecycle.snapshot.pages import (
    PAGE_BYTES,
    PageTable,
    entries,
    hash_file,
    no_pages,
    pages_reader,
    table_digest,
)
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.soundness import examine
from tests.support.chroma_directories import DIMENSION, connect, fill, vectors
from tests.support.snapshots import Site, details, files_of, note_fact
from tests.support.versions import COLLECTION

MakeSite = Callable[..., Site]
Act = Callable[[Any], None]


@contextmanager
def client_of(directory: Path) -> Iterator[Any]:
    """A plain client, closed and proven closed afterwards."""
    client = connect(directory)
    try:
        yield client
    finally:
        close_client(client)


def create(client: Any, name: str = COLLECTION, *, sync: int = 1_000) -> Any:
    configuration = {"hnsw": {"space": "l2", "sync_threshold": sync, "batch_size": min(sync, 100)}}
    return client.create_collection(name, embedding_function=None, configuration=configuration)


def words(client: Any, name: str = COLLECTION) -> Any:
    return client.get_collection(name, embedding_function=None)


def empty(client: Any) -> None:
    create(client)


def one(client: Any) -> None:
    fill(create(client), 1)


def in_the_queue(client: Any) -> None:
    fill(create(client), 60)


def in_files(client: Any) -> None:
    fill(create(client, sync=10), 60)


def several(client: Any) -> None:
    for name in ("lines", "words", "pages"):
        fill(create(client, name, sync=10), 30)


def wide(client: Any) -> None:
    """1,536 dimensions, a part of them in the files."""
    ids = [f"r{number}" for number in range(150)]
    create(client, sync=100).add(ids=ids, embeddings=vectors(150, dimension=1_536))


def nothing(client: Any) -> None:
    """Opening alone changes files."""


def one_more(client: Any) -> None:
    there = words(client).get(limit=1, include=["embeddings"])["embeddings"]
    dimension = len(there[0]) if len(there) else DIMENSION
    words(client).add(ids=["more"], embeddings=vectors(1, dimension=dimension, seed=5), metadatas=[{"more": True}])


def flushed(client: Any) -> None:
    """So many more that the queue goes to the files."""
    words(client).add(ids=[f"f{number}" for number in range(1_000)], embeddings=vectors(1_000, seed=6))


def mostly_deleted(client: Any) -> None:
    words(client).delete(ids=[f"r{number}" for number in range(55)])


def all_deleted(client: Any) -> None:
    words(client).delete(ids=words(client).get(include=[])["ids"])


def another_collection(client: Any) -> None:
    fill(create(client, "others", sync=10), 30)


def a_collection_less(client: Any) -> None:
    client.delete_collection("pages")


def vacuum(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "chroma.sqlite3", isolation_level=None)) as database:
        database.execute("VACUUM")


def without_orphans(directory: Path) -> None:
    """Chroma forgets the segment of a deleted collection, and leaves its files."""
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as database:
        known = {id_ for (id_,) in database.execute("SELECT id FROM segments")}
    for path in directory.iterdir():
        if path.is_dir() and path.name not in known:
            shutil.rmtree(path)


@dataclass(frozen=True)
class Shape:
    """A directory, what Chroma then does in it, and what is then done to the files."""

    begin: Act
    act: Act
    after: Callable[[Path], None] | None = None
    expect: Callable[[Image], bool] = lambda image: True

    @property
    def name(self) -> str:
        return "-".join(each.__name__ for each in (self.begin, self.act, self.after) if each)


def grows(image: Image) -> bool:
    before, after = (sum(pages.size for pages in table.values()) for table in (image.before, image.after))
    return after > before


def a_file_shrinks(image: Image) -> bool:
    return any(image.after[path].size < image.before[path].size for path in image.changed if path in image.before)


def directories(table: PageTable) -> set[str]:
    return {path.split("/")[1] for path in table if path.count("/") > 1}


def a_directory_comes(image: Image) -> bool:
    return bool(directories(image.after) - directories(image.before))


def a_directory_goes(image: Image) -> bool:
    return bool(directories(image.before) - directories(image.after))


SHAPES = [
    Shape(empty, nothing),
    Shape(empty, one_more),
    Shape(one, all_deleted),
    Shape(in_the_queue, one_more),
    Shape(in_the_queue, flushed, expect=grows),
    Shape(in_files, mostly_deleted),
    Shape(in_files, all_deleted, vacuum, expect=a_file_shrinks),
    Shape(in_files, flushed, expect=grows),
    Shape(several, one_more),
    Shape(several, another_collection, expect=a_directory_comes),
    Shape(several, a_collection_less, without_orphans, expect=a_directory_goes),
    Shape(several, a_collection_less, vacuum, expect=a_file_shrinks),
    Shape(wide, one_more),
    Shape(wide, all_deleted, vacuum, expect=a_file_shrinks),
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def begin(directory: Path, shape: Shape) -> None:
    with client_of(directory / CHROMA) as client:
        shape.begin(client)
    with closing(sqlite3.connect(directory / LEDGER)) as ledger, ledger:
        ledger.execute("CREATE TABLE facts (item TEXT PRIMARY KEY, value TEXT)")


def go_on(directory: Path, shape: Shape) -> None:
    with client_of(directory / CHROMA) as client:
        shape.act(client)
    if shape.after:
        shape.after(directory / CHROMA)
    note_fact(directory, "a fact")


def pages_of(directory: Path) -> PageTable:
    return {path: hash_file(directory / path) for path in files_of(directory)}


def applied(image: Image, pack: Pack, pristine: Path) -> dict[str, bytes]:
    """Return the files that *pack*, which leads to *image*, makes of those at *pristine*, all of it in memory."""
    pack = decode_pack(encode_pack(pack))
    found = {path: bytearray(data) for path, data in files_of(pristine).items() if path not in pack.removed}
    for patch in pack.patches:
        before = image.before.get(patch.path)
        if before is None:
            patched = apply_patches([patch], None, no_pages)
        else:
            with pages_reader(pristine / patch.path) as read:
                patched = apply_patches([patch], before, read)
        data = found.setdefault(patch.path, bytearray())
        data[patch.after.size :] = b""
        data.extend(bytes(patch.after.size - len(data)))
        for first, written in patched.writes:
            data[PAGE_BYTES * first : PAGE_BYTES * first + len(written)] = written
    return {path: bytes(data) for path, data in found.items()}


@every_shape
def test_a_pack_makes_the_same_bytes(shape: Shape, tmp_path: Path) -> None:
    """From one state to the next and back again: every file and digest is what it was."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    begin(old, shape)
    shutil.copytree(old, new)
    go_on(new, shape)

    for pristine, target in ((old, new), (new, old)):
        given = {path: target / path for path in files_of(target)}, pristine, pages_of(pristine), frozenset[str]()
        made = read_pack(*given, most_bytes=1 << 30)
        assert made
        image, pack = made
        if target is new:
            assert shape.expect(image)
        assert files_of(target) == applied(image, pack, pristine)
        assert table_digest(image.after) == table_digest(pages_of(target))
        beside = read_image(*given)
        assert (image.after, image.removed) == (beside.after, beside.removed)
        assert {path: [*numbers] for path, numbers in image.changed.items()} == {
            path: [*numbers] for path, numbers in beside.changed.items()
        }


def begun(site: Site, shape: Shape) -> Published:
    with site.workspace.blank() as directory:
        begin(directory, shape)
        return initialise(
            seal(directory, full=True),
            collection=COLLECTION,
            details=details("init"),
            workspace=site.workspace,
            store=site.store,
            deadline=Deadline(),
            clock=site.clock,
            writer=site.writer,
        )


@every_shape
def test_what_is_restored_is_what_was_published(shape: Shape, make_site: MakeSite, tmp_path: Path) -> None:
    """By the pack, in a workspace that has the version before, and whole; and Chroma finds every record in it."""
    one, two = make_site("one"), make_site("two")
    first = begun(one, shape)
    two.restore()
    parent = one.restore()
    with one.workspace.working(chroma=True) as working:
        go_on(working, shape)
        sealed, content = seal(working, full=True), files_of(working)
        published = one.publish(sealed, parent)

    two.restore()
    restore_to(tmp_path / "before", first.manifest, one.store, None, Deadline())
    restore_to(tmp_path / "whole", published.manifest, one.store, None, Deadline())

    assert [content] * 3 == [
        files_of(place) for place in (one.workspace.pristine.root, two.workspace.pristine.root, tmp_path / "whole")
    ]
    assert first.manifest.files == entries(pages_of(tmp_path / "before"))
    there = tmp_path / "whole" / CHROMA
    assert examine(there, full=True) == examine(two.workspace.pristine.root / CHROMA, full=True)
    with client_of(there) as client:
        for found in client.list_collections():
            collection = words(client, found.name)
            held = collection.get(include=["embeddings"])
            assert collection.count() == len(held["ids"])
            if held["ids"]:
                nearest = collection.query(query_embeddings=held["embeddings"][:5], n_results=1)["ids"]
                assert [[id_] for id_ in held["ids"][:5]] == nearest
