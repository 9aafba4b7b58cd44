"""``close_client`` takes every client that people have, and proves that it let go."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import chromadb
import pytest
from chromadb.api import ServerAPI
from chromadb.api.client import AdminClient, Client
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Component, Settings
from overrides import override
from structlog.testing import capture_logs

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import CloseReport, Kind, Way, close_client
from chroma_lifecycle.errors import BadInput, Corrupt, NotClosed
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.chroma_directories import COLLECTION, ENDED, connect, fill, opened, segment_of, vectors

HAS_CLOSE = hasattr(Client, "close")


def test_nothing_to_close_is_reported() -> None:
    """``None`` is no error: code that closes in a ``finally`` may not have got a client."""
    assert CloseReport("NoneType", Way.NOTHING, proven=False) == close_client(None)


def test_a_plain_client_lets_go_of_its_directory(directory: Path) -> None:
    """The report tells what was open before, that nothing is after, and that the files are whole."""
    client, _ = opened(directory)
    report = close_client(client, COLLECTION)

    assert (ENDED, True, "Client", COLLECTION) == (report.way, report.proven, report.client_type, report.collection)
    assert report.descriptors_before
    assert () == report.descriptors_after == below(directory)
    assert report.seconds > 0
    assert report.soundness is not None
    assert [COLLECTION] == [state.name for state in report.soundness.collections]


def test_a_second_close_ends_nothing_and_says_so(directory: Path) -> None:
    """Closing twice is harmless, for a plain client and a managed one."""
    client, _ = opened(directory)
    close_client(client)
    assert (Way.AGAIN, True) == (close_client(client).way, close_client(client).proven)

    managed = ManagedClient.open(directory, COLLECTION)
    assert ENDED == close_client(managed).way
    assert (Way.AGAIN, True) == (close_client(managed).way, managed.close().proven)


class _Stubborn(Component):
    """A part of a client's system that fails to stop; it stops before the engine, on which it depends."""

    def __init__(self, system: Any) -> None:
        super().__init__(system)
        self.require(ServerAPI)

    @override
    def stop(self) -> None:
        raise ZeroDivisionError("a text of some secrecy")


def test_a_part_that_fails_to_stop_keeps_nothing_open(directory: Path) -> None:
    """C14: the engine is let go all the same, which Chroma then leaves open for good; the log says what failed."""
    client, _ = opened(directory)
    client._system.instance(_Stubborn)
    with capture_logs() as lines:
        report = close_client(client)

    assert (True, ()) == (report.proven, below(directory))
    assert "ZeroDivisionError in stop" in next(line for line in lines if line["log_level"] == "warning")["why"]
    assert "secrecy" not in str(lines)
    assert (Way.AGAIN, True) == (close_client(client).way, close_client(client).proven)


def test_what_somebody_else_stopped_half_way_is_let_go(directory: Path) -> None:
    """Old advice stops the system itself: where a part of it failed, its engine has the files open."""
    client, _ = opened(directory)
    client._system.instance(_Stubborn)
    with pytest.raises(ZeroDivisionError):
        client._system.stop()
    assert below(directory)

    assert close_client(client).proven


def test_a_second_close_of_an_old_client_leaves_its_successor_alone(directory: Path) -> None:
    """The path is open again by another client: closing the first one again must not touch it."""
    first, _ = opened(directory)
    close_client(first)
    second, collection = opened(directory)

    with pytest.raises(NotClosed):
        close_client(first)
    assert collection.count() > 0
    close_client(second)


def test_an_admin_client_is_a_client(directory: Path) -> None:
    """It has no ``close()`` in any version, and keeps the directory open all the same."""
    admin = AdminClient(connect(directory)._system.settings)
    gc.collect()
    report = close_client(admin)

    assert (Way.STOP, True, "AdminClient") == (report.way, report.proven, report.client_type)


def test_one_line_is_logged_for_a_close(directory: Path) -> None:
    """The line tells of what kind the client was, how it ended, and which files it let go."""
    client, _ = opened(directory)
    with capture_logs() as lines:
        report = close_client(client, COLLECTION)

    (line,) = lines
    assert {
        "event": "client_closed",
        "client": "Client",
        "kind": "persistent",
        "way": ENDED.value,
        "proven": True,
        "collection": COLLECTION,
        "directory": str(directory),
        "descriptors_before": len(report.descriptors_before),
        "descriptors_after": 0,
        "released": sorted({os.path.relpath(held.path, directory) for held in report.descriptors_before}),
        "seconds": round(report.seconds, 4),
    }.items() <= line.items()


def test_a_managed_client_logs_one_line(directory: Path) -> None:
    with capture_logs() as lines, ManagedClient.open(directory, COLLECTION):
        pass
    assert ["client_closed"] == [line["event"] for line in lines]


def test_a_second_client_of_the_path_makes_the_close_fail_and_lives_on(directory: Path) -> None:
    """C6: they share a system; ending it would kill the other, and without that nothing is released."""
    first, _ = opened(directory)
    second, collection = opened(directory)

    with pytest.raises(NotClosed, match=r"another client of this process has it open.*chroma\.sqlite3"):
        close_client(first)
    fill(collection, 25)
    assert (ENDED, True) == (close_client(second).way, close_client(second).proven)
    assert (Way.AGAIN, True) == (close_client(first).way, close_client(first).proven)


def test_a_second_client_that_was_set_aside_by_the_collector_is_found(directory: Path) -> None:
    """C6: whoever freezes what is loaded (compactors do) hides it from whoever asks the collector who lives."""
    first, _ = opened(directory)
    second, collection = opened(directory)
    gc.freeze()
    try:
        with pytest.raises(NotClosed, match="another client of this process has it open"):
            close_client(first)
        fill(collection, 25)
        assert close_client(second).proven
    finally:
        gc.unfreeze()


def test_clients_that_were_dropped_unclosed_do_not_keep_the_directory_open(directory: Path) -> None:
    """Chroma goes on counting a client that nobody has any more; nobody could ever close it."""
    for _ in range(3):
        opened(directory)
    gc.collect()
    client, _ = opened(directory)
    report = close_client(client)

    assert (Way.CLOSE_AND_STOP if HAS_CLOSE else Way.STOP, True) == (report.way, report.proven)


def test_a_client_that_waits_to_be_collected_does_not_keep_the_directory_open(directory: Path) -> None:
    """It is part of a cycle: unreachable, and not gone before the next collection."""
    gc.collect()
    gc.disable()
    try:
        cycle: list[object] = [opened(directory)]
        cycle.append(cycle)
        del cycle
        client, _ = opened(directory)
        assert close_client(client).proven
    finally:
        gc.enable()


def test_a_client_ends_its_own_system_and_not_the_one_that_took_its_place(directory: Path) -> None:
    """The cache was emptied and the path opened again: the lookup by path finds a stranger's system."""
    first, _ = opened(directory)
    SharedSystemClient.clear_system_cache()
    second, collection = opened(directory)

    with pytest.raises(NotClosed, match="another client"):
        close_client(first)
    assert not systems.is_running(systems.system_of(first))
    if HAS_CLOSE:
        first.close()  # as leaving a `with` block does: it goes by the path, so it must do nothing
    assert collection.count() > 0
    assert close_client(second).proven
    assert close_client(first).proven


def test_a_system_that_somebody_stopped_is_taken_out_of_the_cache(directory: Path) -> None:
    """Stopping alone leaves a corpse behind, which the next opening would be given."""
    client, _ = opened(directory)
    client._system.stop()

    assert close_client(client).proven
    again, collection = opened(directory)
    assert collection.count() > 0
    close_client(again)


def test_a_synchronous_shutdown_is_taken_where_the_engine_has_one(directory: Path) -> None:
    """It is merged upstream; this engine is given one to see that it is called, once."""
    client, _ = opened(directory)
    server = client._server
    calls = []

    class Closable:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def close(self) -> None:
            calls.append("close")

    server.bindings = Closable(server.bindings)
    if HAS_CLOSE:
        type(server).stop, stop = _stop_that_closes, type(server).stop
    try:
        report = close_client(client)
    finally:
        if HAS_CLOSE:
            type(server).stop = stop

    assert (["close"], Way.SYNCHRONOUS, True) == (calls, report.way, report.proven)


def _stop_that_closes(server: Any) -> None:
    """What upstream's ``RustBindingsAPI.stop`` does where ``Client.close`` leads to it."""
    server.bindings.close()
    del server.bindings


def test_a_client_is_of_no_use_after_its_close(directory: Path) -> None:
    """Nothing can be written behind the proof's back."""
    client, collection = opened(directory)
    close_client(client)

    with pytest.raises(AttributeError):
        fill(collection, 1)


def test_a_directory_that_is_torn_is_told_when_it_is_closed(directory: Path) -> None:
    """The close looks at what the client left."""
    client, _ = opened(directory)
    os.truncate(segment_of(directory) / "length.bin", 3)

    with pytest.raises(Corrupt, match=r"length\.bin"):
        close_client(client)


def test_a_directory_removed_beneath_its_client_is_let_go(directory: Path) -> None:
    """Its files are deleted and open: they count, and are released; the path can be used again."""
    client, _ = opened(directory)
    shutil.rmtree(directory)
    assert all(held.path.endswith("(deleted)") for held in below(directory))
    report = close_client(client)

    assert (True, None) == (report.proven, report.soundness)
    assert "removed beneath" in report.note
    assert report.descriptors_before


def test_a_path_can_be_used_again_once_it_was_proven_closed(directory: Path, template: Path) -> None:
    """Removed and made again under an open client, the same path answers "readonly database" for ever."""
    client, _ = opened(directory)
    shutil.rmtree(directory)
    close_client(client)
    shutil.copytree(template, directory)

    again, collection = opened(directory)
    fill(collection, 41)
    assert 41 == collection.count()
    close_client(again)


def test_a_relative_path_that_means_another_place_by_now_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process changed its directory: looking below the path would prove nothing."""
    monkeypatch.chdir(directory.parent)
    client = connect(directory.name)
    monkeypatch.chdir("/")
    with pytest.raises(BadInput, match="relative path"):
        close_client(client)

    monkeypatch.chdir(directory.parent)
    assert close_client(client).proven


def test_a_directory_that_was_removed_beneath_its_client_is_found_by_a_relative_path(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open below it says that it is the place, and that there is no database any more says why."""
    monkeypatch.chdir(directory.parent)
    client = connect(directory.name)
    assert client.list_collections()
    shutil.rmtree(directory)

    report = close_client(client)

    assert (True, directory) == (report.proven, report.directory)
    assert "removed beneath" in report.note
    assert report.descriptors_before


def test_closing_one_client_leaves_another_directory_alone(directory: Path, template: Path, rounds: Any) -> None:
    """C5: A closes, B works; A's directory opens again and shows A's data; 100 times."""
    other = Path(shutil.copytree(template, directory.with_name("other")))
    for _ in range(rounds(8, 100)):
        client_a, collection_a = opened(directory)
        client_b, collection_b = opened(other)
        collection_a.upsert(ids=["only-a"], embeddings=vectors(1))
        close_client(client_a)

        collection_b.upsert(ids=["only-b"], embeddings=vectors(1))
        assert ["only-b"] == collection_b.get(ids=["only-a", "only-b"])["ids"]
        client_a, collection_a = opened(directory)
        assert ["only-a"] == collection_a.get(ids=["only-a", "only-b"])["ids"]
        close_client(client_a)
        close_client(client_b)


def test_an_in_memory_client_has_nothing_to_prove() -> None:
    """Its data stay while another one lives: they share one system."""
    first, second = chromadb.EphemeralClient(), chromadb.EphemeralClient()
    report = close_client(first)
    assert (Kind.MEMORY, False, None) == (report.kind, report.proven, report.directory)
    assert "its data stay" in report.note
    second.heartbeat()

    assert "its data are gone" in close_client(second).note
    assert Way.AGAIN == close_client(second).way


class _Server(BaseHTTPRequestHandler):
    """Answers what a client asks for when it is made."""

    def do_GET(self) -> None:
        kind = self.path.rsplit("?")[0].split("/")
        answer: dict[str, object] = {"name": "default_tenant"}
        if "identity" in kind:
            answer = {"user_id": "u", "tenant": "default_tenant", "databases": ["default_database"]}
        elif "databases" in kind:
            answer = {
                "id": "00000000-0000-0000-0000-000000000000",
                "name": "default_database",
                "tenant": "default_tenant",
            }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("kind", ["http", "cloud"])
def test_a_client_of_a_server_closes_its_connections(port: int, kind: str) -> None:
    """What the server has open cannot be known here, and the report does not claim it."""
    settings = Settings(anonymized_telemetry=False)
    client = (
        chromadb.HttpClient("127.0.0.1", port, settings=settings)
        if kind == "http"
        else chromadb.CloudClient(
            tenant="default_tenant",
            database="default_database",
            api_key="ck-none",
            settings=settings,
            cloud_host="127.0.0.1",
            cloud_port=port,
            enable_ssl=False,
        )
    )
    session = client._server._session  # type: ignore[attr-defined]
    report = close_client(client)

    assert (Kind.SERVER, Way.SESSION, False) == (report.kind, report.way, report.proven)
    assert session.is_closed
    assert not systems.is_cached(systems.system_of(client))
    assert Way.AGAIN == close_client(client).way


def test_an_asynchronous_client_is_taken_out_of_the_cache(port: int) -> None:
    """Only its own event loop can close its connections, and the report says so."""

    async def use() -> CloseReport:
        client = await chromadb.AsyncHttpClient("127.0.0.1", port, settings=Settings(anonymized_telemetry=False))
        return close_client(client)

    report = asyncio.run(use())
    assert (Kind.ASYNCHRONOUS, Way.EVICTED, False) == (report.kind, report.way, report.proven)
    assert "event loop" in report.note
