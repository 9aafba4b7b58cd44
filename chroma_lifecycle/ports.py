"""What the inside asks of the outside; each Protocol states the contract that its tests check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol

HeadToken = NewType("HeadToken", str)
"""What a store knows one HEAD by (S3: the ETag; a directory: the serial and the bytes). Not a digest."""

HEAD_LIMIT_BYTES = 1 << 20
"""No HEAD is longer: room for some 3,000 pins."""

PAST_HEADS = 16
"""How many of the HEADs that were are looked at."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One row of a listing."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class StoredHead:
    """HEAD as a store holds it: its bytes, and the token that a swap expects."""

    body: bytes
    token: HeadToken


class SwapRefused(Exception):
    """HEAD was not what the swap expected when the store looked (412, 409, or the name exists).

    It decides nothing: a retry below us may have landed our own write first.
    """


class SwapUnanswered(Exception):
    """The store did not say how a swap ended; it may land later."""


class Store(Protocol):
    """Where versions live: S3 or a mounted directory, with the same layout.

    Names are relative, with ``/``, and come from :class:`chroma_lifecycle.snapshot.names.Names`.
    Objects are immutable; HEAD alone is replaced. Every method may raise ``StoreUnavailable``.
    """

    @property
    def address(self) -> str:
        """Where this is, for messages to people."""
        ...

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        """Return the object.

        Raises:
            ObjectMissing: There is none of this name.
            Corrupt: It is longer than *limit_bytes*.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Store the object so that it outlives a crash; the same again is harmless."""
        ...

    def present(self, names: Collection[str]) -> frozenset[str]:
        """Return those of *names* that are stored."""
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose name begins with *prefix*, in order of name."""
        ...

    def delete(self, names: Collection[str]) -> None:
        """Remove the objects; one that is not there is no error."""
        ...

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every version of every object whose name begins with *prefix*, with what deletes left of it.

        Beside what :meth:`list` yields: older versions that the store keeps, and files that were not finished.
        """
        ...

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        """Remove those of :meth:`remains` that are *condemned*, so that no version of them is left; return them."""
        ...

    def now(self) -> datetime:
        """Return the store's own time."""
        ...

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        """Return the newest HEAD, or ``None`` where there is none.

        Of S3, a key that is forbidden must raise and never look missing.

        Args:
            collection: Whose.
            known: What was read before. If HEAD is still that one, it is returned itself, and a store
                that can tell without sending the bytes again does not send them.

        Raises:
            Corrupt: It is longer than ``HEAD_LIMIT_BYTES``.
        """
        ...

    def past_heads(self, collection: str) -> Iterator[bytes]:
        """Yield the bytes of HEADs that the store still has, the newest first: for `recover` alone.

        The one that is HEAD now, damaged or not, is among them. At most ``PAST_HEADS``.
        """
        ...

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        """Replace the HEAD known as *expected* by *body*; ``None`` creates where there is none.

        Raises:
            SwapRefused: HEAD is (or just became) another one.
            SwapUnanswered: No answer, or an answer that decides nothing.
        """
        ...
