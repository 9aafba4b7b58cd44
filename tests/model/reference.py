"""The reference model: sort by sequence, replay, look at the end. It imports nothing of the product.

It is written for the `receipts` mapping and knows the table's records by their meaning:

* a run that begins replaces the records that its delta holds;
* removing a receipt, a line or a word removes the records that stand below it at that moment;
* when all is replayed, each key that some delivered item owns has the value that the items,
  as they then are, give it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Record = tuple[Any, str | None, dict[str, Any]]  # vector, document, metadata
PLACE_KEYS = ("merchant_name", "merchant_category", "formatted_address", "phone_number", "place_id")
REMOVED = object()


def plain(image: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an image without DynamoDB's types; NULL is left out."""
    if image is None:
        return None
    return {name: next(iter(value.values())) for name, value in image.items() if "NULL" not in value}


@dataclass
class Reference:
    """What the published records must be.

    Attributes:
        deltas: Records of every sound delta, by address and id.
        vectors: New vectors that records got in place of a run's, by collection and id, each with that run's sequence.
        written: By collection and id, the sequence of the run that wrote the record.
    """

    deltas: dict[str, dict[str, Record]]
    items: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    rows: dict[str, dict[str, Record]] = field(default_factory=lambda: {"words": {}, "lines": {}})
    vectors: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    written: dict[tuple[str, str], int] = field(default_factory=dict)

    def replay(self, records: list[dict[str, Any]]) -> dict[str, dict[str, Record]]:
        """Return the records of both collections after *records*, in whatever order they are given."""
        self.merge(records)
        return {
            collection: {
                id_: self._overlaid(collection, id_, self._embedded(collection, id_, row)) for id_, row in rows.items()
            }
            for collection, rows in self.rows.items()
        }

    def merge(self, records: list[dict[str, Any]]) -> dict[str, dict[str, Record]]:
        """Return the records of both collections as their deltas tell them, with nothing that items give."""
        for record in sorted(records, key=lambda each: int(each["dynamodb"]["SequenceNumber"])):
            self._event(record)
        return self.rows

    def _embedded(self, collection: str, id_: str, row: Record) -> Record:
        if (given := self.vectors.get((collection, id_))) is None:
            return row
        run, vector = given
        return (vector, *row[1:]) if run == self.written[collection, id_] else row

    def _event(self, record: dict[str, Any]) -> None:
        body = record["dynamodb"]
        pk, sk = body["Keys"]["PK"]["S"], body["Keys"]["SK"]["S"]
        new, old = plain(body.get("NewImage")), plain(body.get("OldImage"))
        parts = sk.split("#")
        if "COMPACTION_RUN" in parts:
            for collection in ("words", "lines"):
                self._run(collection, new, old, int(body["SequenceNumber"]))
            return
        self.items[pk, sk] = new
        if new is None and len(parts) in (2, 4, 6) and parts[-2] in ("RECEIPT", "LINE", "WORD"):
            gone = f"{pk}#{sk}"
            for collection, rows in self.rows.items():
                if collection == "words" or parts[-2] != "WORD":
                    for id_ in [id_ for id_ in rows if id_ == gone or id_.startswith(gone + "#")]:
                        del rows[id_]

    def _run(self, collection: str, new: dict[str, Any] | None, old: dict[str, Any] | None, number: int) -> None:
        def pending(image: dict[str, Any] | None) -> str | None:
            if image is None or image.get(f"{collection}_state") != "PENDING":
                return None
            return image.get(f"{collection}_delta_prefix")

        address = pending(new)
        if address is not None and pending(old) != address:
            delta = self.deltas.get(address, {})
            self.rows[collection].update(delta)
            self.written.update(((collection, id_), number) for id_ in delta)

    def _overlaid(self, collection: str, id_: str, row: Record) -> Record:
        vector, document, metadata = row
        owned: dict[str, Any] = {}
        statuses: dict[str, list[Any]] = {}
        for (pk, sk), item in self.items.items():
            parts = sk.split("#")
            receipt = f"{pk}#{'#'.join(parts[:2])}"
            if parts[2:] == ["PLACE"] and id_.startswith(receipt + "#"):
                owned |= {key: (item or {}).get(key) for key in PLACE_KEYS}
            if "LABEL" in parts:
                target = f"{pk}#{'#'.join(parts[: 6 if collection == 'words' else 4])}"
                if id_ == target:
                    statuses.setdefault(parts[7], []).append(REMOVED if item is None else item.get("validation_status"))
        for label, given in statuses.items():
            if label != "status":  # the fixed name `label_status` beats a label called `status`
                owned[f"label_{label}"] = self._label(collection, given)
        if statuses:
            owned["label_status"] = self._status(statuses)
        kept = {key: value for key, value in {**metadata, **owned}.items() if value is not None}
        return vector, document, kept

    def _label(self, collection: str, given: list[Any]) -> bool | None:
        if "VALID" in given:
            return True
        return False if collection == "words" and "INVALID" in given else None

    def _status(self, statuses: dict[str, list[Any]]) -> str | None:
        given = {status for all_of in statuses.values() for status in all_of} - {REMOVED}
        if not given:
            return None
        if "VALID" in given:
            return "validated"
        return "auto_suggested" if "PENDING" in given else "unvalidated"


def typed(records: dict[str, dict[str, Record]]) -> dict[str, Any]:
    """Return the records of collections so that True, 1 and 1.0 differ."""
    return {
        name: {id_: (v, d, {k: (type(x), x) for k, x in m.items()}) for id_, (v, d, m) in rows.items()}
        for name, rows in records.items()
    }
