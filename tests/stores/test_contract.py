"""What every store promises: one suite for all of them."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from chroma_lifecycle.errors import Corrupt, ObjectMissing
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, HeadToken, Store, StoredHead, SwapRefused

MIB = 1 << 20


def names(store: Store, prefix: str) -> list[str]:
    return [found.name for found in store.list(prefix)]


def test_an_object_is_read_as_it_was_written(store: Store) -> None:
    """Bytes come back, whatever they are: none, a few, and more than one buffer of any layer."""
    for size in (0, 1, 3 * MIB + 1):
        data = hashlib.shake_128(b"seed").digest(size)
        store.write(f"words/objects/{size}", data)

        assert data == store.read(f"words/objects/{size}", limit_bytes=size)


def test_writing_again_is_harmless(store: Store) -> None:
    """Whoever is not sure whether a write ended writes again; a damaged object is mended by it."""
    store.write("words/objects/x", b"damaged")
    store.write("words/objects/x", b"sound")
    store.write("words/objects/x", b"sound")

    assert store.read("words/objects/x", limit_bytes=100) == b"sound"
    assert names(store, "") == ["words/objects/x"]


@pytest.mark.parametrize("name", ["words/objects/none", "nothing/at/all/here", "words"])
def test_a_missing_object_is_missing(store: Store, name: str) -> None:
    """A name that is not there is told by its own error, which says the name."""
    store.write("words/objects/x", b"data")

    with pytest.raises((ObjectMissing, Corrupt), match=name):
        store.read(name, limit_bytes=100)


def test_a_known_head_is_returned_itself_while_it_is_the_newest(store: Store) -> None:
    """What was read before is recognised by its token; a newer HEAD, and one that is gone, never are."""
    token = store.swap_head("words", b"one", serial=1, expected=None)
    known = store.read_head("words")

    assert known is store.read_head("words", known=known)
    assert store.read_head("places", known=known) is None
    newer = store.swap_head("words", b"two", serial=2, expected=token)
    assert StoredHead(b"two", newer) == store.read_head("words", known=known)


def test_no_more_is_read_than_was_asked_for(store: Store) -> None:
    """An object that is longer than it can be is corrupt, and does not fill the memory."""
    store.write("words/objects/x", b"12345")

    assert store.read("words/objects/x", limit_bytes=5) == b"12345"
    with pytest.raises(Corrupt, match=r"words/objects/x|x has 5 bytes"):
        store.read("words/objects/x", limit_bytes=4)


def test_present_names_are_told_from_missing_ones(store: Store) -> None:
    """Exactly the names that are stored are present; a directory is none."""
    store.write("words/objects/ab/x", b"1")
    store.write("words/objects/y", b"2")

    asked = ["words/objects/ab/x", "words/objects/ab", "words/objects/y", "words/objects/z", "other/objects/y"]
    assert {"words/objects/ab/x", "words/objects/y"} == store.present(asked)
    assert frozenset() == store.present([])


def test_a_listing_is_by_prefix_and_in_order(store: Store) -> None:
    """Names come in the order of their bytes, also where "a-b" and "a/b" meet, and no others."""
    stored = ["w.x/objects/1", "words/a-b", "words/a/b", "words/a/b-c", "words/a/c/d", "words/a0", "words2/x"]
    for name in stored:
        store.write(name, name.encode())

    assert stored == names(store, "")
    assert names(store, "words/") == ["words/a-b", "words/a/b", "words/a/b-c", "words/a/c/d", "words/a0"]
    assert names(store, "words/a/") == ["words/a/b", "words/a/b-c", "words/a/c/d"]
    assert names(store, "words/a/b") == ["words/a/b", "words/a/b-c"]
    assert [] == names(store, "words/c") == names(store, "nothing/here/")


def test_a_listing_tells_sizes_and_ages(store: Store) -> None:
    """The age of an object is told by the store's own clock."""
    before = store.now() - timedelta(seconds=2)
    store.write("words/objects/x", b"12345")
    (found,) = store.list("words/")

    assert (found.name, found.size) == ("words/objects/x", 5)
    assert before <= found.modified <= store.now() + timedelta(seconds=2)
    assert found.modified.tzinfo is UTC


def test_a_listing_longer_than_a_page_is_whole(store: Store) -> None:
    """Where one answer ends, the listing goes on (here S3 gives three names in an answer)."""
    stored = [f"words/objects/{number:02}" for number in range(10)]
    for name in stored:
        store.write(name, b"")

    assert stored == names(store, "words/objects/")
    store.delete(stored)
    assert names(store, "") == []


def test_the_time_is_a_clock_near_ours(store: Store) -> None:
    """In these tests the store is on this machine."""
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_deleting_removes_what_is_named_and_nothing_else(store: Store) -> None:
    """One that is not there is no error: a sweep that died is simply run again."""
    for name in ("words/objects/ab/x", "words/objects/ab/y", "words/objects/cd/z"):
        store.write(name, b"")

    store.delete(["words/objects/ab/x", "words/objects/cd/z", "words/objects/none", "no/such/folder"])
    store.delete([])

    assert names(store, "") == ["words/objects/ab/y"]
    store.write("words/objects/cd/z", b"again")
    assert names(store, "") == ["words/objects/ab/y", "words/objects/cd/z"]


# HEAD.


def first_head(store: Store) -> HeadToken:
    return store.swap_head("words", b"one", serial=1, expected=None)


def test_there_is_no_head_at_first(store: Store) -> None:
    """L13: a store without HEAD says so, and a look at it leaves nothing behind."""
    assert store.read_head("words") is None
    assert names(store, "") == []


def test_a_head_is_created_and_read(store: Store) -> None:
    """What was swapped in is what is read, with the token that the swap returned."""
    token = first_head(store)

    assert StoredHead(b"one", token) == store.read_head("words")
    assert store.read("words/HEAD", limit_bytes=100) == b"one"


def test_a_head_is_replaced_by_whoever_knows_it(store: Store) -> None:
    """Each swap expects the token of the one before."""
    token = first_head(store)
    for number in range(2, 6):
        token = store.swap_head("words", f"{number}".encode(), serial=number, expected=token)
        assert StoredHead(f"{number}".encode(), token) == store.read_head("words")


def test_a_second_swap_on_the_same_token_is_refused(store: Store) -> None:
    """Of two writers that read the same HEAD, one may replace it."""
    token = first_head(store)
    landed = store.swap_head("words", b"two", serial=2, expected=token)

    with pytest.raises(SwapRefused):
        store.swap_head("words", b"another two", serial=2, expected=token)
    with pytest.raises(SwapRefused):
        store.swap_head("words", b"three", serial=3, expected=token)
    assert StoredHead(b"two", landed) == store.read_head("words")


def test_a_head_is_created_once(store: Store) -> None:
    """Two `init` at once: the second is refused, with the same serial or another."""
    token = first_head(store)

    with pytest.raises(SwapRefused):
        store.swap_head("words", b"another one", serial=1, expected=None)
    with pytest.raises(SwapRefused):
        store.swap_head("words", b"two", serial=2, expected=None)
    assert StoredHead(b"one", token) == store.read_head("words")


def test_a_missing_head_is_not_replaced(store: Store) -> None:
    """Somebody deleted HEAD: a writer that knows the old one is refused, and does not bring it back."""
    token = first_head(store)
    store.delete(["words/HEAD"])

    with pytest.raises(SwapRefused):
        store.swap_head("words", b"two", serial=2, expected=token)
    assert store.read_head("words") is None


def test_a_head_that_was_deleted_can_be_created_anew(store: Store) -> None:
    """`recover` creates HEAD again, with a serial above every one that it found."""
    first_head(store)
    store.delete(["words/HEAD"])

    token = store.swap_head("words", b"recovered", serial=2, expected=None)

    assert StoredHead(b"recovered", token) == store.read_head("words")


def test_a_token_is_not_good_in_a_store_that_was_emptied(store: Store) -> None:
    """A store emptied and initialised again counts from 1 as well: an old token is no token there."""
    old = first_head(store)
    store.delete(names(store, ""))
    store.swap_head("words", b"another lineage", serial=1, expected=None)

    with pytest.raises(SwapRefused):
        store.swap_head("words", b"two", serial=2, expected=old)


def test_the_same_swap_again_lands_or_is_refused_and_changes_nothing(store: Store) -> None:
    """Who did not hear the answer sends the same bytes again: HEAD stays what it is."""
    token = first_head(store)
    landed = store.swap_head("words", b"two", serial=2, expected=token)

    with contextlib.suppress(SwapRefused):
        assert landed == store.swap_head("words", b"two", serial=2, expected=token)
    assert StoredHead(b"two", landed) == store.read_head("words")


def test_a_swap_sent_again_after_others_does_not_come_back(store: Store) -> None:
    """HEAD never goes back: bytes that were HEAD once are refused after the next one."""
    token = first_head(store)
    second = store.swap_head("words", b"two", serial=2, expected=token)
    third = store.swap_head("words", b"three", serial=3, expected=second)

    with pytest.raises(SwapRefused):
        store.swap_head("words", b"two", serial=2, expected=token)
    assert StoredHead(b"three", third) == store.read_head("words")


def test_serials_may_have_gaps(store: Store) -> None:
    """A mirror that was away for ten cycles takes the newest HEAD in one step."""
    token = first_head(store)
    later = store.swap_head("words", b"eleven", serial=11, expected=token)
    latest = store.swap_head("words", b"twelve", serial=12, expected=later)

    assert StoredHead(b"twelve", latest) == store.read_head("words")


def test_collections_have_heads_of_their_own(store: Store) -> None:
    """A swap of one collection does not touch another's."""
    first_head(store)
    store.swap_head("places", b"place", serial=7, expected=None)

    words, places = store.read_head("words"), store.read_head("places")
    assert words
    assert places
    assert (words.body, places.body) == (b"one", b"place")


def test_a_head_that_is_too_long_is_corrupt(store: Store) -> None:
    """Whatever stands in HEAD's place, reading it takes a bounded amount of memory."""
    store.swap_head("words", b"x" * (HEAD_LIMIT_BYTES + 1), serial=1, expected=None)

    with pytest.raises(Corrupt):
        store.read_head("words")


def test_the_address_is_shown_in_errors(store: Store) -> None:
    """Whoever reads an error knows which of the stores it is about."""
    with pytest.raises(ObjectMissing) as caught:
        store.read("words/objects/none", limit_bytes=1)
    assert store.address in str(caught.value)


def test_erasing_leaves_no_version_of_what_is_condemned(store: Store) -> None:
    """What remains is told before and after; what is not condemned stays."""
    names = [f"words/objects/{number}" for number in range(5)]
    for name in names:
        store.write(name, name.encode())

    assert names == sorted(row.name for row in store.remains("words/objects/"))
    gone = store.erase("words/objects/", lambda row: row.name in names[1:4])

    assert names[1:4] == sorted(row.name for row in gone)
    assert [names[0], names[4]] == sorted(row.name for row in store.remains("words/objects/"))
    assert {names[0], names[4]} == store.present(names)
