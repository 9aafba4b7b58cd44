"""The sealed snapshot: a working directory that is proven closed. Only this type can be published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from types import MappingProxyType

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import files_below, require_closed
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER, parse_path
from chroma_lifecycle.snapshot.soundness import Soundness

_AGAIN = "throw the workspace away; the next cycle restores it"


class _Proof:
    """Shows that ``seal`` did its work: nobody outside this module can have one."""


_PROOF = _Proof()


@dataclass(frozen=True, slots=True)
class SealedSnapshot:
    """A version's files, closed and checked. Made by ``seal`` and by nothing else.

    Attributes:
        root: The working directory that was proven closed.
        files: Path in the version to where its bytes lie: below the root, or below the
            pristine copy for what this cycle did not open.
        untouched: Those of ``files`` whose bytes are the pristine copy's.
        soundness: What the checks of the Chroma directory found.
    """

    root: Path
    files: Mapping[str, Path]
    untouched: frozenset[str]
    soundness: Soundness
    proof: InitVar[_Proof]

    def __post_init__(self, proof: _Proof) -> None:
        if proof is not _PROOF:
            raise TypeError("a SealedSnapshot is made by chroma_lifecycle.snapshot.sealed.seal only")


def seal(
    working: Path,
    *,
    pristine: Path | None = None,
    pristine_files: Collection[str] = (),
    timeout_seconds: float = 5.0,
    full: bool = False,
    records: int | None = None,
) -> SealedSnapshot:
    """Prove that *working* is closed and sound.

    Args:
        working: Holds ``chroma/`` and ``ledger.sqlite3``, or what of them this cycle opened.
        pristine: The copy as published, for what this cycle did not open.
        pristine_files: Paths in the version whose bytes are the pristine copy's.
        timeout_seconds: How long descriptors may take to go.
        full: Check every page too.
        records: How many Chroma must hold, as the ledger has it; counted if it is given.

    Raises:
        NotClosed: A file below is open, or a journal lies beside a database.
        Corrupt: A file is missing, cut off, foreign, or does not fit the others; or records are.
        BadInput: The directory is missing or empty.
    """
    # 1. Nobody has a file open; before that is known, none may be looked at.
    require_closed(working, timeout_seconds=timeout_seconds)
    if pristine is not None and pristine_files:
        require_closed(pristine, timeout_seconds=timeout_seconds)
    # 2. The files are those of a version, each from one place.
    files = _own_files(working)
    untouched = _untouched_files(pristine, pristine_files, files)
    files |= untouched
    # 3. They are whole.
    chroma = _home(f"{CHROMA}/{soundness.DATABASE}", files, working) / CHROMA
    found = soundness.examine(chroma, full=full)
    if records is not None:
        _require_records(chroma, records)
    soundness.check_database(_home(LEDGER, files, working) / LEDGER, full=full)
    return SealedSnapshot(working, MappingProxyType(files), frozenset(untouched), found, _PROOF)


def _require_records(chroma: Path, expected: int) -> None:
    if (found := soundness.count_records(chroma)) != expected:
        raise Corrupt(
            f"{chroma} holds {found} records, its ledger has {expected}",
            hint="the snapshot and its ledger disagree: restore the last sound version",
        )


def _own_files(working: Path) -> dict[str, Path]:
    files = {path.relative_to(working).as_posix(): path for path in files_below(working)}
    if not files:
        raise BadInput(
            f"{working} is missing or empty: there is nothing to publish",
            hint="restore the collection's newest version into it, or run init for a new collection",
        )
    for name, path in files.items():
        try:
            parse_path(name)
        except ValueError as problem:
            raise Corrupt(f"{path} is no part of a version: {problem}", hint=_AGAIN) from problem
    _require_regular(files)
    return files


def _untouched_files(pristine: Path | None, names: Collection[str], own: Mapping[str, Path]) -> dict[str, Path]:
    # Chroma's files are one thing: those of two states would not fit each other.
    parts = {name.partition("/")[0] for name in own}
    if both := sorted(name for name in names if name.partition("/")[0] in parts):
        raise Corrupt(
            f"{both[0]} would come from the pristine copy, but a part of it is in the working directory", hint=_AGAIN
        )
    there = {path.relative_to(pristine).as_posix() for path in files_below(pristine)} if pristine else set()
    # Of each part all files, so that what is examined is what is published.
    parts = {name.partition("/")[0] for name in names}
    wanted = {name for name in there if name.partition("/")[0] in parts}
    if unlike := sorted(wanted ^ set(names)):
        raise Corrupt(f"{unlike[0]} is in the pristine copy {pristine} or in the version, not in both", hint=_AGAIN)
    files = {name: (pristine or Path()) / name for name in names}
    _require_regular(files)
    return files


def _require_regular(files: Mapping[str, Path]) -> None:
    for path in files.values():
        if path.is_symlink() or not path.is_file():
            raise Corrupt(f"{path} is no regular file", hint=_AGAIN)


def _home(name: str, files: Mapping[str, Path], working: Path) -> Path:
    """Return the directory, working or pristine, that the version's file *name* is taken from."""
    return files.get(name, working / name).parents[name.count("/")]
