"""The three ways in which a swap ends, on a real store whose answers are scripted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    HeadMoved,
    LifecycleError,
    NoRoom,
    NotInitialised,
    ObjectMissing,
    OutcomeUnknown,
    StoreUnavailable,
)
from chroma_lifecycle.ports import HeadToken, Store, SwapRefused, SwapUnanswered
from chroma_lifecycle.publishing import swap as swapping
from chroma_lifecycle.publishing.head import Head, SeenHead, find_head, read_head
from chroma_lifecycle.publishing.swap import Landed, Lost, Unknown, amend_head, require_landed, swap
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.heads import COLLECTION, head_spec, manifest_ref
from tests.support.stores import FaultyStore, Swap, after, lands, lands_and_says, says

REFUSED = SwapRefused("412")
UNANSWERED = SwapUnanswered("time-out")
UNAVAILABLE = StoreUnavailable("no answer", hint="wait")

OURS, THEIRS, ELSE = 0xAAAA, 0xBBBB, 0xCCCC


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    """A store with HEAD at version 1."""
    faulty = FaultyStore(DirectoryStore(tmp_path))
    put(faulty, head_spec(1))
    return faulty


def put(store: FaultyStore, head: Head) -> Head:
    """Another writer replaces HEAD, whatever it is."""
    seen = find_head(store.inner, COLLECTION)
    head = replace(head, serial=seen.head.serial + 1 if seen else 1)
    outcome = swap(store.inner, head, seen, parent_of=None)
    assert isinstance(outcome, Landed)
    return head


def parents(*chain: ManifestRef) -> Callable[[ManifestRef], ManifestRef | None]:
    """The ancestry, newest first."""
    return dict(zip(chain, [*chain[1:], None], strict=True)).__getitem__


def no_parents(ref: ManifestRef) -> ManifestRef | None:
    raise AssertionError(f"{ref} need not be read")


def now(store: FaultyStore) -> Head:
    return read_head(store.inner, COLLECTION).head


def ours(version: int = 2) -> Head:
    return head_spec(version, OURS)


def test_a_swap_that_is_answered_has_landed(store: FaultyStore) -> None:
    """The simple case: one request, and HEAD is ours."""
    outcome = swap(store, ours(), read_head(store, COLLECTION), parent_of=no_parents)

    assert Landed(SeenHead(ours(), ANY)) == outcome
    assert isinstance(outcome, Landed)
    assert outcome.newest == read_head(store, COLLECTION)


@pytest.mark.parametrize("answer", [REFUSED, UNANSWERED, UNAVAILABLE])
def test_a_refusal_of_our_own_landed_write_is_a_success(store: FaultyStore, answer: Exception) -> None:
    """C14: the answer was lost, the SDK sent it again and got a 412 (or nothing): HEAD is ours all the same."""
    seen = read_head(store, COLLECTION)
    first = UNANSWERED if answer is UNAVAILABLE else answer
    store.swaps = [lands_and_says(first)]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert Landed(read_head(store, COLLECTION)) == outcome
    assert ours() == now(store)
    assert len(store.sent) == 1


@pytest.mark.parametrize("answer", [REFUSED, UNANSWERED])
def test_the_same_bytes_are_sent_again_while_head_is_the_one_expected(store: FaultyStore, answer: Exception) -> None:
    """C14: a 409 or a lost request leaves HEAD as it was; the same bytes make it land, whichever of them arrives."""
    seen = read_head(store, COLLECTION)
    store.swaps = [says(answer), says(answer)]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert Landed(read_head(store, COLLECTION)) == outcome
    assert len(store.sent) == 3
    assert len(set(store.sent)) == 1


def test_what_others_built_on_ours_shows_that_ours_landed(store: FaultyStore) -> None:
    """C14: three versions later HEAD does not name us, and its ancestry does."""
    seen = read_head(store, COLLECTION)

    def build_on_ours() -> None:
        for version in (3, 4, 5):
            put(store, head_spec(version, THEIRS))

    def step(do: Swap) -> HeadToken:
        do()
        build_on_ours()
        raise REFUSED

    store.swaps = [step]
    chain = parents(
        manifest_ref(5, THEIRS),
        manifest_ref(4, THEIRS),
        manifest_ref(3, THEIRS),
        manifest_ref(2, OURS),
        manifest_ref(1),
    )

    outcome = swap(store, ours(), seen, parent_of=chain)

    assert Landed(read_head(store, COLLECTION)) == outcome
    assert Version(5) == now(store).version


def test_a_pin_on_top_of_ours_shows_that_ours_landed(store: FaultyStore) -> None:
    """A pin has a swap id of its own, and our write id."""
    seen = read_head(store, COLLECTION)

    def step(do: Swap) -> HeadToken:
        do()
        put(store, replace(ours(), swap_id="0" * 16, pins={"a": manifest_ref(1)}))
        raise UNANSWERED

    store.swaps = [step]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert Landed(read_head(store, COLLECTION)) == outcome
    assert len(store.sent) == 1


@pytest.mark.parametrize("answer", [REFUSED, UNANSWERED])
def test_another_head_of_our_version_means_lost(store: FaultyStore, answer: Exception) -> None:
    """L5: they were quicker; their version is ours, and no manifest need be read to know it."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: put(store, head_spec(2, THEIRS)), says(answer))]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert Lost(read_head(store, COLLECTION)) == outcome
    assert THEIRS == int(now(store).write_id, 16)


def test_a_pin_before_ours_means_lost(store: FaultyStore) -> None:
    """HEAD is still the version that we started from, and its token is not: make the manifest again, and swap."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: put(store, replace(head_spec(1), swap_id="0" * 16)))]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert Lost(read_head(store, COLLECTION)) == outcome


def test_lost_is_said_when_every_ancestor_was_read(store: FaultyStore) -> None:
    """Two versions came between; both are looked at, down to the one with our number."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: [put(store, head_spec(version, THEIRS)) for version in (2, 3, 4)])]
    read: list[int] = []

    def parent_of(ref: ManifestRef) -> ManifestRef | None:
        read.append(ref.version.number)
        return manifest_ref(ref.version.number - 1, THEIRS)

    outcome = swap(store, ours(), seen, parent_of=parent_of)

    assert Lost(read_head(store, COLLECTION)) == outcome
    assert [4, 3] == read


@pytest.mark.parametrize(
    "problem",
    [ObjectMissing("swept", hint="-"), StoreUnavailable("no answer", hint="-"), Corrupt("damaged", hint="-")],
)
def test_an_ancestor_that_cannot_be_read_leaves_the_outcome_unknown(
    store: FaultyStore, problem: LifecycleError
) -> None:
    """C14: ours may be behind what cannot be read."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: [put(store, head_spec(version, THEIRS)) for version in (2, 3)])]

    def parent_of(ref: ManifestRef) -> ManifestRef | None:
        raise problem

    outcome = swap(store, ours(), seen, parent_of=parent_of)

    assert isinstance(outcome, Unknown)
    assert problem.message in outcome.reason


@pytest.mark.parametrize("landed", [True, False])
def test_a_head_that_cannot_be_read_leaves_the_outcome_unknown(store: FaultyStore, landed: bool) -> None:
    """C14: neither the answer nor HEAD: unknown, whatever happened; and nothing but HEAD was touched."""
    seen = read_head(store, COLLECTION)
    store.swaps = [lands_and_says(UNANSWERED) if landed else says(UNANSWERED)]
    store.reads = [UNAVAILABLE]
    store.calls.clear()

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert isinstance(outcome, Unknown)
    assert ["swap_head", "read_head"] == [call for call in store.calls if call != "address"]


def test_a_head_that_is_gone_leaves_the_outcome_unknown(store: FaultyStore) -> None:
    """Somebody deleted HEAD: ours may have been the one that was deleted."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: store.inner.delete([f"{COLLECTION}/HEAD"]))]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert isinstance(outcome, Unknown)
    assert "missing" in outcome.reason


def test_the_sending_ends_some_time(store: FaultyStore) -> None:
    """A store that refuses for ever gets the same bytes a few times; they may land later, so it is unknown."""
    seen = read_head(store, COLLECTION)
    store.swaps = [says(SwapRefused(f"409, number {number}")) for number in range(9)]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert isinstance(outcome, Unknown)
    assert "409, number 3" in outcome.reason
    assert len(store.sent) == 4


def test_a_write_that_lands_late_is_found(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes were under way all the time: HEAD is looked at again before more are sent."""
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.02,))
    seen = read_head(store, COLLECTION)
    late: list[Swap] = []

    def under_way(do: Swap) -> HeadToken:
        late.append(do)
        raise UNANSWERED

    original = store.inner.read_head
    looks = 0

    def read_and_let_it_land(collection: str, **known: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 2:
            late[0]()
        return original(collection, **known)

    store.swaps = [under_way]
    monkeypatch.setattr(store.inner, "read_head", read_and_let_it_land)

    assert isinstance(swap(store, ours(), seen, parent_of=no_parents), Landed)
    assert len(store.sent) == 1


def test_nothing_is_sent_again_after_the_deadline(store: FaultyStore) -> None:
    """L14: a function that is about to be stopped says unknown and lets the batch come again."""
    seen = read_head(store, COLLECTION)
    store.swaps = [says(UNANSWERED)]

    outcome = swap(store, ours(), seen, parent_of=no_parents, deadline=Deadline.after(0))

    assert isinstance(outcome, Unknown)
    assert len(store.sent) == 1


@pytest.mark.parametrize("problem", [UNAVAILABLE, NoRoom("full", hint="-"), BadInput("no hard links", hint="-")])
def test_an_error_before_anything_was_sent_is_that_error(store: FaultyStore, problem: LifecycleError) -> None:
    """C15: a full or forbidden store is told as what it is: nothing can have landed."""
    store.swaps = [says(problem)]

    with pytest.raises(type(problem)):
        swap(store, ours(), read_head(store, COLLECTION), parent_of=no_parents)
    assert head_spec(1) == now(store)


def test_an_error_after_something_was_sent_decides_nothing(store: FaultyStore) -> None:
    """What was sent first may still land, whatever becomes of the second sending."""
    seen = read_head(store, COLLECTION)
    store.swaps = [says(UNANSWERED), *[says(UNAVAILABLE)] * 3]

    assert isinstance(swap(store, ours(), seen, parent_of=no_parents), Unknown)


def test_a_store_that_has_moved_is_refused_before_anything_is_sent(store: FaultyStore) -> None:
    """A writer with the old address learns the new one."""
    put(store, replace(head_spec(1), swap_id="0" * 16, moved_to="s3://new/place"))

    with pytest.raises(BadInput, match="s3://new/place"):
        swap(store, replace(ours(), serial=9), read_head(store, COLLECTION), parent_of=no_parents)
    assert [] == store.sent


def test_a_move_that_came_between_is_a_loss(store: FaultyStore) -> None:
    """HEAD was swapped to moved-to after we read it: lost, and the HEAD that is handed back says where to go."""
    seen = read_head(store, COLLECTION)
    moved = replace(head_spec(1), swap_id="0" * 16, moved_to="s3://new/place")
    store.swaps = [after(lambda: put(store, moved))]

    outcome = swap(store, ours(), seen, parent_of=no_parents)

    assert isinstance(outcome, Lost)
    assert outcome.newest.head.moved_to == "s3://new/place"


def test_manifests_that_name_each_other_end_the_walk(store: FaultyStore) -> None:
    """Hostile or damaged ancestry is unknown, not an endless loop."""
    seen = read_head(store, COLLECTION)
    store.swaps = [after(lambda: [put(store, head_spec(version, THEIRS)) for version in (2, 3, 4)])]

    each_other = iter([manifest_ref(4, THEIRS)] * 20)

    outcome = swap(store, ours(), seen, parent_of=lambda ref: next(each_other))

    assert isinstance(outcome, Unknown)
    assert "not older" in outcome.reason


def test_a_serial_must_follow(store: FaultyStore) -> None:
    """A HEAD that was not made from the expected one is a programming error."""
    with pytest.raises(ValueError, match="serial"):
        swap(store, replace(ours(), serial=1), read_head(store, COLLECTION), parent_of=None)


def test_of_two_inits_one_is_lost(tmp_path: Path) -> None:
    """A HEAD of another lineage is found where ours should have been created."""
    store = FaultyStore(DirectoryStore(tmp_path))
    other = head_spec(1, THEIRS, lineage="00000000000000bb")
    store.swaps = [after(lambda: put(store, other))]

    outcome = swap(store, head_spec(1, OURS), None, parent_of=no_parents)

    assert Lost(read_head(store, COLLECTION)) == outcome


@pytest.mark.parametrize("answer", [REFUSED, UNANSWERED])
def test_a_damaged_head_can_be_replaced_by_who_knows_its_bytes(store: FaultyStore, answer: Exception) -> None:
    """L13: `recover` replaces what it read, although nobody can decode it, and only that."""
    seen = read_head(store, COLLECTION)
    store.inner.swap_head(COLLECTION, b"damaged", serial=2, expected=seen.token)
    damaged = store.inner.read_head(COLLECTION)
    store.swaps = [says(answer)]

    outcome = swap(store, replace(ours(), serial=3), damaged, parent_of=no_parents)

    assert Landed(read_head(store, COLLECTION)) == outcome
    lost = swap(store, replace(head_spec(2, THEIRS), serial=4), damaged, parent_of=no_parents)
    assert Lost(read_head(store, COLLECTION)) == lost


# Swaps that publish nothing.


def pinned(head: Head) -> Head:
    return replace(head, pins={**head.pins, "release": head.manifest})


@pytest.mark.parametrize("answer", [REFUSED, UNANSWERED])
def test_a_swap_that_publishes_nothing_is_known_by_its_swap_id(store: FaultyStore, answer: Exception) -> None:
    """Version and write id are those of the HEAD before: they cannot tell whether a pin landed."""
    seen = read_head(store, COLLECTION)
    pin = pinned(seen.head).next(swap_id="1" * 16, written_at=seen.head.written_at, writer="test")

    store.swaps = [lands_and_says(answer)]

    outcome = swap(store, pin, seen, parent_of=None)

    assert Landed(read_head(store, COLLECTION)) == outcome
    assert pin == now(store)


def test_a_swap_that_publishes_nothing_is_lost_to_any_other(store: FaultyStore) -> None:
    """An expiry came between: HEAD has the version of the pin, and not its swap id."""
    seen = read_head(store, COLLECTION)
    pin = pinned(seen.head).next(swap_id="1" * 16, written_at=seen.head.written_at, writer="test")
    store.swaps = [after(lambda: put(store, replace(head_spec(1), swap_id="2" * 16)))]

    outcome = swap(store, pin, seen, parent_of=None)

    assert Lost(read_head(store, COLLECTION)) == outcome


def test_an_amendment_is_made_again_on_each_newer_head(store: FaultyStore) -> None:
    """A pin that lost twice is there in the end, and so is everything that came between."""
    store.swaps = [after(lambda version=version: put(store, head_spec(version, THEIRS))) for version in (2, 3)]

    landed = amend_head(store, COLLECTION, pinned, writer="the operator")

    assert {"release": manifest_ref(3, THEIRS)} == now(store).pins
    assert Version(3) == now(store).version
    assert now(store) == landed.head
    assert now(store).writer == "the operator"


def test_an_amendment_that_changes_nothing_swaps_nothing(store: FaultyStore) -> None:
    """With nothing to change, HEAD stays as it is."""
    assert read_head(store, COLLECTION) == amend_head(store, COLLECTION, lambda head: None, writer="x")
    assert [] == store.sent


def test_an_amendment_gives_up_some_time(store: FaultyStore) -> None:
    """On a collection that never rests, the operator is told so."""
    busy = after(lambda: put(store, replace(now(store), swap_id=f"{len(store.sent):016x}")))
    store.swaps = [busy] * 50

    with pytest.raises(HeadMoved, match="version 1"):
        amend_head(store, COLLECTION, pinned, writer="x")
    assert len(store.sent) == 10


def test_an_amendment_without_answer_is_unknown(store: FaultyStore) -> None:
    """Nobody can say: the error says what to do."""
    store.swaps = [says(UNANSWERED)] * 9

    with pytest.raises(OutcomeUnknown, match="run the same again"):
        amend_head(store, COLLECTION, pinned, writer="x")


def test_outcomes_become_errors_for_those_who_need_one(store: FaultyStore) -> None:
    """Landed is a HEAD; lost is retryable; unknown says that nothing may be deleted."""
    seen = read_head(store, COLLECTION)

    assert seen == require_landed(Landed(seen))
    with pytest.raises(HeadMoved):
        require_landed(Lost(seen))
    with pytest.raises(OutcomeUnknown, match="delete nothing"):
        require_landed(Unknown("because"))


def test_a_missing_head_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    """L13: reading where there is no HEAD names the two commands that can make one, and writes nothing."""
    with pytest.raises(NotInitialised, match=r"init.*recover"):
        read_head(DirectoryStore(tmp_path), COLLECTION)
    assert [] == list(tmp_path.iterdir())


# Everything at once.


class Chronicle(FaultyStore):
    """A store with a history: who published what on top of whom, and swaps that are still under way."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.parents: dict[ManifestRef, ManifestRef | None] = {manifest_ref(1): None}
        self.under_way: list[Swap] = []
        self.names = iter(range(0x1000, 0x2000))

    def publish(self) -> None:
        """Another writer publishes on top of what is there."""
        head = now(self)
        new = head_spec(head.version.number + 1, next(self.names))
        self.parents[new.manifest] = head.manifest
        put(self, new)

    def pin(self) -> None:
        put(self, replace(now(self), swap_id=f"{next(self.names):016x}"))

    def deliver(self) -> None:
        """What was under way arrives."""
        for swap_under_way in self.under_way:
            try:
                swap_under_way()
            except (SwapRefused, SwapUnanswered):
                continue
        self.under_way.clear()

    def delayed(self, do: Swap) -> HeadToken:
        self.under_way.append(do)
        raise UNANSWERED

    def step(self, word: str) -> Callable[[Swap], HeadToken]:
        return {
            "lands": lands,
            "lands, 412": lands_and_says(REFUSED),
            "lands, no answer": lands_and_says(UNANSWERED),
            "409": says(REFUSED),
            "lost request": says(UNANSWERED),
            "delayed": self.delayed,
            "unavailable": says(UNAVAILABLE),
            "publish": after(self.publish),
            "pin": after(self.pin),
            "arrives, then publish": after(self.deliver, after(self.publish)),
            "lands, publish, 412": self._lands_then(self.publish, REFUSED),
            "lands, pin, no answer": self._lands_then(self.pin, UNANSWERED),
        }[word]

    def _lands_then(self, action: Callable[[], None], problem: Exception) -> Callable[[Swap], HeadToken]:
        def step(do: Swap) -> HeadToken:
            do()
            action()
            action()
            raise problem

        return step

    def in_history(self, ref: ManifestRef) -> bool:
        at: ManifestRef | None = now(self).manifest
        while at is not None and at != ref:
            at = self.parents[at]
        return at == ref


WORDS = [
    "lands",
    "lands, 412",
    "lands, no answer",
    "409",
    "lost request",
    "delayed",
    "unavailable",
    "publish",
    "pin",
    "arrives, then publish",
    "lands, publish, 412",
    "lands, pin, no answer",
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=5), st.lists(st.booleans(), max_size=3))
def test_an_outcome_is_the_truth(tmp_path_factory: pytest.TempPathFactory, words: list[str], reads: list[bool]) -> None:
    """C14, L6: in any schedule, what landed is in the history, and what was lost never gets there, however late."""
    chronicle = Chronicle(DirectoryStore(tmp_path_factory.mktemp("store")))
    put(chronicle, head_spec(1))
    seen = read_head(chronicle, COLLECTION)
    chronicle.parents[ours().manifest] = manifest_ref(1)
    chronicle.swaps = [chronicle.step(word) for word in words]
    chronicle.reads = [UNAVAILABLE if fails else None for fails in reads]

    try:
        outcome = swap(chronicle, ours(), seen, parent_of=chronicle.parents.__getitem__)
    except StoreUnavailable:
        outcome = None  # nothing was sent
    chronicle.deliver()

    match outcome:
        case Landed():
            assert chronicle.in_history(ours().manifest)
        case Lost() | None:
            assert not chronicle.in_history(ours().manifest)
