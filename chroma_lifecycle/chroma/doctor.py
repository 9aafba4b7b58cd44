"""What would stop a safe copy of a Chroma directory, in plain sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from chroma_lifecycle.chroma.ownership import Owner, owner_of, record_path
from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.snapshot import descriptors, soundness
from chroma_lifecycle.snapshot.descriptors import Descriptor
from chroma_lifecycle.snapshot.sqlite_file import MAGIC

_DELETED = " (deleted)"
_DEPTHS = "*/", "*/*/", "*/*/*/"
"""How far below a directory others are looked for: in a workspace, each collection's copy is three below it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        subject: The directory or process that was looked at.
        safe: Whether the directory can be copied, moved or deleted now; of a process, whether it
            has no Chroma directory open.
        findings: What is the case, a sentence each.
        advice: What to do, a sentence each; empty if there is nothing to do.
        owner: Who owns the directory, if it was opened by this library.
        holders: Every open descriptor below it.
    """

    subject: str
    safe: bool
    findings: tuple[str, ...]
    advice: tuple[str, ...] = ()
    owner: Owner | None = None
    holders: tuple[Descriptor, ...] = ()


def diagnose(subject: Path | int) -> Diagnosis:
    """Say who has a directory open and whether it is whole, or what a process has open."""
    return _diagnose_process(subject) if isinstance(subject, int) else _diagnose_directory(subject)


def _diagnose_directory(directory: Path) -> Diagnosis:
    holders = (*descriptors.below(directory), *descriptors.below_by_others(directory))
    owner = owner_of(directory)
    if holders or owner:
        findings = [f"It is owned by {owner}."] if owner else []
        findings += _holder_sentences(holders)
        advice = [
            "Do not copy it now: a copy taken while a client writes can be torn without looking so.",
            "Let its holder close it with chroma_lifecycle.close_client, or end the process.",
        ]
        return Diagnosis(str(directory), False, tuple(findings), tuple(advice), owner, holders)
    _require_chroma(directory)
    findings = ["Nobody has a file of it open, as far as this user may look.", *_stale_sentences(directory)]
    try:
        found = soundness.examine(directory)
    except LifecycleError as problem:
        return Diagnosis(str(directory), False, (*findings, f"{problem.message}."), (f"{_sentence(problem.hint)}",))
    return Diagnosis(str(directory), True, (*findings, *_state_sentences(found), "It can be copied now."))


def _require_chroma(directory: Path) -> None:
    """Refuse a directory above those of Chroma: a workspace, a store.

    Raises:
        BadInput: It is one; the hint names what can be examined.
    """
    if (directory / soundness.DATABASE).exists():
        return
    found = [path for depth in _DEPTHS for path in directory.glob(f"{depth}{soundness.DATABASE}")]
    if below := sorted(str(path.parent) for path in found if _is_sqlite(path)):
        more = f", or one of {len(below) - 1:,} others below it" if below[1:] else ""
        raise BadInput(f"{directory} is no Chroma directory", hint=f"name {below[0]}{more}")
    if next(directory.glob("*/HEAD"), None) is not None:
        raise BadInput(
            f"{directory} is a store, and no Chroma directory", hint=f"`chroma-lifecycle doctor --store {directory}`"
        )


def _is_sqlite(path: Path) -> bool:
    """Return whether it is a database; a workspace has digests of leaves under the same name."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _holder_sentences(holders: Sequence[Descriptor]) -> Iterator[str]:
    for pid in sorted({held.pid for held in holders}):
        files = sorted({held.path for held in holders if held.pid == pid})
        who = "This process" if pid == os.getpid() else f"Process {pid} ({_name(pid)})"
        yield f"{who} has {len(files)} of its files open: {', '.join(files)}."


def _stale_sentences(directory: Path) -> Iterator[str]:
    record = record_path(directory.resolve())
    if record.exists() and (owner := Owner.parse(record.read_bytes())):
        yield f"Its last owner ended without closing it: {owner}. The next opening replaces the record {record}."


def _state_sentences(found: soundness.Soundness) -> Iterator[str]:
    yield "Its files fit each other (light check: headers, sizes, structure; not every page)."
    for state in found.collections:
        yield (
            f"Collection {state.name}: {state.dimension or 'no'} dimensions, {state.flushed} vectors in the HNSW "
            f"files, {state.tail} vector operations only in the write-ahead queue, which every reader replays."
        )


def _diagnose_process(pid: int) -> Diagnosis:
    subject = f"process {pid}"
    if not psutil.pid_exists(pid):
        return Diagnosis(subject, True, (f"There is no process {pid} on this machine.",))
    held = descriptors.regular_files(pid)
    if not held and not _may_look_at(pid):
        advice = "Run this as the user that runs the process, or as root."
        return Diagnosis(subject, False, (f"The open files of process {pid} may not be looked at.",), (advice,))
    homes = sorted({_home(file) for file in held if Path(file.path.removesuffix(_DELETED)).name == soundness.DATABASE})
    if not homes:
        return Diagnosis(subject, True, (f"Process {pid} ({_name(pid)}) has no Chroma directory open.",))
    findings = tuple(f"Process {pid} ({_name(pid)}) has {home} open." for home in homes)
    advice = "Copy none of them before it has closed them: run this again with the directory to see when."
    return Diagnosis(subject, False, findings, (advice,), holders=held)


def _home(file: Descriptor) -> str:
    if file.path.endswith(_DELETED):
        return f"{Path(file.path.removesuffix(_DELETED)).parent} (removed since)"
    return str(Path(file.path).parent)


def _may_look_at(pid: int) -> bool:
    try:
        psutil.Process(pid).open_files()
    except psutil.Error:
        return False
    return True


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "ended since"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
