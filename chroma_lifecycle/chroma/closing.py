"""How to close a Chroma client safely: end it, then prove that it let go.

Copying, uploading or deleting a Chroma directory is safe when nobody has it open, and Chroma does
not tell when that is: on released versions descriptors stay open for some milliseconds after the
client's end, and with a second client of the path ``close()`` releases nothing at all. This module
uses what a version offers to end a client, then looks at the descriptors of the process until
none is left, and raises if one is. ``docs/closing.md`` has the measurements.

::

    from chroma_lifecycle.chroma.closing import close_client

    client = chromadb.PersistentClient("/data/words")
    ...
    close_client(client)  # raises NotClosed if anything still has the directory open
    shutil.copytree("/data/words", "/backup/words")
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.systems import System
from chroma_lifecycle.clock import SYSTEM_CLOCK, wait_until
from chroma_lifecycle.errors import BadInput, NotClosed
from chroma_lifecycle.logs import Log
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import Descriptor, below, below_by_others, listing
from chroma_lifecycle.snapshot.soundness import Soundness

log = Log(__name__)

_HOLDING_ATTRIBUTES = ("_client", "client", "_chroma_client", "chroma_client")
_DEEPEST_WRAPPER = 4

_ended: weakref.WeakSet[object] = weakref.WeakSet()
"""Clients that were closed here: before 1.5.2 a client does not know it itself."""


class Way(StrEnum):
    """How a client was ended."""

    NOTHING = "nothing to close"
    AGAIN = "closed already"
    SYNCHRONOUS = "synchronous shutdown"
    CLOSE = "close()"
    STOP = "its system stopped and evicted"
    CLOSE_AND_STOP = "close(), then its system stopped and evicted"
    SESSION = "connections to the server closed"
    EVICTED = "taken out of Chroma's cache"


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What a close did and found.

    Attributes:
        client_type: Class of what was passed.
        way: How the client was ended.
        proven: Whether the directory was found closed. Never true where there is no directory:
            in-memory, HTTP and cloud clients; ``note`` says what that means.
        directory: Where the client kept its data.
        descriptors_before: Open below the directory when the close began.
        descriptors_after: Open when it ended: none, or an error was raised.
        soundness: What the light checks found; ``None`` if there is no directory (any more).
        seconds: How long it took, the waiting for descriptors included.
        note: What else the caller should know.
    """

    client_type: str
    way: Way
    proven: bool
    collection: str | None = None
    directory: Path | None = None
    descriptors_before: tuple[Descriptor, ...] = ()
    descriptors_after: tuple[Descriptor, ...] = ()
    soundness: Soundness | None = None
    seconds: float = 0.0
    note: str = ""


@runtime_checkable
class HoldsClient(Protocol):
    """A wrapper that says which Chroma client it holds."""

    def chroma_client(self) -> object:
        """Return the client, or ``None`` if it holds none any more."""
        ...


@runtime_checkable
class ClosesItself(Protocol):
    """A client that closes itself with proof, as ``ManagedClient`` does."""

    def close_proven(self, *, timeout_seconds: float) -> CloseReport:
        """Close and prove it."""
        ...


def close_client(client: object, collection_name: str | None = None, *, timeout_seconds: float = 5.0) -> CloseReport:
    """Close any Chroma client and prove that its directory is closed and whole.

    A second call ends nothing and says so; it proves the directory again.

    Args:
        client: ``None``, a client of chromadb, a ``ManagedClient``, or what holds one: in an
            attribute (``_client``, ``client``, ...) or by the protocol ``HoldsClient``.
        collection_name: For the report and the log line.
        timeout_seconds: How long descriptors may take to go.

    Raises:
        NotClosed: The directory is still open; the error lists by what. The client is ended all
            the same: close the other holder, then call this again for the proof.
        Corrupt: It is closed, and a file is missing, cut off, or does not fit the others.
        BadInput: *client* neither is nor holds a client of Chroma.
    """
    if isinstance(client, ClosesItself):
        return client.close_proven(timeout_seconds=timeout_seconds)
    held = find_client(client)
    if held is None:
        report = CloseReport(type(client).__name__, Way.NOTHING, proven=False)
    else:
        report = end_and_prove(held, timeout_seconds=timeout_seconds)
    report = replace(report, client_type=type(client).__name__, collection=collection_name)
    log_close(report)
    return report


def find_client(holder: object) -> Any:
    """Return the client of chromadb that *holder* is or holds; ``None`` if it holds none (any more).

    Raises:
        BadInput: It is nothing of the kind.
    """
    candidate = holder
    for _ in range(_DEEPEST_WRAPPER):
        if candidate is None or systems.is_client(candidate):
            return candidate
        if isinstance(candidate, HoldsClient):
            candidate = candidate.chroma_client()
            continue
        attributes = [name for name in _HOLDING_ATTRIBUTES if hasattr(candidate, name)]
        if not attributes:
            break
        candidate = getattr(candidate, attributes[0])
    raise BadInput(
        f"a {type(holder).__name__} is no Chroma client and holds none that can be found",
        hint="pass the client itself, or give the wrapper a method chroma_client() that returns it",
    )


def end_and_prove(client: Any, *, timeout_seconds: float, everywhere: bool = True) -> CloseReport:
    """End a client of chromadb and prove that its directory is closed and whole (see ``close_client``).

    Args:
        everywhere: Look at every other process too; who goes on to seal the directory need not, since the seal does.
    """
    began = SYSTEM_CLOCK.monotonic()
    system = systems.system_of(client)
    directory = systems.directory_of(system)
    if directory is None:
        return replace(_end_without_directory(client, system), seconds=SYSTEM_CLOCK.monotonic() - began)
    _require_findable(system, directory)
    directory = directory.resolve()
    # 1. End the client; 2. wait until the process let go; 3. look at what it left.
    before = below(directory)
    way = _end(client, system)
    _prove_closed(system, directory, timeout_seconds, everywhere=everywhere)
    found = soundness.examine(directory) if soundness.is_chroma_directory(directory) else None
    return CloseReport(
        client_type=type(client).__name__,
        way=way,
        proven=True,
        directory=directory,
        descriptors_before=before,
        soundness=found,
        seconds=SYSTEM_CLOCK.monotonic() - began,
        note="" if found else "the directory holds no database any more: it was removed beneath the client",
    )


def _require_findable(system: System, directory: Path) -> None:
    """Refuse a client whose relative path means another place by now: nothing could be proven."""
    if systems.is_running(system) and not directory.is_absolute() and not soundness.is_chroma_directory(directory):
        raise BadInput(
            f"the client was opened on the relative path {directory}, where there is no database: the process "
            "has changed its working directory since",
            hint="open clients by absolute paths; to close this one, change back first",
        )


def _end(client: Any, system: System) -> Way:
    """End *client*, and its system unless another client lives on it.

    Its system is the one that it was made with: its own lookup by path may find a stranger's,
    which ``close()`` would then release.
    """
    again = client in _ended or getattr(client, "_closed", False)
    _ended.add(client)
    if not systems.is_running(system):
        _mark_closed(client)
        systems.evict(system)
        return Way.AGAIN if again else Way.STOP
    synchronous = systems.has_synchronous_shutdown(system)
    closes = not again and hasattr(client, "close") and systems.is_cached(system)
    if closes:
        client.close()
    else:
        _mark_closed(client)
    stops = systems.is_running(system) and not systems.other_clients(system, besides=tuple(_ended))
    if stops:
        systems.stop(system)
    if synchronous:
        return Way.SYNCHRONOUS
    return (Way.CLOSE_AND_STOP if stops else Way.CLOSE) if closes else (Way.STOP if stops else Way.NOTHING)


def _mark_closed(client: Any) -> None:
    """Keep a later ``close()``, of a ``with`` block for instance, from ending whoever has the path by then."""
    if hasattr(client, "_closed"):
        client._closed = True  # noqa: SLF001


def _prove_closed(system: System, directory: Path, timeout_seconds: float, *, everywhere: bool) -> None:
    """Wait until nothing below *directory* is open; while another client lives, do not even wait."""
    living = [other for other in systems.on_directory(directory) if systems.is_running(other)]
    if systems.is_running(system) and system not in living:
        living.append(system)
    if not living:
        wait_until(lambda: not below(directory), timeout_seconds=timeout_seconds)
    held = (*below(directory), *(below_by_others(directory) if everywhere else ()))
    if living or held:
        cause = "another client of this process has it open" if living else "files below it are open"
        raise NotClosed(
            f"{directory} is not closed: {cause}: {listing(held)}",
            hint="close the other holder, then close this client again for the proof; do not copy before",
        )


def _end_without_directory(client: Any, system: System) -> CloseReport:
    kind = type(client).__name__
    if not systems.is_local(system):
        return _end_remote(client, system)
    way = _end(client, system)
    note = "an in-memory client: there is no directory, and its data are gone"
    if systems.is_running(system):
        note = "an in-memory client: its data stay while another in-memory client of the process lives"
    return CloseReport(kind, way, proven=False, note=note)


def _end_remote(client: Any, system: System) -> CloseReport:
    kind = type(client).__name__
    again = client in _ended
    _ended.add(client)
    session = getattr(systems.server_of(system), "_session", None)
    systems.evict(system)
    if session is None:
        note = "an asynchronous client of a server: only its own event loop can close its connections"
        return CloseReport(kind, Way.AGAIN if again else Way.EVICTED, proven=False, note=note)
    session.close()
    note = "a client of a server: what the server has open is not known here"
    return CloseReport(kind, Way.AGAIN if again else Way.SESSION, proven=False, note=note)


def log_close(report: CloseReport) -> None:
    """Write the one line about a close."""
    log.info(
        "client_closed",
        client=report.client_type,
        way=report.way.value,
        proven=report.proven,
        collection=report.collection,
        directory=str(report.directory) if report.directory else None,
        descriptors_before=len(report.descriptors_before),
        descriptors_after=len(report.descriptors_after),
        seconds=round(report.seconds, 4),
        note=report.note or None,
    )
