"""Seeing for oneself that a store compares before it writes; some that speak S3's protocol only say so."""

from __future__ import annotations

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.ports import HeadToken, Store, SwapRefused, SwapUnanswered
from chroma_lifecycle.snapshot.names import Names

_FIRST, _SECOND = b"first", b"second"


def compares_before_it_writes(store: Store) -> bool:
    """Return whether *store* refuses a second beginning, and the token of a HEAD that was replaced.

    A HEAD is written below a name that no collection has, and erased again.

    Raises:
        BadInput: The store says itself that it has no conditional writes.
        StoreUnavailable: It did not answer, or does not allow to write or to delete.
    """
    name = f"doctor-{new_id()}"
    try:
        token = _ours(store, _swapped(store, name, _FIRST, 1, None))
        if _swapped(store, name, _SECOND, 1, None) is not None:
            return False
        _ours(store, _swapped(store, name, _SECOND, 2, token))
        return _swapped(store, name, _FIRST, 2, token) is None
    finally:
        store.erase(Names(name).everything, lambda _: True)


def _swapped(store: Store, name: str, body: bytes, serial: int, expected: HeadToken | None) -> HeadToken | None:
    try:
        return store.swap_head(name, body, serial=serial, expected=expected)
    except SwapRefused:
        return None
    except SwapUnanswered as problem:
        raise StoreUnavailable(
            f"{store.address} did not say how a swap ended: {problem}", hint="run the command again"
        ) from problem


def _ours(store: Store, token: HeadToken | None) -> HeadToken:
    """Return the token of a swap that nobody can have been before; a retry below us can have landed it first."""
    if token is None:
        raise StoreUnavailable(
            f"a swap of a HEAD that nobody else knows was refused in {store.address}", hint="run the command again"
        )
    return token
