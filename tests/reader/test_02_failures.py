"""What can fail when a reader begins, or looks for news: an error with a way out, or the version before goes on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.chroma.client import ManagedClient, installed_migrations
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoRoom, NoTime, NotInitialised, StoreUnavailable
from chroma_lifecycle.publishing.head import decode_head, encode_head
from chroma_lifecycle.publishing.mirror import Mirror
from chroma_lifecycle.reader import SnapshotReader, serving
from chroma_lifecycle.snapshot import disk
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.reader.conftest import MakeReader
from tests.support.news import News, seen_by
from tests.support.s3 import HASTY, FaultProxy, Step, client_at, hangs, says
from tests.support.watching import WatchedStore, whole_store
from tests.support.world import World

Damage = Callable[[Path], None]


def heads_of(store: Path) -> list[Path]:
    return [store / "words" / "HEAD", *sorted((store / "words" / "heads").iterdir())]


def absent(store: Path) -> None:
    for path in heads_of(store):
        path.unlink()


def unreadable(store: Path) -> None:
    for path in heads_of(store):
        path.write_bytes(b"\0garbage")


def dangling(store: Path) -> None:
    shutil.rmtree(store / "words" / "manifests")


def of_a_newer_format(store: Path) -> None:
    for path in heads_of(store):
        path.write_bytes(path.read_bytes().replace(b'"format_version":1', b'"format_version":2'))


def moved_away(store: Path) -> None:
    path = heads_of(store)[-1]
    path.write_bytes(encode_head(replace(decode_head(path.read_bytes(), "words"), moved_to="s3://elsewhere")))


def unmounted(store: Path) -> None:
    store.rename(store.with_name("gone"))


FAULTS = [
    (absent, NotInitialised, "collection words has no HEAD in .*run `chroma-lifecycle init`"),
    (unreadable, Corrupt, "HEAD of words .*recover"),
    (dangling, Corrupt, "HEAD of words names .*, which is not in .*recover"),
    (of_a_newer_format, BadInput, "version 2 of its format, and this library knows 1"),
    (moved_away, BadInput, "has moved to s3://elsewhere"),
    (unmounted, StoreUnavailable, "store"),
]


@pytest.mark.parametrize(("damage", "kind", "words"), FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_store_without_a_version_is_a_clear_error(
    world: World, read: MakeReader, damage: Damage, kind: type[LifecycleError], words: str
) -> None:
    """L13, L25: when a reader begins: the error says what, where and the way out, and nothing is written there."""
    damage(world.home / "store")
    before = whole_store(world.home)
    reader = read(workspace=world.home.with_name("other"))

    with pytest.raises(kind, match=words), reader.collection():
        pass

    assert before == whole_store(world.home)
    status = reader.status()
    assert (None, str(world.home / "store"), "words") == (status.version, status.store, status.collection)
    assert status.problem


@pytest.mark.parametrize(("damage", "kind", "words"), FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_what_is_served_goes_on_being_served(
    news: News, read: MakeReader, damage: Damage, kind: type[LifecycleError], words: str
) -> None:
    """L13: when a reader looks for news: queries are answered as before, status says why; then it catches up."""
    reader, store = read(), news.world.home / "store"
    seen_by(reader)
    news.publish()
    kept = shutil.copytree(store, store.with_name("kept"))
    damage(store)

    status = reader.refresh()

    assert (2, 2) == (status.version, seen_by(reader))
    assert status.problem
    assert status.hint
    assert "refresh" not in status.problem
    shutil.rmtree(store, ignore_errors=True)
    kept.rename(store)
    later = reader.refresh()
    assert (3, None, 3) == (later.version, later.problem, seen_by(reader))


def test_another_prefix_has_no_such_collection(world: World, read: MakeReader) -> None:
    """L25: a reader that is configured with another place than the compactor says at once which place that is."""
    (world.home / "other").mkdir()
    reader = SnapshotReader.open(str(world.home / "other"), "words", workspace=world.home / "reader")

    with pytest.raises(NotInitialised, match=r"collection words has no HEAD in .*/other .*check --store"):
        reader.refresh()

    assert str(world.home / "other") == reader.status().store
    reader.close()


@pytest.mark.parametrize("what", ["/HEAD", "/manifests/"])
@pytest.mark.parametrize(("fault", "words"), [(hangs, "no answer"), (says(403, "AccessDenied"), "not allowed")])
def test_a_store_that_does_not_answer_is_a_retryable_error(
    in_s3: tuple[News, FaultProxy], fault: Step, words: str, what: str
) -> None:
    """S11, L13: a reader that begins gets a retryable error in time; one that serves goes on. So it is if the store
    falls silent half-way, after HEAD.
    """
    news, proxy = in_s3
    store = S3Store(S3Address.parse(news.world.settings.store), client_at("s3", proxy.url, HASTY))
    with SnapshotReader(store, "words", workspace=news.world.home / "reader", check_seconds=None) as reader:
        proxy.always("GET", what, fault)
        with pytest.raises(StoreUnavailable, match=words):
            reader.refresh()
        proxy.forget()
        assert 2 == seen_by(reader)
        news.publish()
        proxy.always("GET", what, fault)
        status = reader.refresh()
        assert words in str(status.problem)
        assert (2, 2) == (status.version, seen_by(reader))
        proxy.forget()
        assert 3 == reader.refresh().version


def test_a_disk_that_is_too_small_is_told_with_the_numbers(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4, C15: at the beginning it is an error; later the version before goes on, and nothing is left behind."""
    reader = read()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_bytes", lambda _: 1_000)
        with pytest.raises(NoRoom, match=r"needs .* bytes below .*bytes are missing.*workspace"), reader.collection():
            pass
    seen_by(reader)
    news.publish()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "free_bytes", lambda _: 1_000)
        patch.setattr("chroma_lifecycle.snapshot.workspace.clone_file", lambda *_: False)
        status = reader.refresh()
    assert "bytes are missing" in str(status.problem)
    assert (2, 2) == (status.version, seen_by(reader))
    assert 3 == reader.refresh().version


def test_a_deadline_that_is_too_near_is_told(world: World, read: MakeReader) -> None:
    """A function gives its remaining time; a restore that does not fit begins nothing."""
    with pytest.raises(NoTime):
        read().refresh(Deadline(SYSTEM_CLOCK.monotonic()))


def test_a_version_that_answers_wrongly_is_not_served(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not pass the probe is closed and removed; the version before goes on."""
    reader = read()
    seen_by(reader)
    news.publish()

    def refuse(client: ManagedClient, manifest: object) -> None:
        client.collection.count()
        raise Corrupt("it answers wrongly", hint="look at it")

    with monkeypatch.context() as patch:
        patch.setattr(serving, "probe", refuse)
        status = reader.refresh()
    assert (2, "it answers wrongly", 2) == (status.version, status.problem, seen_by(reader))
    assert 1 == len(list((news.world.home / "reader" / "words").glob("serving-*")))
    assert 3 == reader.refresh().version


def test_the_probe_counts(world: World, tmp_path: Path) -> None:
    """A directory with fewer records than its manifest says is found before anybody asks it."""
    with world.compactor("elsewhere") as machine:
        News(world, machine).publish()
    manifest = world.published().manifest
    more = replace(manifest.details, counts=replace(manifest.details.counts, records=9))
    shutil.copytree(world.home / "elsewhere" / "words" / "pristine" / CHROMA, tmp_path / CHROMA)
    with ManagedClient.open(tmp_path / CHROMA, "words") as client:
        serving.probe(client, manifest)
        with pytest.raises(Corrupt, match="has 9 records, and Chroma finds 8 of them"):
            serving.probe(client, replace(manifest, details=more))


def test_a_reader_with_an_older_chroma_is_refused_before_a_byte_is_fetched(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C12: the error names both releases; one that serves already goes on with the version before."""
    older = installed_migrations() - {max(installed_migrations())}
    store = WatchedStore(news.world.store)
    reader, second = read(), read(store=store, workspace=news.world.home / "second")
    seen_by(reader)
    news.publish()
    with monkeypatch.context() as patch:
        patch.setattr(serving, "installed_migrations", lambda: older)
        patch.setattr(serving, "version", lambda _: "1.0.0")
        with pytest.raises(BadInput, match=r"written by chromadb .*, and chromadb 1\.0\.0 is installed here"):
            second.refresh()
        status = reader.refresh()
    assert ["read_head", "read"] == [call.partition(" ")[0] for call in store.calls]
    assert "is installed here" in str(status.problem)
    assert "upgrade readers before writers" in str(status.hint)
    assert (2, 2) == (status.version, seen_by(reader))


# The mirror, and the local copy.


def hanging_mirror(world: World) -> tuple[Mirror, threading.Event]:
    answered = threading.Event()
    slow = WatchedStore(world.mirror, before=lambda number, call: answered.wait() and None)
    return Mirror(slow, timeout_seconds=0.05), answered  # type: ignore[arg-type]


def test_a_mirror_that_hangs_costs_one_time_out(world: World, read: MakeReader) -> None:
    """S7: what the mirror does not give comes from the store."""
    mirror, answered = hanging_mirror(world)
    reader = read(mirror=mirror)

    assert 2 == seen_by(reader)

    assert reader.status().problem is None
    answered.set()


def test_a_mirror_that_is_missing_or_damaged_is_passed_by(world: World, read: MakeReader) -> None:
    """S7, C8: an unmounted mirror, and one whose objects are cut off: what it does not give comes from the store."""
    blocks = [path for path in (world.home / "mirror" / "words" / "objects").rglob("*") if path.is_file()]
    for number, path in enumerate(blocks):
        path.write_bytes(path.read_bytes()[: -1 - number])
    assert 2 == seen_by(read(mirror=world.mirror))
    shutil.rmtree(world.home / "mirror")
    assert 2 == seen_by(read(mirror=world.mirror, workspace=world.home / "second"))


def test_the_mirror_tells_what_is_newest_when_the_store_is_away(news: News, read: MakeReader) -> None:
    """A reader that cannot reach the store goes on by the mirror's HEAD, and status still says that it cannot."""
    away = WatchedStore(news.world.store)
    reader = read(store=away, mirror=news.world.mirror)
    seen_by(reader)
    news.publish()
    away.before = unreachable

    status = reader.refresh()

    assert (3, 3, "unreachable") == (status.version, seen_by(reader), status.problem)
    assert (status.lag_seconds or 0) > (reader.status().age_seconds or 0) > 0


def unreachable(number: int, call: str) -> None:
    raise StoreUnavailable("unreachable", hint="wait")


def test_another_lineage_in_the_mirror_is_not_believed(news: News, read: MakeReader) -> None:
    """The mirror of some other store, or one that is not ahead, changes nothing."""
    away = WatchedStore(news.world.store)
    reader = read(store=away, mirror=news.world.mirror)
    seen_by(reader)
    away.before = unreachable
    assert (2, "unreachable") == (reader.refresh().version, reader.status().problem)
    news.publish()
    for path in heads_of(news.world.home / "mirror"):
        theirs = replace(decode_head(path.read_bytes(), "words"), lineage="00000000000000ff")
        path.write_bytes(encode_head(theirs))
    assert (2, "unreachable") == (reader.refresh().version, reader.status().problem)


def test_a_reader_that_begins_while_the_store_is_away_serves_what_is_here(news: News, read: MakeReader) -> None:
    """What an earlier reader left in the workspace is served, with its age as the lag; without it, it is an error."""
    with SnapshotReader(news.world.store, "words", workspace=news.world.home / "reader") as first:
        seen_by(first)
    away = WatchedStore(news.world.store, before=unreachable)
    reader = read(store=away)

    assert 2 == seen_by(reader)

    status = reader.status()
    assert "unreachable" == status.problem
    assert abs((status.lag_seconds or 0) - (status.age_seconds or 0)) < 0.5
    with pytest.raises(StoreUnavailable, match="unreachable"):
        read(store=away, workspace=news.world.home / "cold").refresh()


def test_what_a_reader_of_another_store_left_here_is_not_served(news: News, tmp_path: Path) -> None:
    """A store that is away from the beginning has no version here, whatever lies in its workspace."""
    workspace = news.world.home / "reader"
    with SnapshotReader(news.world.store, "words", workspace=workspace) as first:
        seen_by(first)

    elsewhere = WatchedStore(DirectoryStore(tmp_path), before=unreachable)
    with (
        SnapshotReader(elsewhere, "words", workspace=workspace) as other,
        pytest.raises(StoreUnavailable, match="unreachable"),
    ):
        other.refresh()

    noted = (workspace / "words" / "origin").read_bytes()
    news.publish()
    with SnapshotReader(news.world.store, "words", workspace=workspace) as second:
        seen_by(second)
    (workspace / "words" / "origin").write_bytes(noted)  # as if the second had died before its note
    away = WatchedStore(news.world.store, before=unreachable)
    with (
        SnapshotReader(away, "words", workspace=workspace) as third,
        pytest.raises(StoreUnavailable, match="unreachable"),
    ):
        third.refresh()


@pytest.mark.parametrize("state", ["one behind", "half copied", "a flipped bit", "a file too much"])
def test_a_local_copy_is_used_only_when_it_is_whole(news: News, read: MakeReader, state: str) -> None:
    """C8: what an earlier process left: brought forward if it is proven, restored anew if it is not."""
    with SnapshotReader(news.world.store, "words", workspace=news.world.home / "reader") as first:
        seen_by(first)
    root = news.world.home / "reader" / "words"
    database = root / "pristine" / CHROMA / "chroma.sqlite3"
    match state:
        case "one behind":
            news.publish()
        case "half copied":
            (root / "stamp").unlink()
            database.write_bytes(database.read_bytes()[:100_000])
        case "a flipped bit":
            data = bytearray(database.read_bytes())
            data[-5_000] ^= 1
            database.write_bytes(data)
        case _:
            (root / "pristine" / CHROMA / "chroma.sqlite3-journal").write_bytes(b"x")
    store = WatchedStore(news.world.store)

    reader = read(store=store)

    assert (3 if state == "one behind" else 2) == seen_by(reader)
    fetched = [call for call in store.calls if call.startswith("read words/objects")]
    assert bool(fetched) == (state != "one behind")


def test_a_copy_that_is_damaged_while_it_is_read_is_restored(world: World, news: News, read: MakeReader) -> None:
    """C13: a reader that has begun long ago finds the damage when it brings the next version, and serves that."""
    reader = read()
    assert world.version() == seen_by(reader)
    path = world.home / "reader/words/pristine" / CHROMA / "chroma.sqlite3"
    with path.open("r+b") as file:
        file.seek(4096)  # behind the page that every version changes
        file.write(b"\xa5" * 4096)
    version = news.publish()

    assert (version, None) == (reader.refresh().version, reader.status().problem)
    assert version == seen_by(reader)
