"""Chroma's shared systems: what holds a directory open, and the one place that reaches into it.

Every client of one path *as written* shares a system, kept in a cache of the class
``SharedSystemClient``. Chroma has no public way to look at that cache, to end a system in it, or to
ask who else uses one; before 1.5.2 it has no way to end a client at all. So this module uses the
parts of it that are the same from 1.3.3 to the newest release, and detects the others:

============================  ==========================================================
``client._server._system``    the system of a client; its lookup by path may find a stranger's
``system._running``           false once it was stopped
``server.bindings``           the engine; missing if the constructor failed or it was stopped
``_identifier_to_system``     the cache, by path as written
``_identifier_to_refcount``   from 1.5.2: how many clients were made, less those closed
============================  ==========================================================
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from chromadb.api.async_client import AsyncAdminClient, AsyncClient
from chromadb.api.client import AdminClient, Client
from chromadb.api.models.CollectionCommon import CollectionCommon
from chromadb.api.shared_system_client import SharedSystemClient

System = Any
"""``chromadb.config.System``; chromadb has no usable types."""

_inherited: weakref.WeakSet[System] = weakref.WeakSet()
"""The systems that were open when this process was forked from the one that opened them."""

_LOCAL = ("chromadb.api.rust.RustBindingsAPI", "chromadb.api.segment.SegmentAPI")


def is_client(candidate: object) -> bool:
    """Return whether *candidate* is one of Chroma's own clients, an admin client included."""
    return isinstance(candidate, Client | AdminClient | AsyncClient | AsyncAdminClient)


def is_collection(candidate: object) -> bool:
    """Return whether *candidate* is a collection as Chroma's clients hand them out."""
    return isinstance(candidate, CollectionCommon)


def system_of(client: Any) -> System:
    """Return the system that *client* was made with."""
    server = getattr(client, "_server", None)
    return client._system if server is None else server._system  # noqa: SLF001


def server_of(system: System) -> Any:
    """Return what answers the calls of a system's clients, or ``None`` if it was never made."""
    wanted = system.settings.chroma_api_impl.rpartition(".")[2]
    return next((part for part in system._instances.values() if type(part).__name__ == wanted), None)  # noqa: SLF001


def directory_of(system: System) -> Path | None:
    """Return the directory that a system keeps its data in, or ``None`` for memory and servers."""
    settings = system.settings
    return Path(settings.persist_directory) if settings.is_persistent and is_local(system) else None


def is_local(system: System) -> bool:
    """Return whether a system keeps its data itself, on disk or in memory, and asks no server."""
    return system.settings.chroma_api_impl in _LOCAL


def is_running(system: System) -> bool:
    """Return whether a system can answer: it was not stopped, and its constructor did not fail."""
    server = server_of(system)
    if server is None or not system._running:  # noqa: SLF001
        return False
    return not type(server).__name__.startswith("Rust") or hasattr(server, "bindings")


def is_inherited(system: System) -> bool:
    """Return whether a local system was brought here by a fork, its files open and its threads gone."""
    return is_local(system) and system in _inherited


def _inherit() -> None:
    _inherited.update(SharedSystemClient._identifier_to_system.values())  # noqa: SLF001


os.register_at_fork(after_in_child=_inherit)


def has_synchronous_shutdown(system: System) -> bool:
    """Return whether the engine can be closed for good (merged upstream, in no release yet)."""
    return callable(getattr(getattr(server_of(system), "bindings", None), "close", None))


def stop(system: System) -> None:
    """End a system, if it runs, and take it out of the cache: it alone, under whatever name.

    Raises:
        Exception: A part of it failed to stop; its engine has let go all the same.
    """
    try:
        if is_running(system):
            try:
                if has_synchronous_shutdown(system):
                    server_of(system).bindings.close()
            finally:
                system.stop()
    finally:
        release_engine(system)
        evict(system)


def release_engine(system: System) -> None:
    """Let the engine of a stopped system go, if it has not: parts stop in turn, and one that fails ends that."""
    server = server_of(system)
    if server is not None and not system._running and hasattr(server, "bindings"):  # noqa: SLF001
        server.stop()


def evict(system: System) -> None:
    """Take a system out of Chroma's cache, with its count of clients; leave every other there."""
    cache = SharedSystemClient._identifier_to_system  # noqa: SLF001
    for identifier in [name for name, cached in list(cache.items()) if cached is system]:
        cache.pop(identifier, None)
        counts().pop(identifier, None)


def counts() -> dict[str, int]:
    """Return Chroma's counts of clients by path; empty, and of no effect, before 1.5.2."""
    return getattr(SharedSystemClient, "_identifier_to_refcount", {})


def is_cached(system: System) -> bool:
    """Return whether a client's lookup by path finds this very system."""
    return any(cached is system for cached in SharedSystemClient._identifier_to_system.values())  # noqa: SLF001


def on_directory(directory: Path) -> tuple[System, ...]:
    """Return the cached systems on *directory*, however each spelled its path."""
    cached = list(SharedSystemClient._identifier_to_system.values())  # noqa: SLF001
    return tuple(system for system in cached if (home := directory_of(system)) and same_directory(home, directory))


def same_directory(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one directory."""
    if one.resolve() == other.resolve():
        return True
    return one.exists() and other.exists() and one.samefile(other)


def clients_of(server: object, *, besides: Collection[object]) -> tuple[object, ...]:
    """Return the clients that are alive and ask *server*, without those in *besides*.

    Chroma's own count is no help: it counts clients that were dropped without being closed, and
    older releases have none. What the garbage collector still knows is alive; a client that is
    only waiting to be collected is collected first.
    """
    gc.unfreeze()  # what was set aside is not looked through otherwise
    if not tuple(_alive(server, besides)):
        return ()
    gc.collect()
    return tuple(_alive(server, besides))


def _alive(server: object, besides: Collection[object]) -> Iterator[object]:
    known = {id(client) for client in besides}
    clients = [client for client in _holders_of(server) if id(client) not in known]
    # Each client has an admin client of its own, which is no second holder.
    known |= {id(getattr(client, "_admin_client", None)) for client in (*clients, *besides)}
    return (client for client in clients if id(client) not in known and not getattr(client, "_closed", False))


def _holders_of(server: object) -> list[object]:
    """Return the clients, of every kind, whose server is *server*."""
    kinds = set(_with_subclasses(SharedSystemClient))
    referrers = gc.get_referrers(server)
    # Python keeps attributes in the object itself until somebody asks for its dictionary.
    tables = [found for found in referrers if type(found) is dict and found.get("_server") is server]
    owners = gc.get_referrers(*tables) if tables else []
    return [found for found in (*referrers, *owners) if type(found) in kinds]


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    subclasses: list[type] = kind.__subclasses__()
    for subclass in subclasses:
        yield from _with_subclasses(subclass)
