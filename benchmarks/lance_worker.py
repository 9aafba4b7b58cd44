"""LanceDB, in a process of its own environment: answers one line of JSON for each line that it reads.

It imports nothing of this project. Run by ``benchmarks.opponents``.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import BTree

LABELS = ("label_total", "label_date", "label_item", "label_address")


class Worker:
    """Holds what a warm container would hold: the open table of each server."""

    def __init__(self) -> None:
        self._uri = ""
        self._tables: dict[str, Any] = {}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        match question.pop("do"):
            case "version":
                return {"version": version("lancedb")}
            case "fill":
                return self.fill(**question)
            case "update":
                return self.update(**question)
            case other:
                raise ValueError(other)

    def fill(self, url: str, uri: str, vectors: str, columns: str) -> dict[str, Any]:
        """Make the table, with an index on the id, which is what makes `merge_insert` fast."""
        self._uri = uri
        numbers = np.load(vectors)
        with open(columns) as file:  # noqa: PTH123
            rows = json.load(file)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), numbers.shape[1])
        table = pa.table({"vector": flat, **{name: pa.array(values) for name, values in rows.items()}})
        for label in LABELS:
            table = table.append_column(label, pa.nulls(len(table), pa.bool_()))
        made = self._connect(url).create_table("words", table)
        made.create_index("id", config=BTree())
        return {"rows": made.count_rows()}

    def update(self, url: str, ids: list[str], values: list[dict[str, bool]]) -> dict[str, Any]:
        """Set one label of some rows: id and label are all that is sent."""
        if url not in self._tables:
            self._tables[url] = self._connect(url).open_table("words")
        table = self._tables[url]
        (label,) = values[0]
        change = pa.table({"id": pa.array(ids), label: pa.array([value[label] for value in values])})
        began = time.perf_counter()
        table.checkout_latest()
        table.merge_insert("id").when_matched_update_all().execute(change)
        return {"seconds": time.perf_counter() - began}

    def _connect(self, url: str) -> Any:
        options = {
            "endpoint": url,
            "allow_http": "true",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "aws_region": "us-east-1",
        }
        return lancedb.connect(self._uri, storage_options=options)


def main() -> None:
    """Answer until the input ends."""
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as problem:  # noqa: BLE001 - whatever it is, the other side tells it
            answer = {"problem": repr(problem)[:2_000]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
