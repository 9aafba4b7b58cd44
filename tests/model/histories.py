"""Random histories of a receipts table, and the deltas that its runs name."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st

from tests.model.reference import PLACE_KEYS, Record
from tests.support.table import Table

IMAGES = ("IMAGE#a", "IMAGE#b")
RECEIPTS = ("RECEIPT#00001", "RECEIPT#00002")
LINES = ("LINE#00001", "LINE#00002")
WORDS = ("WORD#00001", "WORD#00002")
TAILS = ("", f"#{LINES[0]}", f"#{LINES[0]}#{WORDS[0]}")
LABELS = ("total", "date", "status")
STATUSES = ("VALID", "INVALID", "PENDING", "OTHER", None)


def ids(image: str, collection: str) -> list[str]:
    """Return every id that a record of *image* can have."""
    lines = [f"{image}#{receipt}#{line}" for receipt in RECEIPTS for line in LINES]
    return lines if collection == "lines" else [f"{line}#{word}" for line in lines for word in WORDS]


@st.composite
def delta(draw: st.DrawFn, image: str, collection: str) -> dict[str, Record]:
    """A delta whose metadata holds keys that nobody owns, and stale values of keys that facts may own."""
    chosen = draw(st.sets(st.sampled_from(ids(image, collection)), max_size=6))
    keys = st.sampled_from(["text", "x", "merchant_name", "place_id", "label_total", "label_status"])
    values = st.sampled_from(["old", "", 7, 1.5, True])
    return {
        id_: (
            draw(st.integers(1, 9)),
            draw(st.sampled_from(["a document", None])),
            draw(st.dictionaries(keys, values, max_size=4)),
        )
        for id_ in sorted(chosen)
    }


@st.composite
def deltas(draw: st.DrawFn) -> dict[str, dict[str, Record]]:
    """Two deltas for each image and collection, by address."""
    return {
        f"{image[-1]}{number}/{collection}": draw(delta(image, collection))
        for image in IMAGES
        for number in (1, 2)
        for collection in ("words", "lines")
    }


def _run(draw: st.DrawFn, table: Table, image: str, receipt: str) -> dict[str, Any]:
    sort = f"{receipt}#COMPACTION_RUN#{draw(st.sampled_from(['r1', 'r2']))}"
    item = table.items.get((image, sort))
    kind = draw(st.sampled_from(["put", "put", "status", "retry", "error", "remove"]))
    if item is None or kind == "put":
        number = draw(st.sampled_from("12x"))  # no delta lies at x
        attributes: dict[str, Any] = {}
        for collection in draw(st.sampled_from([("words",), ("lines",), ("words", "lines")])):
            attributes[f"{collection}_delta_prefix"] = f"{image[-1]}{number}/{collection}"
            attributes[f"{collection}_state"] = "PENDING"
        return table.put(image, sort, **attributes)
    if kind == "remove":
        return table.remove(image, sort)
    collection = draw(st.sampled_from(["words", "lines"]))
    change = {
        "status": {f"{collection}_state": "COMPLETED", f"{collection}_merged_vectors": 3},
        "retry": {f"{collection}_state": "PENDING"},
        "error": {f"{collection}_error": "no delta"},
    }[kind]
    return table.update(image, sort, **change)


def _place(draw: st.DrawFn, table: Table, image: str, receipt: str) -> dict[str, Any]:
    key = (image, f"{receipt}#PLACE")
    if key in table.items and draw(st.booleans()):
        return table.remove(*key)
    names = draw(st.sets(st.sampled_from([*PLACE_KEYS, "ignored"]), max_size=3))
    return table.put(*key, **{name: draw(st.sampled_from(["Zoë", "B", "", None, True])) for name in sorted(names)})


def _label(draw: st.DrawFn, table: Table, image: str, receipt: str) -> dict[str, Any]:
    labels = sorted(key for key in table.items if key[0] == image and "LABEL" in key[1])
    if labels and draw(st.booleans()):
        key = draw(st.sampled_from(labels))
        if draw(st.booleans()):
            return table.remove(*key)
    else:
        word = f"{LINES[0]}#{draw(st.sampled_from(WORDS))}"
        key = (image, f"{receipt}#{word}#LABEL#{draw(st.sampled_from(LABELS))}")
    status = draw(st.sampled_from(STATUSES))
    return table.put(*key, **({} if status is None else {"validation_status": status}))


def _entity(draw: st.DrawFn, table: Table, image: str, receipt: str) -> dict[str, Any]:
    key = (image, receipt + draw(st.sampled_from(TAILS)))
    return table.remove(*key) if key in table.items else table.put(*key, text="x")


_KINDS = {"run": _run, "place": _place, "label": _label, "entity": _entity}


@st.composite
def histories(draw: st.DrawFn, max_events: int = 24) -> list[dict[str, Any]]:
    """The stream of a table, in order: inserts, modifications and removals of every rule's items."""
    table = Table()
    for image in IMAGES:
        for receipt in RECEIPTS:
            for tail in TAILS:
                table.put(image, receipt + tail, text="x")  # long before the stream began
    records = []
    for _ in range(draw(st.integers(1, max_events))):
        kind = draw(st.sampled_from(["run", "run", "place", "label", "label", "entity"]))
        image, receipt = draw(st.sampled_from(IMAGES)), draw(st.sampled_from(RECEIPTS))
        records.append(_KINDS[kind](draw, table, image, receipt))
    return records


def kinds(records: list[dict[str, Any]]) -> Counter[str]:
    """Return how many records of each kind there are, as `<item> <event>`."""

    def kind(record: dict[str, Any]) -> str:
        sort = record["dynamodb"]["Keys"]["SK"]["S"]
        for marker in ("COMPACTION_RUN", "PLACE", "LABEL"):
            if marker in sort:
                return marker
        return {2: "RECEIPT", 4: "LINE", 6: "WORD"}[len(sort.split("#"))]

    return Counter(f"{kind(record)} {record['eventName']}" for record in records)
