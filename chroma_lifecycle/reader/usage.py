"""Wrong uses of a reader, refused before anything begins."""

from __future__ import annotations

import os

from chroma_lifecycle.errors import BadInput, NotOwned
from chroma_lifecycle.values import parse_collection


def parse_name(collection: str) -> str:
    """Return *collection* as the name of one.

    Raises:
        BadInput: No collection can have it.
    """
    try:
        return parse_collection(collection)
    except ValueError as problem:
        raise BadInput(f"the collection: {problem}", hint="correct the name") from problem


def require_process(name: str, made_in: int) -> None:
    """Refuse a reader of *name* that a fork brought here: neither Chroma nor a thread survives one.

    Raises:
        NotOwned: It was made in another process than this one.
    """
    if os.getpid() != made_in:
        raise NotOwned(
            f"this reader of {name} was made in process {made_in}, and this is {os.getpid()}",
            hint="make a reader in each worker, after the fork: Chroma does not survive one",
        )


def require_interval(check_seconds: float | None) -> float | None:
    """Refuse what is no time between two looks at HEAD.

    Raises:
        BadInput: It is below 0, or no number.
    """
    if check_seconds is not None and not check_seconds >= 0:
        raise BadInput(
            f"check_seconds is {check_seconds}",
            hint="give the seconds between two looks at HEAD, 0 to look each time, or None to look by refresh() alone",
        )
    return check_seconds
