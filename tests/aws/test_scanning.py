"""The scan of a real table: consistent, whole, by the table's own clock, and not too fast."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chroma_lifecycle.aws import scanning
from chroma_lifecycle.aws.scanning import DynamoScan
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from tests.cycle.test_06_deadline import ManualClock
from tests.support.s3 import STEADY, Exchange, FaultProxy, client, client_at, new_table, passes


def filled(items: int, size: int) -> str:
    table = new_table(("PK", "S"), ("SK", "S"))
    for number in range(items):
        item = {"PK": {"S": "a"}, "SK": {"S": f"{number:05d}"}, "text": {"S": "x" * size}, "data": {"B": b"\xff"}}
        client("dynamodb").put_item(TableName=table, Item=item)
    return table


def scan_of(table: str, proxy: FaultProxy, rate: float = 1e6) -> DynamoScan:
    return DynamoScan(table, client_at("dynamodb", proxy.url), ("PK", "SK"), rate)


def test_every_item_is_read_page_by_page(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """L9: pages of 1 MB, each as of a time before it was asked for; binary as streams spell it."""
    table = filled(8, 300_000)
    monkeypatch.setattr(scanning, "pause", lambda _: None)
    before = int(datetime.now(UTC).timestamp())

    pages = list(scan_of(table, proxy, rate=1.0).pages())

    assert len(pages) > 1
    assert [f"{number:05d}" for number in range(8)] == [item["SK"]["S"] for page in pages for item in page.items]
    assert {"B": "/w=="} == pages[0].items[0]["data"]
    assert all(before - 1 <= page.as_of <= datetime.now(UTC).timestamp() for page in pages)


def test_a_scan_is_consistent_and_keeps_to_its_rate(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """L9: before each page it waits for as long as the units of those before it last, less the time that went by."""
    table, asked, waits, clock = filled(8, 300_000), list[dict[str, Any]](), list[float](), ManualClock()
    units = [100.0, 20.0, 300.0]

    def consumes(exchange: Exchange) -> None:
        asked.append(json.loads(exchange.body))
        status, headers, body = exchange.forward()
        consumed = {"ConsumedCapacity": {"TableName": table, "CapacityUnits": units[len(asked) - 1]}}
        unsigned = [(name, value) for name, value in headers if name.lower() != "x-amz-crc32"]
        exchange.answer(status, unsigned, json.dumps(json.loads(body) | consumed).encode())

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.seconds += max(0.0, seconds)

    monkeypatch.setattr(scanning, "pause", wait)
    proxy.on("POST", "/", passes, *[consumes] * len(units))
    scan = DynamoScan(table, client_at("dynamodb", proxy.url), ("PK", "SK"), 50.0, clock)

    for _ in scan.pages():
        clock.seconds += 0.5  # what is done with a page takes time, too

    assert [(True, "TOTAL")] * 3 == [(each["ConsistentRead"], each["ReturnConsumedCapacity"]) for each in asked]
    assert [100 / 50 - 0.5, 20 / 50 - 0.5] == pytest.approx(waits)


def throttles(exchange: Exchange) -> None:
    """The table has no capacity left."""
    body = {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "message": "too fast"}
    exchange.answer(400, [("Content-Type", "application/x-amz-json-1.0")], json.dumps(body).encode())


def test_a_throttled_page_is_asked_for_again(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK asks again by itself, and then the scan does; no page is lost, none comes twice."""
    table, waits = filled(8, 300_000), list[float]()
    monkeypatch.setattr(scanning, "pause", waits.append)
    attempts = STEADY.attempts
    proxy.nth(3, throttles)  # of the second page: the SDK's own retry does
    whole = [item["SK"]["S"] for page in scan_of(table, proxy).pages() for item in page.items]
    assert [f"{number:05d}" for number in range(8)] == whole
    asked = len(proxy.seen)
    waits.clear()
    proxy.forget()
    proxy.on("POST", "/", passes, passes, *[throttles] * (2 * attempts))

    again = [item["SK"]["S"] for page in scan_of(table, proxy).pages() for item in page.items]

    assert whole == again
    assert asked - 1 + 2 * attempts == len(proxy.seen)
    assert list(scanning._PAUSES_SECONDS[:2]) == [wait for wait in waits if wait > 1]


def test_a_table_that_throttles_for_long_is_told(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan gives up in the end, and says what to do; what else is refused is told at once."""
    table, waits = filled(1, 10), list[float]()
    monkeypatch.setattr(scanning, "pause", waits.append)
    proxy.nth(2, throttles, lasting=True)

    with pytest.raises(StoreUnavailable, match="no capacity left to be read") as told:
        list(scan_of(table, proxy, rate=500).pages())

    assert "a lower --rate than 500" in told.value.hint
    assert list(scanning._PAUSES_SECONDS) == waits


def test_a_table_with_another_key_is_refused(proxy: FaultProxy) -> None:
    """Before anything of it is read."""
    table = new_table(("id", "S"))
    with pytest.raises(BadInput, match="has the key id, and the mapping's has PK, SK"):
        list(scan_of(table, proxy).pages())


def test_a_table_that_is_not_there_is_named(proxy: FaultProxy) -> None:
    """And a name that can be none."""
    with pytest.raises(StoreUnavailable, match="there is no table nowhere"):
        list(scan_of("nowhere", proxy).pages())
    with pytest.raises(BadInput, match="is no name of a table"):
        list(scan_of("", proxy).pages())
