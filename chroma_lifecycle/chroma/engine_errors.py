"""Chroma's errors, told as ours, in one place.

Texts of Chroma's engine are passed on; those of its Python checks are not, since they quote the
values that they refuse, and documents and metadata must not reach a log.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chromadb.errors import (
    BatchSizeExceededError,
    ChromaError,
    DuplicateIDError,
    IDAlreadyExistsError,
    InvalidArgumentError,
    InvalidDimensionException,
    NotFoundError,
)

from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoRoom, NotOwned

_REFUSED = (
    BatchSizeExceededError,
    DuplicateIDError,
    IDAlreadyExistsError,
    InvalidArgumentError,
    InvalidDimensionException,
    NotFoundError,
)
# 13: full; 778: a write was refused, by a quota or a limit on file sizes.
_NO_ROOM = re.compile(r"disk is full|No space left|code: 13\b|code: 778\b|os error 2[78]\b", re.IGNORECASE)
# A text quotes whole vectors.
_MOST_OF_A_TEXT = 300
# The engine often says what it was doing and not why; with so little left, that is why.
_LITTLE_BYTES = 16 << 20
_NOT_OURS = re.compile(r"readonly database|database is locked|code: 5\b|code: 8\b|code: 1032\b", re.IGNORECASE)


@contextmanager
def chroma_errors(what: str, directory: Path, *, asked: bool = False) -> Iterator[None]:
    """Tell what Chroma raises inside, working on *directory*, as an error of ours about *what*.

    Args:
        asked: Whether what Chroma is given are the arguments of who called us, who may be told what they were.

    Raises:
        BadInput: Chroma refused the data, or the arguments.
        NoRoom: The disk is full.
        NotOwned: The database is locked, read-only, or was moved away beneath the client.
        Corrupt: Anything else that its engine says, its panics included.
    """
    hint = "correct the arguments of the call" if asked else "mend the data; a retry cannot help"
    try:
        yield
    except _REFUSED as problem:
        raise BadInput(f"{what}: Chroma refused it: {problem}", hint=hint) from problem
    except ChromaError as problem:
        raise _of_engine(what, str(problem), directory) from problem
    except AttributeError as problem:
        if "bindings" not in str(problem):
            raise
        raise NotOwned(
            f"{what}: the client was ended beneath its user",
            hint="another client of the same path was closed in this process; let one client own a directory",
        ) from problem
    except (ValueError, TypeError, OverflowError) as problem:
        kind = type(problem).__name__
        why = f"({kind}; its text is left out, since it quotes the data)"
        if asked:
            why = f"({kind}): {textwrap.shorten(str(problem), _MOST_OF_A_TEXT, placeholder=' ...')}"
        raise BadInput(f"{what}: Chroma refused it {why}", hint=hint) from None
    except BaseException as problem:
        if is_panic(problem):
            raise _of_engine(what, str(problem), directory) from problem
        raise


def is_panic(problem: BaseException) -> bool:
    """Return whether *problem* is a panic of Chroma's engine: a BaseException that cannot be imported."""
    return type(problem).__name__ == "PanicException" and type(problem).__module__ == "pyo3_runtime"


def _of_engine(what: str, text: str, directory: Path) -> LifecycleError:
    if _NO_ROOM.search(text):
        return _no_room(what, text, directory)
    if _NOT_OURS.search(text) or not directory.exists():
        return NotOwned(
            f"{what}: {text}",
            hint="another holder has the directory, or it was removed or made read-only beneath the client; "
            "throw this copy away and restore",
        )
    if shutil.disk_usage(directory).free < _LITTLE_BYTES:
        return _no_room(what, text, directory)
    return Corrupt(f"{what}: {text}", hint="throw this copy away and restore the last sound version")


def _no_room(what: str, text: str, directory: Path) -> NoRoom:
    free = f"; {shutil.disk_usage(directory).free:,} bytes are free" if directory.exists() else ""
    return NoRoom(f"{what}: {text}{free}", hint=f"make room on the disk that holds {directory}, then run again")
