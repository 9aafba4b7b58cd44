"""What is kept: expiries, their undoing, and pins."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chroma_lifecycle.errors import BadInput, ObjectMissing
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import find_version
from chroma_lifecycle.publishing.retention import expire, pin, undo_expire, unpin
from chroma_lifecycle.publishing.sweep import reached, sweep
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION
from tests.support.stores import FaultyStore, after
from tests.support.tiny import Tiny, on_every_store

DAY = timedelta(days=1)


@pytest.fixture
def tiny(tiny: Tiny) -> Tiny:
    """Five versions, published a day apart; the fifth half a day ago."""
    tiny.initialise()
    for number in range(1, 5):
        tiny.clock.pass_by(DAY)  # type: ignore[attr-defined]
        tiny.publish(number)
    tiny.clock.pass_by(DAY / 2)  # type: ignore[attr-defined]
    tiny.store.by = tiny.clock.now() - tiny.store.inner.now()  # type: ignore[attr-defined]
    return tiny


def head_of(tiny: Tiny) -> Head:
    return read_head(tiny.store, COLLECTION).head


@pytest.mark.parametrize(
    ("keep", "days", "bound"),
    [
        (1, None, 5),
        (2, None, 4),
        (5, None, None),
        (9, None, None),
        (None, 0, 5),
        (None, 1, 4),  # the third was replaced a day and a half ago
        (None, 3, 2),
        (None, 4, None),
        (1, 3, 2),  # what either lets stay, stays
        (4, 0, 2),
        (9, 0, None),
    ],
)
def test_versions_expire_by_count_and_age(tiny: Tiny, keep: int | None, days: int | None, bound: int | None) -> None:
    """L11: a version is as old as the time since it was replaced; HEAD's own never expires."""
    age = None if days is None else days * DAY

    amended = expire(tiny.store, COLLECTION, keep=keep, older_than=age, writer="test")

    assert (bound is not None) == amended.changed
    assert Version(bound or 1) == amended.after.shown_from
    assert amended.after == head_of(tiny)
    assert Version(1) == amended.after.floor


def test_what_has_not_been_written_to_for_a_month_keeps_what_it_has(tiny: Tiny) -> None:
    """L11: no writes for 30 days, then retention runs: HEAD's version and its predecessors to the count stay."""
    tiny.store.by += 30 * DAY  # type: ignore[attr-defined]

    expire(tiny.store, COLLECTION, keep=3, older_than=DAY, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    swept = sweep(tiny.store, COLLECTION, delete=True, writer="test")

    assert swept.judged.condemned
    assert [3, 4, 5] == [found for found in range(1, 6) if is_there(tiny, found)]


def is_there(tiny: Tiny, number: int) -> bool:
    """Whether a version is retained, and every name that it needs is stored."""
    try:
        manifest = find_version(tiny.store, head_of(tiny), Version(number))[1]
    except BadInput:
        return False
    assert manifest.reached() == tiny.store.present(manifest.reached())
    return True


def test_an_expiry_can_be_taken_back_until_a_sweep(tiny: Tiny) -> None:
    """The last one first; what expired is whole all the time, and what was swept does not come back."""
    for keep in (4, 2):
        expire(tiny.store, COLLECTION, keep=keep, writer="test")
    assert is_there(tiny, 1)

    assert [2, 1, 1] == [undo_expire(tiny.store, COLLECTION, writer="test").after.shown_from.number for _ in range(3)]
    assert not undo_expire(tiny.store, COLLECTION, writer="test").changed

    expire(tiny.store, COLLECTION, keep=2, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    sweep(tiny.store, COLLECTION, delete=True, writer="test")
    assert not undo_expire(tiny.store, COLLECTION, writer="test").changed
    assert [4, 5] == [found for found in range(1, 6) if is_there(tiny, found)]


@pytest.mark.parametrize(("keep", "days"), [(None, None), (0, None), (-1, None), (None, -1)])
def test_an_expiry_of_nonsense_is_refused(tiny: Tiny, keep: int | None, days: int | None) -> None:
    """Neither a count nor an age, or one that would take the newest version."""
    before = head_of(tiny)

    with pytest.raises(BadInput):
        expire(tiny.store, COLLECTION, keep=keep, older_than=days if days is None else days * DAY, writer="test")
    assert before == head_of(tiny)


@on_every_store
def test_a_pin_keeps_a_version_past_every_sweep(tiny: Tiny) -> None:
    """And its end gives it a grace period of its own, in which it can be pinned again."""
    pin(tiny.store, COLLECTION, "release-1", Version(2), writer="test")
    expire(tiny.store, COLLECTION, keep=1, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    sweep(tiny.store, COLLECTION, delete=True, writer="test")
    assert [2, 5] == [found for found in range(1, 6) if is_there(tiny, found)]

    unpin(tiny.store, COLLECTION, "release-1", writer="test")
    assert not sweep(tiny.store, COLLECTION, delete=True, writer="test").judged.condemned
    assert is_there(tiny, 2)
    assert pin(tiny.store, COLLECTION, "again", Version(2), writer="test").after.unpinned == ()
    unpin(tiny.store, COLLECTION, "again", writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    sweep(tiny.store, COLLECTION, delete=True, writer="test")

    assert [5] == [found for found in range(1, 6) if is_there(tiny, found)]
    assert head_of(tiny).unpinned == ()


def test_a_pin_holds_one_version(tiny: Tiny) -> None:
    """The same again is harmless; another version under its name is refused; without a number it is the newest."""
    assert pin(tiny.store, COLLECTION, "p", writer="test").after.pins["p"].version == Version(5)
    assert not pin(tiny.store, COLLECTION, "p", Version(5), writer="test").changed
    with pytest.raises(BadInput, match="the pin p of words holds version 5"):
        pin(tiny.store, COLLECTION, "p", Version(4), writer="test")


def test_two_pins_of_a_version_are_two_pins(tiny: Tiny) -> None:
    """With the first the version stays pinned, and nothing begins to count."""
    for name in ("p", "q"):
        pin(tiny.store, COLLECTION, name, Version(2), writer="test")

    assert unpin(tiny.store, COLLECTION, "p", writer="test").after.unpinned == ()
    assert 1 == len(unpin(tiny.store, COLLECTION, "q", writer="test").after.unpinned)


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 101, "../x"])
def test_a_name_that_is_none_is_refused(tiny: Tiny, name: str) -> None:
    """It would stand in HEAD, and be shown to people."""
    with pytest.raises(BadInput, match="a pin's name must be"):
        pin(tiny.store, COLLECTION, name, writer="test")


def test_a_version_that_is_gone_cannot_be_pinned(tiny: Tiny) -> None:
    """L13: HEAD names a manifest that somebody deleted: a pin that keeps nothing would only look like one."""
    tiny.store.delete([head_of(tiny).manifest.name])

    with pytest.raises(ObjectMissing):
        pin(tiny.store, COLLECTION, "p", writer="test")
    assert {} == dict(head_of(tiny).pins)


def test_a_version_that_was_swept_cannot_be_pinned(tiny: Tiny) -> None:
    """What was condemned never lives again."""
    expire(tiny.store, COLLECTION, keep=2, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    sweep(tiny.store, COLLECTION, delete=True, writer="test")

    with pytest.raises(BadInput, match="version 2 of words is not there: versions 4 to 5 are"):
        pin(tiny.store, COLLECTION, "late", Version(2), writer="test")


def test_a_pin_that_a_sweep_overtakes_is_judged_again(tiny: Tiny) -> None:
    """The version was there when it was looked up; the HEAD that is replaced does not retain it any more."""
    expire(tiny.store, COLLECTION, keep=2, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    raced = FaultyStore(tiny.store, swaps=[after(lambda: sweep(tiny.store, COLLECTION, delete=True, writer="test"))])

    with pytest.raises(BadInput, match="version 2 of words is not there"):
        pin(raced, COLLECTION, "late", Version(2), writer="test")
    head = head_of(tiny)
    assert {} == head.pins
    assert reached(tiny.store, head) == tiny.store.present(reached(tiny.store, head))


def test_an_unknown_pin_is_told_with_those_that_are(tiny: Tiny) -> None:
    """A typing error does not look like success."""
    pin(tiny.store, COLLECTION, "release", writer="test")

    with pytest.raises(BadInput, match="has no pin 'relaese'; it has: release"):
        unpin(tiny.store, COLLECTION, "relaese", writer="test")


def test_a_publication_carries_over_what_others_decided(tiny: Tiny) -> None:
    """Pins and expiries outlive the next version."""
    pin(tiny.store, COLLECTION, "p", Version(1), writer="test")
    expire(tiny.store, COLLECTION, keep=2, writer="test")
    before = head_of(tiny)

    tiny.publish(5)

    after_it = head_of(tiny)
    assert (before.pins, before.expiries, before.floor) == (after_it.pins, after_it.expiries, after_it.floor)
