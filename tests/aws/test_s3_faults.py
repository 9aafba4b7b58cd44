"""The store in S3 when answers are lost, late, cut off, refused or wrong; the SDK's own retries really happen."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.clients import Patience, make_client
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, SwapRefused, SwapUnanswered
from chroma_lifecycle.publishing import swap as swapping
from chroma_lifecycle.publishing.head import Head, encode_head, find_head, read_head
from chroma_lifecycle.publishing.swap import Landed, Lost, Outcome, Unknown, swap
from chroma_lifecycle.snapshot.names import ManifestRef
from tests.support.heads import COLLECTION, head_spec, manifest_ref
from tests.support.s3 import (
    HASTY,
    STEADY,
    Exchange,
    FaultProxy,
    after,
    breaks_off,
    client,
    client_at,
    does_and_says,
    flips_a_bit,
    hangs,
    loses_the_answer,
    loses_the_request,
    new_bucket,
    passes,
    s3_client,
    says,
    use_server,
)

HEAD, OBJECT = f"{COLLECTION}/HEAD", f"{COLLECTION}/objects/x"
OURS, THEIRS = 0xAAAA, 0xBBBB
# What the settings add up to, with room for a busy machine; without them it would be minutes.
BUDGET_SECONDS = HASTY.attempts * HASTY.read_seconds + 10


@pytest.fixture
def store(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store behind the proxy, with an object and HEAD at version 1."""
    use_server(monkeypatch, proxy.url)
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))
    address = S3Address(new_bucket(), "store")
    beside = S3Store(address, s3_client())
    beside.write(OBJECT, b"some bytes")
    put(beside, head_spec(1))
    return S3Store(address, client_at("s3", proxy.url))


def hasty(store: S3Store, proxy: FaultProxy) -> S3Store:
    """Return the same store for a caller who soon gives up."""
    return S3Store(store._at, client_at("s3", proxy.url, HASTY))


def put(store: S3Store, head: Head) -> None:
    """Another writer replaces HEAD, past the proxy."""
    beside = S3Store(store._at, s3_client())
    seen = find_head(beside, COLLECTION)
    head = replace(head, serial=seen.head.serial + 1 if seen else 1)
    beside.swap_head(COLLECTION, encode_head(head), serial=head.serial, expected=seen.token if seen else None)


def now(store: S3Store) -> Head:
    return read_head(S3Store(store._at, s3_client()), COLLECTION).head


def no_parents(ref: ManifestRef) -> ManifestRef | None:
    raise AssertionError(f"{ref} need not be read")


def publish(store: S3Store, parent_of: Callable[[ManifestRef], ManifestRef | None] = no_parents) -> Outcome:
    return swap(store, head_spec(2, OURS), read_head(store, COLLECTION), parent_of=parent_of)


# A swap.


def test_a_412_against_our_own_write_is_a_success(store: S3Store, proxy: FaultProxy) -> None:
    """C14: the answer was lost, the SDK sent the PUT again and got 412 for what it had written itself."""
    proxy.on("PUT", HEAD, loses_the_answer)

    outcome = publish(store)

    assert isinstance(outcome, Landed)
    assert head_spec(2, OURS) == outcome.newest.head == now(store)
    assert [0, 412] == [seen.status for seen in proxy.seen if seen.method == "PUT"]


def then_hangs(exchange: Exchange) -> None:
    exchange.forward()
    hangs(exchange)


def test_a_time_out_of_a_write_that_landed_is_a_success(store: S3Store, proxy: FaultProxy) -> None:
    """C14: every attempt landed or was refused, and none was answered: HEAD tells."""
    proxy.on("PUT", HEAD, *[then_hangs] * HASTY.attempts)

    outcome = publish(hasty(store, proxy))

    assert isinstance(outcome, Landed)
    assert head_spec(2, OURS) == now(store)


@pytest.mark.parametrize("fault", [loses_the_request, hangs, says(500, "InternalError"), says(503, "SlowDown")])
def test_a_write_that_did_not_land_is_sent_again(store: S3Store, proxy: FaultProxy, fault: Any) -> None:
    """C14: after the SDK has given up, HEAD is the one expected: the same bytes go out again, and land."""
    proxy.on("PUT", HEAD, *[fault] * STEADY.attempts)

    outcome = publish(hasty(store, proxy) if fault is hangs else store)

    assert isinstance(outcome, Landed)
    assert head_spec(2, OURS) == now(store)
    assert STEADY.attempts + 1 == proxy.count(HEAD)["PUT"]


def test_a_409_is_sent_again(store: S3Store, proxy: FaultProxy) -> None:
    """C14: the SDK does not retry a conditional conflict; we do, after reading HEAD."""
    proxy.on("PUT", HEAD, says(409, "ConditionalRequestConflict"), says(409, "ConditionalRequestConflict"))

    assert isinstance(publish(store), Landed)
    assert {"PUT": 3, "GET": 3} == dict(proxy.count(HEAD))


def test_a_409_against_our_own_write_is_a_success(store: S3Store, proxy: FaultProxy) -> None:
    """C14: whatever the answer says, HEAD is read before it is believed."""
    proxy.on("PUT", HEAD, does_and_says(409, "ConditionalRequestConflict"))

    assert isinstance(publish(store), Landed)
    assert proxy.count(HEAD)["PUT"] == 1


def test_a_writer_that_paused_before_its_swap_is_refused(store: S3Store, proxy: FaultProxy) -> None:
    """L5: A has compared; B publishes; A's PUT arrives: A has lost, and knows what to restore."""
    proxy.on("PUT", HEAD, after(lambda: put(store, head_spec(2, THEIRS))))

    outcome = publish(store)

    assert isinstance(outcome, Lost)
    assert now(store) == outcome.newest.head
    assert THEIRS == int(now(store).write_id, 16)


def test_ours_is_found_behind_what_others_built_on_it(store: S3Store, proxy: FaultProxy) -> None:
    """C14: our answer was lost, another writer published on top, and the SDK's retry got 412."""

    def lands_unheard(exchange: Exchange) -> None:
        exchange.forward()
        put(store, head_spec(3, THEIRS))  # before the SDK can ask again: moto compares and writes in two steps
        exchange.drop()

    proxy.on("PUT", HEAD, lands_unheard)

    outcome = publish(store, {manifest_ref(3, THEIRS): manifest_ref(2, OURS)}.__getitem__)

    assert isinstance(outcome, Landed)
    assert now(store) == outcome.newest.head
    assert now(store).version.number == 3


@pytest.mark.parametrize("landed", [True, False])
def test_neither_answer_nor_head_is_unknown_and_deletes_nothing(
    store: S3Store, proxy: FaultProxy, landed: bool
) -> None:
    """C14: nobody can say; nothing is deleted, and the batch comes again."""
    seen = read_head(store, COLLECTION)
    proxy.always("PUT", HEAD, loses_the_answer if landed else loses_the_request)
    proxy.always("GET", HEAD, says(500, "InternalError"))

    outcome = swap(store, head_spec(2, OURS), seen, parent_of=no_parents)

    assert isinstance(outcome, Unknown)
    assert {"PUT", "GET"} == set(proxy.count())
    assert (2 if landed else 1) == now(store).version.number


def test_a_head_that_was_deleted_meanwhile_is_unknown(store: S3Store, proxy: FaultProxy) -> None:
    """A 404 to If-Match is a missing HEAD: nobody can say whether ours was the one that was deleted."""
    proxy.on("PUT", HEAD, after(lambda: store.delete([HEAD])))

    outcome = publish(store)

    assert isinstance(outcome, Unknown)
    assert "missing" in outcome.reason


def test_a_store_without_conditional_writes_is_refused(store: S3Store, proxy: FaultProxy) -> None:
    """L6: where two writers can both land, nothing is published; the error says what is needed."""
    proxy.on("PUT", HEAD, says(501, "NotImplemented"))

    with pytest.raises(BadInput, match="conditional writes"):
        publish(store)


def test_a_forbidden_swap_is_told_as_such(store: S3Store, proxy: FaultProxy) -> None:
    """L13: asked once and refused: nothing was sent, and the error names the permission."""
    proxy.on("PUT", HEAD, says(403, "AccessDenied"))

    with pytest.raises(StoreUnavailable, match="s3:PutObject"):
        publish(store)
    assert proxy.count(HEAD)["PUT"] == 1


def test_a_403_after_a_lost_answer_decides_nothing(store: S3Store, proxy: FaultProxy) -> None:
    """C14: the first PUT landed unheard, and the credentials expired before the SDK's retry."""
    proxy.on("PUT", HEAD, loses_the_answer, says(403, "ExpiredToken"))

    assert isinstance(publish(store), Landed)


def test_creating_says_so_in_the_request(store: S3Store, proxy: FaultProxy) -> None:
    """Two `init` at once: If-None-Match decides, and the second is refused."""
    with pytest.raises(SwapRefused):
        store.swap_head(COLLECTION, b"another", serial=1, expected=None)
    assert head_spec(1) == now(store)


# Reading and writing.

CALLS: dict[str, Callable[[S3Store], object]] = {
    "read": lambda store: store.read(OBJECT, limit_bytes=100),
    "write": lambda store: store.write(OBJECT, b"some bytes"),
    "present": lambda store: store.present([OBJECT]),
    "list": lambda store: list(store.list("")),
    "delete": lambda store: store.delete([OBJECT]),
    "now": lambda store: store.now(),
    "read_head": lambda store: store.read_head(COLLECTION),
}
METHODS = ("GET", "PUT", "HEAD", "POST")


def scripted(proxy: FaultProxy, step: Any, times: int = 1_000) -> None:
    for method in METHODS:
        proxy.on(method, "", *[step] * times)


@pytest.mark.parametrize("call", ["read", "write", "list", "read_head"])
def test_a_store_that_never_answers_is_unavailable_within_its_budget(
    store: S3Store, proxy: FaultProxy, call: str
) -> None:
    """S11: the connection is accepted and nothing comes: a retryable error, in the time that the settings add up to."""
    scripted(proxy, hangs)
    start = SYSTEM_CLOCK.monotonic()

    with pytest.raises(StoreUnavailable):
        CALLS[call](hasty(store, proxy))

    assert SYSTEM_CLOCK.monotonic() - start < BUDGET_SECONDS
    assert HASTY.attempts == len(proxy.seen)


@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_closes_every_connection_is_unavailable(store: S3Store, proxy: FaultProxy, call: str) -> None:
    """S11: a retryable error after as many attempts as the settings say."""
    scripted(proxy, loses_the_answer)

    with pytest.raises(StoreUnavailable):
        CALLS[call](store)

    assert STEADY.attempts == len(proxy.seen)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", [says(500, "InternalError"), says(503, "SlowDown"), loses_the_request])
def test_a_fault_that_passes_is_not_noticed(store: S3Store, proxy: FaultProxy, call: str, fault: Any) -> None:
    """The SDK asks again, as often as it is told to."""
    scripted(proxy, fault, times=STEADY.attempts - 1)

    CALLS[call](store)

    assert STEADY.attempts == len(proxy.seen)


@pytest.mark.parametrize("call", CALLS)
def test_a_forbidden_key_never_looks_missing(store: S3Store, proxy: FaultProxy, call: str) -> None:
    """L13: 403 is an error that names the permissions; nobody takes it for an empty place."""
    scripted(proxy, says(403, "AccessDenied"))

    with pytest.raises(StoreUnavailable, match=r"not allowed .*allow s3:\w+"):
        CALLS[call](store)


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"present"}))
def test_a_missing_bucket_never_looks_like_a_missing_key(store: S3Store, proxy: FaultProxy, call: str) -> None:
    """L13: a wrong bucket is told; HEAD is not "missing" there, and nothing is created."""
    elsewhere = S3Store(S3Address("no-such-bucket-here", ""), store._client)

    with pytest.raises((StoreUnavailable, ObjectMissing)) as caught:
        CALLS[call](elsewhere)
    if call != "now":  # the answer to that question has no body, and a 404 says no more
        assert isinstance(caught.value, StoreUnavailable)


@pytest.mark.parametrize("fault", [breaks_off(1), breaks_off(10), flips_a_bit(seen_by_s3=True)])
def test_a_body_that_breaks_off_is_read_again(store: S3Store, proxy: FaultProxy, fault: Any) -> None:
    """C3: the SDK does not retry what breaks off while it is read; we do, and the bytes are whole."""
    proxy.on("GET", OBJECT, fault, fault)

    assert store.read(OBJECT, limit_bytes=100) == b"some bytes"
    assert proxy.count(OBJECT)["GET"] == 3


def test_a_body_that_always_breaks_off_is_unavailable(store: S3Store, proxy: FaultProxy) -> None:
    """C3: the reading again ends, a part is never handed out for the whole, and the error is one of the tree."""
    proxy.always("GET", OBJECT, breaks_off(1))

    with pytest.raises(StoreUnavailable, match="breaks off") as told:
        store.read(OBJECT, limit_bytes=100)
    assert type(told.value) is StoreUnavailable
    assert proxy.count(OBJECT)["GET"] == 3


def test_a_body_that_stops_coming_is_unavailable_within_its_budget(store: S3Store, proxy: FaultProxy) -> None:
    """S11: half of the body, and then silence."""

    def stops(exchange: Exchange) -> None:
        exchange.answered = True
        handler = exchange.handler
        handler.send_response_only(200)
        handler.send_header("Content-Length", "10")
        handler.send_header("ETag", '"x"')
        handler.end_headers()
        handler.wfile.write(b"some ")
        handler.wfile.flush()
        exchange.proxy.ending.wait()
        handler.close_connection = True

    proxy.always("GET", OBJECT, stops)
    start = SYSTEM_CLOCK.monotonic()

    with pytest.raises(StoreUnavailable, match="breaks off"):
        hasty(store, proxy).read(OBJECT, limit_bytes=100)
    assert SYSTEM_CLOCK.monotonic() - start < BUDGET_SECONDS


def test_what_could_not_be_deleted_is_told(store: S3Store, proxy: FaultProxy) -> None:
    """S3 answers 200 to a deletion that failed; the body says which."""
    error = "<Error><Key>store/words/x</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    body = f"<DeleteResult>{error}</DeleteResult>".encode()
    proxy.on("POST", "delete", lambda exchange: exchange.answer(200, [], body))

    with pytest.raises(StoreUnavailable, match=r"store/words/x .*AccessDenied"):
        store.delete([OBJECT])


@pytest.mark.parametrize(
    ("act", "method", "permission"),
    [
        (lambda store: store.delete([OBJECT]), "POST", "s3:DeleteObject "),
        (lambda store: store.erase(OBJECT, lambda row: True), "POST", "s3:DeleteObjectVersion"),
        (lambda store: list(store.remains(OBJECT)), "GET", "s3:ListBucketVersions"),
        (lambda store: list(store.past_heads(COLLECTION)), "GET", "s3:ListBucketVersions"),
    ],
)
def test_the_right_that_is_missing_is_named(
    store: S3Store, proxy: FaultProxy, act: Callable[[S3Store], object], method: str, permission: str
) -> None:
    """What a sweep, an erasure and `recover` need beyond what a cycle does, beside AWS's own words."""
    proxy.always(method, "", says(403, "AccessDenied"))

    with pytest.raises(StoreUnavailable, match=rf"AccessDenied: as scripted.*{permission}"):
        act(store)


def test_an_older_head_that_breaks_off_is_read_again(store: S3Store, proxy: FaultProxy) -> None:
    """L13: `recover` reads past HEADs over the same line as everything else."""
    head = client().get_object(Bucket=store._at.bucket, Key=store._at.key(HEAD))["Body"].read()

    proxy.on("GET", "versionId", breaks_off())
    assert [head] == list(store.past_heads(COLLECTION))

    proxy.always("GET", "versionId", breaks_off())
    with pytest.raises(StoreUnavailable, match=r"HEAD .*breaks off"):
        list(store.past_heads(COLLECTION))


def test_what_was_put_in_the_place_of_head_hides_no_older_one(store: S3Store) -> None:
    """L13: it is longer than any HEAD can be; the one before it is still there to recover from."""
    bucket, key = store._at.bucket, store._at.key(HEAD)
    client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    head = store.read(HEAD, limit_bytes=HEAD_LIMIT_BYTES)
    client().put_object(Bucket=bucket, Key=key, Body=bytes(HEAD_LIMIT_BYTES + 1))

    assert [head] == list(store.past_heads(COLLECTION))


def test_the_time_is_that_of_the_store(store: S3Store, proxy: FaultProxy) -> None:
    """A machine whose clock is wrong counts grace periods by S3's clock."""

    def in_2001(exchange: Exchange) -> None:
        exchange.answer(200, [("Date", "Mon, 01 Jan 2001 12:00:00 GMT")], b"")

    proxy.on("HEAD", "", in_2001)

    assert datetime(2001, 1, 1, 12, tzinfo=UTC) == store.now()


def test_the_checksums_of_the_sdk_can_be_left_out(
    store: S3Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: compatible stores that do not know the newer checksums get the oldest; an upload never goes without one."""
    headers: list[dict[str, str]] = []

    def noting(exchange: Exchange) -> None:
        headers.append({name.lower(): value for name, value in exchange.handler.headers.items()})
        passes(exchange)

    proxy.always("PUT", OBJECT, noting)
    store.write(OBJECT, b"x")
    S3Store(store._at, make_client("s3", checksums="when_required")).write(OBJECT, b"x")

    assert "x-amz-checksum-crc32" in headers[0]
    assert not any(name.startswith("x-amz-checksum") for name in headers[1])
    assert ("content-md5" in headers[0], headers[1]["content-md5"]) == (False, "ndTkYSaMgDT1yFZOFVxnpg==")


def test_an_upload_that_arrives_damaged_is_unavailable(store: S3Store, proxy: FaultProxy) -> None:
    """C3: S3 compares the checksum and refuses; it is the line that failed, so the batch comes again."""
    proxy.on("PUT", OBJECT, says(400, "BadDigest"))

    with pytest.raises(StoreUnavailable, match="BadDigest"):
        store.write(OBJECT, b"x")


# Lines and settings.


@pytest.fixture
def slow_server() -> Iterator[str]:
    """A server that takes a body no faster than a quarter of a megabyte in 40 ms."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    pause = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1 << 16)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if b"100-continue" in head:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            got = len(head.partition(b"\r\n\r\n")[2])
            while got < length:
                got += len(connection.recv(1 << 18))
                pause.wait(0.04)
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n')

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    thread.join()
    listening.close()


def test_a_slow_line_may_take_longer_than_the_time_outs(slow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-outs are for silence: a block that goes out steadily for longer than them arrives."""
    use_server(monkeypatch, slow_server)
    patience = Patience(connect_seconds=0.6, read_seconds=5.0, attempts=1)
    store = S3Store(S3Address("bucket", ""), make_client("s3", patience=patience, checksums="when_required"))
    start = SYSTEM_CLOCK.monotonic()

    store.write(OBJECT, bytes(12 << 20))

    assert SYSTEM_CLOCK.monotonic() - start > 2 * patience.connect_seconds


def test_nobody_there_is_unavailable(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S11: nothing listens at the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    use_server(monkeypatch, f"http://127.0.0.1:{port}")

    with pytest.raises(StoreUnavailable, match="no answer"):
        S3Store(S3Address("bucket", ""), make_client("s3", patience=HASTY)).read_head(COLLECTION)


def test_missing_credentials_are_told_with_the_sdks_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, and no talk of HEAD: the SDK's settings are named."""
    use_server(monkeypatch)
    for name in list(os.environ):
        if name.startswith("AWS_") and name not in {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_EC2_METADATA_DISABLED"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(StoreUnavailable, match="AWS_PROFILE"):
        S3Store.open("s3://some-bucket").read_head(COLLECTION)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_PROFILE", "no-such-profile"), ("AWS_ENDPOINT_URL", "localhost:4566"), ("AWS_DEFAULT_REGION", "no region")],
)
def test_settings_that_make_no_client_are_told(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A profile that does not exist, or an endpoint without http://, is a setting to mend, not a crash."""
    use_server(monkeypatch)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv(variable, value)
    if variable == "AWS_DEFAULT_REGION":
        monkeypatch.delenv("AWS_ENDPOINT_URL")

    with pytest.raises(BadInput, match="AWS SDK"):
        S3Store.open("s3://some-bucket").read_head(COLLECTION)


def test_no_request_is_made_before_it_is_needed(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a store costs nothing on the network."""
    use_server(monkeypatch, proxy.url)

    S3Store.open("s3://some-bucket/prefix")

    assert [] == proxy.seen


def test_an_unanswered_swap_is_told_as_such(store: S3Store, proxy: FaultProxy) -> None:
    """S11: at the port, a swap without an answer is neither landed nor refused."""
    seen = store.read_head(COLLECTION)
    assert seen
    proxy.always("PUT", HEAD, hangs)

    with pytest.raises(SwapUnanswered):
        hasty(store, proxy).swap_head(COLLECTION, b"x", serial=2, expected=seen.token)


def test_the_server_that_all_this_runs_on_keeps_conditions() -> None:
    """Should the server stop judging If-Match, the tests above would prove nothing."""
    bucket = new_bucket()
    plain = client()
    tag = plain.put_object(Bucket=bucket, Key="x", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
        with pytest.raises(plain.exceptions.ClientError, match="PreconditionFailed"):
            plain.put_object(Bucket=bucket, Key="x", Body=b"2", **condition)
    plain.put_object(Bucket=bucket, Key="x", Body=b"2", IfMatch=tag)
