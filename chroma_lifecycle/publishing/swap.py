"""Moving HEAD: the one visible step, and the three ways in which it ends.

The SDK retries below us and networks lose answers, so what a store says about a swap decides
nothing unless it says that it landed. After a refusal, or no answer, HEAD is read::

    HEAD is still the one expected             send the same bytes again, a few times; then UNKNOWN,
                                               because they may land later
    HEAD, or an ancestor not older than our
    version, has our write id                  LANDED (others may have published on top of it)
    every such ancestor was read, none has it  LOST
    HEAD or an ancestor cannot be read         UNKNOWN

Lost and unknown delete nothing: what was uploaded may be in use already, or soon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from chroma_lifecycle.clock import Deadline, new_id, wait_until
from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt, HeadMoved, LifecycleError, OutcomeUnknown
from chroma_lifecycle.ports import Store, StoredHead, SwapRefused, SwapUnanswered
from chroma_lifecycle.publishing.head import Head, SeenHead, decode_head, encode_head, read_head
from chroma_lifecycle.snapshot.names import ManifestRef

ParentOf: TypeAlias = Callable[[ManifestRef], ManifestRef | None]
"""Reads a manifest and returns its parent, or ``None`` for the first version; raises a LifecycleError."""

# Seconds in which a swap without an answer may still land before the same bytes are sent again.
# The SDK has waited between its own retries already; 409 asks for no more than a moment.
_PAUSES_SECONDS = (0.05, 0.2, 0.8, 0.8)
_AMENDMENTS = 10


@dataclass(frozen=True, slots=True)
class Landed:
    """Our HEAD was taken. *newest* is that HEAD, or one that followed it."""

    newest: SeenHead


@dataclass(frozen=True, slots=True)
class Lost:
    """Another HEAD was taken, and ours never will be. *newest* is the HEAD that was found."""

    newest: SeenHead


@dataclass(frozen=True, slots=True)
class Unknown:
    """Ours may have been taken, or may still be."""

    reason: str


Outcome: TypeAlias = Landed | Lost | Unknown


def swap(
    store: Store,
    new: Head,
    expected: SeenHead | StoredHead | None,
    *,
    parent_of: ParentOf | None,
    deadline: Deadline | None = None,
) -> Outcome:
    """Replace the HEAD *expected* by *new*, and say with certainty how that ended, or that nobody can.

    Args:
        store: Where HEAD is.
        new: The HEAD to be, with a swap id of its own and a higher serial.
        expected: The HEAD that *new* was made from; ``None`` where there is none: for `init`,
            `recover` and a copy into an empty place alone; as it is stored where it is damaged:
            for `recover` alone.
        parent_of: Walks the ancestry, in which *new* is known by its write id. ``None`` for a
            swap that publishes nothing (a pin, an expiry, a fence, a mirror's HEAD): it is known
            by its swap id, as long as it is the newest; when it is lost it is simply done again.
        deadline: After it nothing is sent again.

    Raises:
        BadInput: The store has moved to another address; or it can only be a mirror.
        StoreUnavailable, NoRoom: Nothing was sent.
    """
    if isinstance(expected, SeenHead):
        expected.head.require_here()
        if new.serial <= expected.head.serial:
            raise ValueError(f"serial {new.serial} does not follow {expected.head.serial}")
    return _Swap(store, new, expected, parent_of, deadline or Deadline()).run()


@dataclass(frozen=True, slots=True)
class _Swap:
    store: Store
    new: Head
    expected: SeenHead | StoredHead | None
    parent_of: ParentOf | None
    deadline: Deadline

    def run(self) -> Outcome:
        body = encode_head(self.new)
        token = self.expected.token if self.expected else None
        problem: Exception | None = None
        for pause_seconds in _PAUSES_SECONDS:
            if problem and not self.deadline.remaining_seconds():
                break
            try:
                landed = self.store.swap_head(self.new.collection, body, serial=self.new.serial, expected=token)
                return Landed(SeenHead(self.new, landed))
            except (SwapRefused, SwapUnanswered) as answer:
                problem = answer
            except LifecycleError as failure:
                if problem is None:
                    raise  # nothing was sent, now or before
                problem = failure
            if verdict := self._judge_for(pause_seconds):
                return verdict
        return Unknown(
            f"the swap of HEAD of {self.new.collection} in {self.store.address} has no outcome yet: {problem}"
        )

    def _judge_for(self, seconds: float) -> Outcome | None:
        """Read HEAD now and, while it is the one expected, once more after a while."""
        verdicts: list[Outcome | None] = []

        def decided() -> bool:
            verdicts.append(self._judge())
            return verdicts[-1] is not None

        timeout_seconds = min(seconds, self.deadline.remaining_seconds())
        wait_until(decided, timeout_seconds=timeout_seconds, poll_seconds=timeout_seconds)
        return verdicts[-1]

    def _judge(self) -> Outcome | None:
        """Return how the swap ended as far as HEAD and its ancestry tell; ``None`` while HEAD is the one expected."""
        try:
            stored = self.store.read_head(self.new.collection)
            if (stored and stored.token) == (self.expected and self.expected.token):
                return None
            if stored is None:
                return Unknown(f"HEAD of {self.new.collection} is missing from {self.store.address}")
            seen = SeenHead(decode_head(stored.body, self.new.collection), stored.token)
            return Landed(seen) if self._is_ours(seen.head) else Lost(seen)
        except LifecycleError as problem:
            return Unknown(f"how the swap ended cannot be read: {problem.message}")

    def _is_ours(self, head: Head) -> bool:
        if self.parent_of is None:
            return head.swap_id == self.new.swap_id
        ref: ManifestRef | None = head.manifest
        while ref is not None and ref.version > self.new.version:
            ref = _older(ref, self.parent_of)
        return ref is not None and ref.write_id == self.new.write_id


def _older(ref: ManifestRef, parent_of: ParentOf) -> ManifestRef | None:
    """Return the parent, after checking that it is older: hostile manifests could name each other."""
    parent = parent_of(ref)
    if parent is not None and parent.version >= ref.version:
        raise Corrupt(f"{ref.name} names a parent that is not older", hint=PAST_DAMAGE)
    return parent


def require_landed(outcome: Outcome) -> SeenHead:
    """Return the newest HEAD after a swap that landed.

    Raises:
        HeadMoved: It was lost.
        OutcomeUnknown: Nobody can say.
    """
    match outcome:
        case Landed(newest):
            return newest
        case Lost(newest):
            raise HeadMoved(
                f"HEAD of {newest.head.collection} was moved to version {newest.head.version.number} "
                f"by {newest.head.writer}",
                hint="run the same again: it starts from the new HEAD",
            )
        case Unknown(reason):
            raise OutcomeUnknown(
                reason, hint="delete nothing; run the same again: what landed is found and not repeated"
            )


def amend_head(store: Store, collection: str, amend: Callable[[Head], Head | None], *, writer: str) -> SeenHead:
    """Change what HEAD decides without publishing a version: a pin, an expiry, a fence.

    Args:
        store: Where HEAD is.
        collection: Whose HEAD.
        amend: Returns the HEAD with its change, or ``None`` if there is nothing to change; it is
            asked again with each newer HEAD that others made meanwhile.
        writer: Who does it, for people.

    Raises:
        HeadMoved: Others were quicker each time.
        OutcomeUnknown: The change may or may not have been made; doing it again is harmless.
    """
    outcome: Outcome | None = None
    for _ in range(_AMENDMENTS):
        seen = read_head(store, collection)
        amended = amend(seen.head)
        if amended is None:
            return seen
        new = amended.next(swap_id=new_id(), written_at=store.now(), writer=writer)
        outcome = swap(store, new, seen, parent_of=None)
        if not isinstance(outcome, Lost):
            break
    assert outcome is not None
    return require_landed(outcome)
