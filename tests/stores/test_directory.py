"""The store in a directory: killed, raced, forbidden, full, and led astray."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoRoom, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, StoredHead, SwapRefused, SwapUnanswered
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores import swapping
from chroma_lifecycle.stores.directory import UNFINISHED, DirectoryStore
from tests.support import actions
from tests.support.actions import DATA, KEPT, NEW, OLD, WRITTEN
from tests.support.open_files import open_files
from tests.support.steps import fail_with, stopping_at

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _settle_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a local disk nothing is stale for longer than this."""
    monkeypatch.setattr(swapping, "_SETTLE_SECONDS", 0.02)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A place for stores by the hundred: in memory where there is one, since each brings its files to disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as directory:
        yield Path(directory)


@pytest.fixture
def store(disk: Path) -> DirectoryStore:
    """A store with one object and a HEAD."""
    actions.prepare(disk)
    return DirectoryStore(disk)


def body(store: DirectoryStore, collection: str = "words") -> bytes | None:
    seen = store.read_head(collection)
    return seen.body if seen else None


def swap_on(store: DirectoryStore, collection: str = "words") -> None:
    """Replace HEAD as anybody would, or create it as `recover` does: above every serial found."""
    names = Names(collection)
    serials = [names.parse_head_name(found.name) or 0 for found in store.list(names.all_heads)]
    seen = store.read_head(collection)
    token = store.swap_head(
        collection, b"the next HEAD", serial=max(serials, default=0) + 1, expected=seen.token if seen else None
    )
    assert StoredHead(b"the next HEAD", token) == store.read_head(collection)


def kill_at_every_call(root: Path, action: str, when: str) -> list[DirectoryStore]:
    """Return the stores that killed processes left, one for each call at which one was killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.steps", str(root), action, when],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count = int(done.stdout)
    assert count > 10
    return [DirectoryStore(root / f"{step:03}") for step in range(1, count + 1)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_swap_killed_at_any_call_leaves_the_old_head_or_the_new(disk: Path, when: str) -> None:
    """C13: kill -9 at every system call of a swap: HEAD is one of the two, whole, and the next swap works."""
    left = kill_at_every_call(disk, "swap", when)

    assert [OLD] * 3 == [body(store) for store in left[:3]]
    assert {OLD, NEW} == {body(store) for store in left}
    assert body(left[-1]) == NEW
    for store in left:
        assert store.read(KEPT, limit_bytes=len(DATA)) == DATA
        swap_on(store)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_init_killed_at_any_call_leaves_no_head_or_a_whole_one(disk: Path, when: str) -> None:
    """C13: kill -9 at every system call of the first swap: nothing, or HEAD; and then one can be made."""
    left = kill_at_every_call(disk, "create", when)

    assert {None, NEW} == {body(store, "places") for store in left}
    for store in left:
        swap_on(store, "places")
        assert body(store) == OLD


def test_an_init_killed_before_it_was_seen_can_be_sent_again(disk: Path) -> None:
    """C13: the claim was made, the file HEAD was not: the same bytes again finish it; other bytes are refused."""
    actions.prepare(disk)
    store = DirectoryStore(disk)
    store.swap_head("places", NEW, serial=1, expected=None)
    (disk / "places" / "HEAD").unlink()

    with pytest.raises(SwapRefused):
        store.swap_head("places", b"another init", serial=1, expected=None)
    assert body(store, "places") is None
    store.swap_head("places", NEW, serial=1, expected=None)
    assert body(store, "places") == NEW


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_killed_at_any_call_leaves_nothing_or_the_whole_object(disk: Path, when: str) -> None:
    """C13: kill -9 at every system call of a write: no half object is ever read or listed."""
    for store in kill_at_every_call(disk, "write", when):
        found = [stored.name for stored in store.list("words/objects/")]
        assert found in ([KEPT], [KEPT, WRITTEN])
        if WRITTEN in found:
            assert store.read(WRITTEN, limit_bytes=len(DATA)) == DATA
        store.write(WRITTEN, DATA)
        assert {KEPT, WRITTEN} == store.present([KEPT, WRITTEN])


def test_what_killed_writers_leave_behind_is_not_listed_and_goes_with_a_later_sweep(disk: Path) -> None:
    """D4: unfinished files disturb no listing; a deletion a day later removes them, and no younger ones."""
    left = kill_at_every_call(disk, "swap", "before")
    unfinished = [path for store in left for path in store.root.glob(f"words/{UNFINISHED}/*")]
    assert len(unfinished) > 5
    long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for path in unfinished[1:]:
        os.utime(path, (long_ago, long_ago))

    for store in left:
        allowed = {KEPT, "words/HEAD", "words/heads/0000000000000001", "words/heads/0000000000000002"}
        assert allowed >= {found.name for found in store.list("")}
        store.delete([KEPT])

    assert unfinished[:1] == [path for store in left for path in store.root.glob(f"words/{UNFINISHED}/*")]


def error_of(act: Callable[[], object]) -> Exception | None:
    """Return what was raised."""
    try:
        act()
    except Exception as problem:
        return problem
    return None


@pytest.mark.parametrize("action", ["swap", "create", "write"])
# A disk that is full does nothing; an answer that is lost may come from a call that took effect.
@pytest.mark.parametrize(("code", "after"), [(errno.ENOSPC, False), (errno.EIO, False), (errno.EIO, True)])
def test_an_error_at_any_call_is_a_clear_one_and_loses_nothing(disk: Path, action: str, code: int, after: bool) -> None:
    """C15: a full or failing disk at each call: one of our errors, HEAD whole, and it works afterwards.

    An error says that nothing was sent, and then HEAD is the old one; otherwise the swap is unanswered.
    """
    act: Callable[[Path], None] = getattr(actions, action)
    collection = "places" if action == "create" else "words"
    for step in range(1, 1_000):
        (root := disk / f"{step}").mkdir()
        actions.prepare(root)
        with stopping_at(step, fail_with(code), after=after) as made:
            problem = error_of(lambda root=root: act(root))
        store = DirectoryStore(root)
        assert isinstance(problem, LifecycleError | SwapUnanswered | None)
        if isinstance(problem, LifecycleError):
            assert body(store, collection) in (None, OLD)
        if code == errno.ENOSPC:
            assert isinstance(problem, NoRoom | SwapUnanswered | None)
        act(root) if action == "write" else swap_on(store, collection)
        if len(made) < step:
            break
    assert step > 15


def test_a_full_disk_is_told_with_the_object(store: DirectoryStore) -> None:
    """C15: which object, in which store, and what to do."""
    with stopping_at(1, fail_with(errno.ENOSPC)), pytest.raises(NoRoom, match=rf"{WRITTEN} in .*make room"):
        store.write(WRITTEN, DATA)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.EROFS, StoreUnavailable, "read-only"),
        (errno.EACCES, StoreUnavailable, "not allowed.*access point"),
        (errno.EDQUOT, NoRoom, "quota"),
        (errno.EIO, StoreUnavailable, "mount"),
        (errno.ESTALE, StoreUnavailable, "mount"),
        (errno.ELOOP, Corrupt, "link"),
    ],
)
def test_what_the_system_refuses_is_told_in_our_words(
    store: DirectoryStore, code: int, kind: type[LifecycleError], words: str
) -> None:
    """S7: a mount that is read-only, forbidden, full, broken or stale: each says what to do."""
    with stopping_at(1, fail_with(code)), pytest.raises(kind, match=words):
        store.write(WRITTEN, DATA)


def test_a_root_that_is_missing_is_not_made(disk: Path) -> None:
    """S7: where a volume is not mounted, nothing is written beside it; only `init` makes a root."""
    store = DirectoryStore(disk / "mount" / "store")

    for attempt in (
        lambda: store.read_head("words"),
        lambda: store.write(WRITTEN, DATA),
        lambda: store.swap_head("words", NEW, serial=1, expected=None),
        lambda: list(store.list("")),
        lambda: store.present([KEPT]),
        store.now,
    ):
        with pytest.raises(StoreUnavailable, match="no directory"):
            attempt()
    assert [] == list(disk.iterdir())

    store.create_root()
    store.write(WRITTEN, DATA)
    assert store.read(WRITTEN, limit_bytes=len(DATA)) == DATA


# Order.


def lasting_calls(act: Callable[[], object]) -> list[str]:
    """Return the calls of *act* that decide what outlives a loss of power, in their order."""
    with stopping_at(0, fail_with(0)) as made:
        act()
    return [name for name in made if name in {"mkdir", "fsync", "link", "rename"}]


def test_an_object_is_on_disk_before_it_has_its_name_and_its_name_before_the_write_ends(store: DirectoryStore) -> None:
    """C13: the bytes, the name, the directory: a loss of power leaves nothing half."""
    store.write(WRITTEN, DATA)

    assert ["fsync", "rename", "fsync"] == lasting_calls(lambda: store.write(WRITTEN, DATA))


def test_a_new_directory_is_on_disk_before_anything_is_named_in_it(store: DirectoryStore) -> None:
    """C13: also one that another process made, and may not have brought to disk."""
    store.write(WRITTEN, DATA)
    new = "words/objects/ef/x"
    assert ["mkdir", "fsync", "fsync", "rename", "fsync"] == lasting_calls(lambda: store.write(new, DATA))

    another = DirectoryStore(store.root)
    assert lasting_calls(lambda: another.write(new, DATA)).count("fsync") == 4 + 2
    assert lasting_calls(lambda: another.write(new, DATA)).count("fsync") == 2


def test_a_head_is_on_disk_before_it_is_claimed_and_its_claim_before_it_is_shown(store: DirectoryStore) -> None:
    """C13: the bytes, the link, its directory; then the file HEAD in the same way."""
    token = store.swap_head("words", b"two", serial=2, expected=store.read_head("words").token)  # type: ignore[union-attr]

    calls = lasting_calls(lambda: store.swap_head("words", b"three", serial=3, expected=token))

    assert ["fsync", "link", "fsync", "fsync", "rename", "fsync"] == calls


# Links.


def no_links(*args: object, **kwargs: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "not supported")


def test_a_mount_without_hard_links_is_no_store(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where link(2) does not decide, HEAD is not swapped; the error says what the mount can be."""
    monkeypatch.setattr(os, "link", no_links)

    with pytest.raises(BadInput, match="as a mirror"):
        swap_on(store)
    assert body(store) == OLD


def test_a_mount_without_hard_links_can_be_a_mirror(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be made again may be kept apart by a lock alone."""
    monkeypatch.setattr(os, "link", no_links)
    mirror = DirectoryStore(store.root, mirror_only=True)

    swap_on(mirror)
    seen = mirror.read_head("words")
    with pytest.raises(SwapRefused):
        mirror.swap_head("words", b"late", serial=3, expected=None)

    assert seen == mirror.read_head("words")
    assert [] == list(store.root.glob(f"words/{UNFINISHED}/*"))


def test_without_hard_links_a_writer_has_the_lock_while_it_claims(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing else that keeps a second writer from claiming the same serial after it has looked."""
    free = []

    def look_and_refuse(*args: object, **kwargs: object) -> None:
        with (store.root / "words" / ".lock").open("r+b") as lock:
            free.append(swapping._try_lock(lock.fileno()))
        no_links()

    monkeypatch.setattr(os, "link", look_and_refuse)
    swap_on(DirectoryStore(store.root, mirror_only=True))

    assert [False] == free


def test_a_link_that_the_server_made_twice_is_ours(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: an NFS client lost the answer to its link, asked again, and was told that the name exists."""
    link = os.link

    def twice(*args: object, **kwargs: object) -> None:
        link(*args, **kwargs)  # type: ignore[arg-type]
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", twice)
    swap_on(store)


def test_a_link_without_an_answer_is_told_as_such(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: whether the server made the link is not known: this decides nothing."""
    link = os.link

    def linked_and_lost(*args: object, **kwargs: object) -> None:
        link(*args, **kwargs)  # type: ignore[arg-type]
        raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(os, "link", linked_and_lost)
    with pytest.raises(SwapUnanswered):
        actions.swap(store.root)
    assert body(store) == NEW


def test_a_writer_that_slept_past_a_sweep_does_not_take_an_old_serial(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: it compared, slept while others swapped and a sweep removed their serials, and links a name that is free."""
    seen = store.read_head("words")
    assert seen
    link = os.link

    def after_a_long_sleep(*args: object, **kwargs: object) -> None:
        monkeypatch.setattr(os, "link", link)
        monkeypatch.setattr(swapping, "_try_lock", lambda lock: True)  # the lease has ended
        for _ in range(3):
            swap_on(DirectoryStore(store.root))
        store.delete(["words/heads/0000000000000001", "words/heads/0000000000000002"])
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", after_a_long_sleep)

    with pytest.raises(SwapRefused, match="past serial 2"):
        store.swap_head("words", NEW, serial=2, expected=seen.token)
    assert body(store) == b"the next HEAD"


def test_a_lock_that_nobody_releases_costs_time_and_not_the_swap(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L4: a holder that is cut off keeps its lock; the link decides without it."""
    monkeypatch.setattr(swapping, "_LOCK_SECONDS", 0.05)
    start = SYSTEM_CLOCK.monotonic()
    with (store.root / "words" / ".lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        swap_on(store)
    assert SYSTEM_CLOCK.monotonic() - start < 20


def test_a_serial_below_those_that_were_made_does_not_become_head(store: DirectoryStore) -> None:
    """L13: HEAD was deleted, and an `init` counts from 1: it is refused, and `recover`, which counts on, is not."""
    for _ in range(3):
        swap_on(store)
    store.delete(["words/HEAD", "words/heads/0000000000000001"])

    with pytest.raises(SwapRefused, match="past serial 1"):
        store.swap_head("words", NEW, serial=1, expected=None)
    assert body(store) is None
    swap_on(store)


# Reading HEAD.


def test_a_head_file_that_lags_is_not_believed(store: DirectoryStore) -> None:
    """A writer died between its link and its rename: the newest HEAD is the highest in heads/."""
    old = (store.root / "words" / "HEAD").read_bytes()
    swap_on(store)
    (store.root / "words" / "HEAD").write_bytes(old)

    assert body(store) == b"the next HEAD"
    swap_on(store)


def test_files_that_are_no_heads_are_nobodys_head(store: DirectoryStore) -> None:
    """Whatever else lies in heads/ is not taken for the newest."""
    for name in ("ffffffffffffffff.bak", "~", "00000000000000002", "XYZ", "0000000000000000"):
        (store.root / "words" / "heads" / name).write_bytes(b"not HEAD")

    assert body(store) == OLD
    swap_on(store)


def test_what_was_put_in_the_place_of_a_head_hides_no_older_one(store: DirectoryStore) -> None:
    """L13: it is longer than any HEAD can be; the one before it is still there to recover from."""
    (store.root / "words" / "heads" / "ffffffffffffffff").write_bytes(bytes(HEAD_LIMIT_BYTES + 1))

    with pytest.raises(Corrupt, match="has 1048577 bytes"):
        store.read_head("words")
    assert [OLD] == list(store.past_heads("words"))


def test_a_directory_that_was_copied_from_s3_has_its_head(disk: Path) -> None:
    """A copy without heads/ is a store: its HEAD is the file HEAD, and the next swap makes the rest."""
    (disk / "words").mkdir()
    (disk / "words" / "HEAD").write_bytes(b"from S3")
    store = DirectoryStore(disk)
    seen = store.read_head("words")
    assert seen
    assert seen.body == b"from S3"

    token = store.swap_head("words", NEW, serial=41, expected=seen.token)

    assert StoredHead(NEW, token) == store.read_head("words")
    with pytest.raises(SwapRefused):
        store.swap_head("words", b"late", serial=42, expected=seen.token)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESTALE])
def test_a_head_that_is_gone_for_a_moment_is_read_again(store: DirectoryStore, code: int) -> None:
    """S7: just after a rename, an NFS client sees ENOENT or ESTALE: the pointer is read again."""
    with stopping_at(0, fail_with(0)) as calls:
        store.read_head("words")
    heads = [step for step, name in enumerate(calls, 1) if name in {"listdir", "fdopen"}]
    assert len(heads) == 2
    for step in heads:
        with stopping_at(step, fail_with(code)):
            assert body(store) == OLD


def test_a_head_that_stays_stale_is_unavailable(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """S7: the reading again ends some time, with an error and not with "no HEAD"."""
    monkeypatch.setattr(swapping, "_SETTLE_SECONDS", 0.05)

    def stale(path: str) -> list[str]:
        raise OSError(errno.ESTALE, "stale")

    monkeypatch.setattr(os, "listdir", stale)
    with pytest.raises(StoreUnavailable, match="words/HEAD"):
        store.read_head("words")


# Names.


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "words/../../x", "words//x", "words/./x", "", "words/", "a\0b"]
)
def test_a_name_that_could_leave_the_root_is_refused(store: DirectoryStore, name: str) -> None:
    """No name leads out of the store, whoever made it."""
    for attempt in (
        lambda: store.read(name, limit_bytes=100),
        lambda: store.write(name, b"x"),
        lambda: store.present([name]),
        lambda: store.delete([name]),
    ):
        with pytest.raises(BadInput):
            attempt()


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is not below the root, with a file."""
    directory = tmp_path_factory.mktemp("outside")
    (directory / "secret").write_bytes(b"secret")
    return directory


def test_a_link_to_a_directory_is_not_followed(store: DirectoryStore, outside: Path) -> None:
    """Nothing outside is read, written, listed or deleted through a link that stands inside."""
    (store.root / "words" / "objects" / "link").symlink_to(outside)
    name = "words/objects/link/secret"

    with pytest.raises(Corrupt, match="link"):
        store.read(name, limit_bytes=100)
    with pytest.raises(Corrupt, match="link"):
        store.write(name, b"overwritten")
    with pytest.raises(Corrupt, match="link"):
        store.delete([name])
    assert ["words/objects/ab/kept", "words/objects/link"] == [found.name for found in store.list("words/objects/")]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_link_to_a_file_is_no_object(store: DirectoryStore, outside: Path) -> None:
    """A link is not read, not present, replaced by a write, and removed without touching what it names."""
    link = store.root / "words" / "objects" / "ab" / "link"
    name = "words/objects/ab/link"
    link.symlink_to(outside / "secret")

    with pytest.raises(Corrupt, match="link"):
        store.read(name, limit_bytes=100)
    assert frozenset() == store.present([name])
    store.write(name, b"an object")
    assert store.read(name, limit_bytes=100) == b"an object"
    store.delete([name])
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_pipe_in_an_objects_place_does_not_hang_its_reader(store: DirectoryStore) -> None:
    """C11: a device or pipe is no object."""
    os.mkfifo(store.root / "words" / "objects" / "ab" / "pipe")

    with pytest.raises(Corrupt):
        store.read("words/objects/ab/pipe", limit_bytes=100)
    assert frozenset() == store.present(["words/objects/ab/pipe"])


def test_a_sweep_leaves_no_empty_directories(store: DirectoryStore) -> None:
    """D4: an era that is gone leaves nothing; a writer that comes at that moment makes its directories again."""
    store.delete([KEPT])

    assert [] == list((store.root / "words" / "objects").iterdir())
    store.write(KEPT, DATA)
    assert store.read(KEPT, limit_bytes=len(DATA)) == DATA


def test_a_directory_that_vanishes_under_a_writer_is_made_again(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D4: a sweep removed the empty directory between our opening it and our rename into it."""
    rename = os.rename

    def sweep_first(*args: object, **kwargs: object) -> None:
        monkeypatch.setattr(os, "rename", rename)
        DirectoryStore(store.root).delete([KEPT])
        rename(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", sweep_first)
    store.write("words/objects/ab/new", DATA)

    assert ["words/objects/ab/new"] == [found.name for found in store.list("words/objects/")]


def test_descriptors_stay_flat(store: DirectoryStore) -> None:
    """S3: whatever is called, well or badly, no descriptor stays open."""
    before = open_files()
    for _ in range(20):
        store.write(WRITTEN, DATA)
        swap_on(store)
        list(store.list(""))
        next(store.list(""))
        store.now()
        with pytest.raises(ObjectMissing):
            store.read("words/objects/none", limit_bytes=1)
        with pytest.raises(Corrupt):
            store.read(WRITTEN, limit_bytes=1)
        store.delete([WRITTEN])
    assert open_files().items() <= before.items()


def test_a_swap_that_a_dying_mount_may_have_made_is_unanswered(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C14: the link is there, its answer an error, and from then on nothing works, not even to tidy up."""
    link, seen = os.link, store.read_head("words")

    def dies(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "gone")

    def links_and_dies(*args: Any, **kwargs: Any) -> None:
        link(*args, **kwargs)
        monkeypatch.setattr(os, "unlink", dies)
        dies()

    monkeypatch.setattr(os, "link", links_and_dies)
    assert seen
    with pytest.raises(SwapUnanswered, match="no clear answer to a link"):
        store.swap_head("words", NEW, serial=2, expected=seen.token)
    monkeypatch.undo()
    assert body(store) == NEW
