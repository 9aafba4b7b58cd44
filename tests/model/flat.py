"""The same history as flat change messages, as older producers send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.model.reference import PLACE_KEYS, plain

_START = datetime(2026, 1, 1, tzinfo=UTC)
_FIRST = 100_000_000_000_000_000_000


def flat_messages(record: dict[str, Any], *, whole: bool = False) -> list[dict[str, Any]]:
    """Return the messages that an older producer sends for a stream record; none for one of no interest.

    Args:
        whole: Name what did not change too, and what is not there, for a model that counts what came by items and not
            by attributes: else a place that is made anew keeps what it had while its removal is under way.
    """
    body = record["dynamodb"]
    pk, sk = body["Keys"]["PK"]["S"], body["Keys"]["SK"]["S"]
    new, old = plain(body.get("NewImage")), plain(body.get("OldImage"))
    parts = sk.split("#")
    data: dict[str, Any] = {"image_id": pk.removeprefix("IMAGE#"), "receipt_id": int(parts[1])}
    for name, key in (("LINE", "line_id"), ("WORD", "word_id")):
        if name in parts:
            data[key] = int(parts[parts.index(name) + 1])
    message: dict[str, Any] = {
        "source": "dynamodb_stream",
        "entity_data": data,
        "event_name": record["eventName"],
        "timestamp": (_START + timedelta(milliseconds=int(body["SequenceNumber"]) - _FIRST)).isoformat(),
        "stream_record_id": record["eventID"],
        "changes": {},
        "record_snapshot": None,
    }
    if "COMPACTION_RUN" in parts:
        return _runs(message, parts[-1], new, old)
    if "LABEL" in parts:
        data["label"] = parts[-1]
        return [{**message, "entity_type": "RECEIPT_WORD_LABEL", "record_snapshot": new}]
    if "PLACE" in parts:
        # Only what changed is named; the image is partial.
        names = sorted({*(new or {}), *(old or {}), *(PLACE_KEYS if whole else ())} - {"PK", "SK"})
        changes = {
            name: {"old": (old or {}).get(name), "new": (new or {}).get(name)}
            for name in names
            if whole or (old or {}).get(name) != (new or {}).get(name)
        }
        return [{**message, "entity_type": "RECEIPT_PLACE", "changes": changes}]
    kind = {2: "RECEIPT", 4: "RECEIPT_LINE", 6: "RECEIPT_WORD"}[len(parts)]
    return [{**message, "entity_type": kind}] if new is None else []


def _runs(
    message: dict[str, Any], run: str, new: dict[str, Any] | None, old: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Return a message for each collection whose state or address the record touches."""
    found = []
    for collection in ("words", "lines"):
        address = (new or {}).get(f"{collection}_delta_prefix")
        if address is not None:
            names = {"delta_s3_prefix": f"{collection}_delta_prefix", f"{collection}_state": f"{collection}_state"}
            changes = {
                key: {"old": (old or {}).get(name), "new": (new or {}).get(name)}
                for key, name in names.items()
                if (old or {}).get(name) != (new or {}).get(name)
            }
            if message["event_name"] == "INSERT" and (new or {}).get(f"{collection}_state") != "PENDING":
                continue
            data = {**message["entity_data"], "run_id": run, "delta_s3_prefix": address}
            found.append(
                {
                    **message,
                    "entity_type": "COMPACTION_RUN",
                    "entity_data": data,
                    "collection": collection,
                    "changes": {} if message["event_name"] == "INSERT" else changes,
                }
            )
    return found
