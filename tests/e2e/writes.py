"""Ten thousand writes to a receipts table, the same at every run: runs, labels, places, removals, returns."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from tests.model.reference import Record

Key = tuple[str, str]
Write = tuple[Key, dict[str, Any] | None]
"""An item's key, and its attributes; without them it is removed."""

IMAGES = [f"IMAGE#{number}" for number in range(8)]
RECEIPTS = [f"RECEIPT#{number:05d}" for number in (1, 2)]
LINES = [f"LINE#{number:05d}" for number in range(1, 6)]
WORDS = [f"WORD#{number:05d}" for number in range(1, 6)]
RUNS = ["r1", "r2", "r3"]
LABELS = ["total", "date", "merchant", "tax", "status"]
STATUSES = ["VALID", "INVALID", "PENDING", "OTHER"]
BATCH = 25


def entities() -> list[Key]:
    """Return the keys of every receipt, line and word."""
    receipts = [(image, receipt) for image in IMAGES for receipt in RECEIPTS]
    lines = [(image, f"{receipt}#{line}") for image, receipt in receipts for line in LINES]
    return [*receipts, *lines, *((image, f"{line}#{word}") for image, line in lines for word in WORDS)]


def deltas() -> dict[str, dict[str, Record]]:
    """Return what each run brings, by address; no metadata key of it is owned by an item."""
    chance, made = random.Random(1), {}
    for image in IMAGES:
        for receipt in RECEIPTS:
            for number, run in enumerate(RUNS, 1):
                for collection, depth in (("words", 6), ("lines", 4)):
                    below = [key for key in entities() if key[0] == image and key[1].startswith(receipt)]
                    ids = [f"{pk}#{sk}" for pk, sk in below if sk.count("#") + 1 == depth]
                    made[f"{image[6:]}-{receipt[-1]}-{run}-{collection}"] = {
                        id_: (number, f"text of {run}", {"run": run, "n": chance.randint(1, 9)})
                        for id_ in ids
                        if chance.random() < 0.7
                    }
    return made


DELTAS = deltas()


def writes(count: int) -> Iterator[Write]:
    """Yield *count* writes."""
    chance = random.Random(2)
    begun = [(key, {"text": "x"}) for key in entities()]
    yield from begun[:count]
    kinds = random.Random(3).choices(
        ["label", "unlabel", "place", "displace", "run", "remove", "return"],
        [70, 8, 8, 2, 3, 3, 6],
        k=max(0, count - len(begun)),
    )
    yield from (_one(chance, kind) for kind in kinds)


def _one(chance: random.Random, kind: str) -> Write:
    image, entity = chance.choice(entities())
    receipt = entity[: len(RECEIPTS[0])]
    word = f"{receipt}#{chance.choice(LINES)}#{chance.choice(WORDS)}"
    match kind:
        case "label" | "unlabel":
            key = (image, f"{word}#LABEL#{chance.choice(LABELS)}")
            return key, None if kind == "unlabel" else {"validation_status": chance.choice(STATUSES)}
        case "place" | "displace":
            place = {"merchant_name": chance.choice("abc"), "place_id": chance.choice("xyz")}
            return (image, f"{receipt}#PLACE"), None if kind == "displace" else place
        case "run":
            run = chance.choice(RUNS)
            address = f"{image[6:]}-{receipt[-1]}-{run}"
            attributes = {f"{name}_delta_prefix": f"{address}-{name}.parquet" for name in ("words", "lines")}
            states = {f"{name}_state": "PENDING" for name in ("words", "lines")}
            return (image, f"{receipt}#COMPACTION_RUN#{run}"), {**attributes, **states}
        case _:
            return (image, entity), None if kind == "remove" else {"text": "x"}


def distinct(every: Iterable[Write]) -> Iterator[list[Write]]:
    """Yield them in batches in which no key comes twice, as BatchWriteItem wants it."""
    batch: list[Write] = []
    keys: set[Key] = set()
    for write in every:
        if len(batch) == BATCH or write[0] in keys:
            yield batch
            batch, keys = [], set()
        batch.append(write)
        keys.add(write[0])
    if batch:
        yield batch
