"""Every error that this library raises, grouped by what the caller does next.

::

    LifecycleError
    |-- Retryable            run the same batch again
    |   |-- HeadMoved        ... HEAD was moved by another writer, attempts or time ran out
    |   |-- StoreUnavailable ... the store did not answer, or answered with a fault of its own
    |   |-- ObjectMissing    ... an object is gone: read HEAD again and plan again
    |   |-- NoTime           ... the deadline is too near for the next step
    |   `-- NoRoom           ... after making room on the disk that is named
    |-- OutcomeUnknown       read HEAD before anything else; delete nothing
    |-- BadInput             mend this message, delta, mapping or setting; a retry cannot help
    |   `-- Sharded          ... the collection is in shards: ask each of them
    |-- NotInitialised       there is no HEAD: run init, or recover one that was deleted
    |-- NotOwned             stop: somebody else has the directory
    |   `-- NotClosed        ... it is still open after the client was closed
    |-- Corrupt              stop: restore the last sound version
    `-- Defect               nobody foresaw it: report it; the same batch comes again

Each carries a hint: the command, setting or action that is the way out.
The hint is part of ``str(error)``, so that it is seen wherever the error is printed.
"""

from __future__ import annotations

PAST_DAMAGE = (
    "`chroma-lifecycle verify --all` names all damage; `chroma-lifecycle recover --mirror DIRECTORY` mends it from a "
    "mirror, and without one says what can be done; `chroma-lifecycle restore --fallback` goes past it"
)
"""The way out where a store has not what was published."""

GONE = f"run the same again: it may have been swept meanwhile; if it stays, {PAST_DAMAGE}"
"""The way out where it has an object no more."""


class LifecycleError(Exception):
    """An error with a way out.

    Attributes:
        message: What happened, and to which object.
        hint: What to do next.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are rebuilt from positional arguments; `hint` is a keyword, and
        # errors cross process boundaries (deltas are read in a child).
        return _rebuild, (type(self), self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})"


def _rebuild(kind: type[LifecycleError], message: str, hint: str) -> LifecycleError:
    return kind(message, hint=hint)


class Retryable(LifecycleError):
    """The same batch can succeed when it is run again."""


class HeadMoved(Retryable):
    """Other writers moved HEAD each time that we tried to."""


class StoreUnavailable(Retryable):
    """A store did not answer, or answered with a fault of its own."""


class ObjectMissing(Retryable):
    """A named object is not in its store; a version may have been swept meanwhile."""


class NoTime(Retryable):
    """The deadline is too near for the step that comes next."""


class NoRoom(Retryable):
    """A disk lacks the space that a step needs."""


class OutcomeUnknown(LifecycleError):
    """A swap of HEAD may or may not have landed; what was uploaded must stay."""


class BadInput(LifecycleError):
    """A message, delta, mapping or setting that cannot succeed as it is."""


class Sharded(BadInput):
    """A collection is in shards, and what was asked works on one lineage alone."""


class NotInitialised(LifecycleError):
    """A collection has no HEAD in its store."""


class NotOwned(LifecycleError):
    """Another client or process has the directory."""


class NotClosed(NotOwned):
    """Files below a directory are still open after its client was closed."""


class Corrupt(LifecycleError):
    """Stored or local bytes are not what was published."""


class Defect(LifecycleError):
    """An exception that nobody foresaw, of which only the kind and the place are told: a defect of this library."""
