"""What the demo tells: a table of Debian packages, and the events that its changes make.

Everything here is plain data and the same at every call. :class:`Archive` plays the DynamoDB table: each
write returns the stream record that DynamoDB would emit. :func:`through_queue` and :func:`from_stream` put
records into the events that Lambda receives. A duplicate is a record that is sent again; a straggler is a
record that is sent after a newer one of the same item; :func:`poison` is a message that nobody can read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chroma_lifecycle.deltas.writer import DeltaWriter

HERE = Path(__file__).parent
MAPPING = HERE / "mapping.yaml"
COLLECTION = "packages"
DIMENSION = 384
RELEASE = "bookworm"
PARTITION = f"ARCHIVE#{RELEASE}"

STREAM = "arn:aws:dynamodb:eu-central-1:123456789012:table/archive/stream/2026-01-01T00:00:00.000"
QUEUE = "arn:aws:sqs:eu-central-1:123456789012:changes"
_FIRST_SEQUENCE = 100_000_000_000_000_000_000
_FIRST_SECOND = 1_767_225_600  # 2026-01-01T00:00:00Z

Json = dict[str, Any]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Package:
    """One Debian package: what the archive says of it, and the vector of its description."""

    package: str
    source: str
    version: str
    section: str
    maintainer: str
    installed_kib: int
    summary: str
    description: str
    tags: tuple[str, ...]
    embedding: Vector

    @property
    def record_id(self) -> str:
        """Id of its record in the collection."""
        return record_id(self.package)

    @property
    def document(self) -> str:
        """The text that was embedded."""
        return f"{self.summary}\n{self.description}"


def record_id(package: str) -> str:
    """Return the id of a package's record in the collection."""
    return f"{PARTITION}#PACKAGE#{package}"


def packages() -> list[Package]:
    """Return the two thousand packages, sorted by name."""
    rows = pq.read_table(HERE / "packages.parquet")
    vectors = _vectors(rows)
    fields = rows.drop_columns(["embedding"]).to_pylist()
    return [
        Package(**{**each, "tags": tuple(each["tags"])}, embedding=vector)
        for each, vector in zip(fields, vectors, strict=True)
    ]


def queries() -> dict[str, Vector]:
    """Return sentences and their vectors, made by the same model as the packages' vectors."""
    rows = pq.read_table(HERE / "queries.parquet")
    return dict(zip(rows["text"].to_pylist(), _vectors(rows), strict=True))


def write_delta(path: Path, chosen: Iterable[Package]) -> Path:
    """Write the packages as a delta, as an embedding job would: one Parquet file, one row for each record."""
    rows = list(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    with DeltaWriter(path, dimension=DIMENSION) as writer:
        writer.add(
            [each.record_id for each in rows],
            np.stack([each.embedding for each in rows]),
            [each.document for each in rows],
            [{"name": each.package, "version": each.version, "summary": each.summary} for each in rows],
        )
    return path


class Archive:
    """The table: items by sort key, all in the partition of one release. Every write returns its stream record."""

    def __init__(self) -> None:
        self.items: dict[str, Json] = {}
        self._writes = 0

    def begin_run(self, run_id: str, delta: str) -> Json:
        """Announce a delta: INSERT of a run item that is PENDING."""
        return self.put(f"RUN#{run_id}", delta=delta, state="PENDING")

    def list_package(self, package: Package, **changed: str | int) -> Json:
        """Write the package's item: its section, maintainer and size, or what is *changed* of them."""
        attributes: dict[str, str | int] = {
            "section": package.section,
            "maintainer": package.maintainer,
            "installed_kib": package.installed_kib,
        }
        return self.put(f"PACKAGE#{package.package}", **{**attributes, **changed})

    def review_tag(self, package: str, tag: str, review: str = "accepted") -> Json:
        """Write a tag of a package: ``accepted``, ``rejected`` or ``proposed``."""
        return self.put(f"PACKAGE#{package}#TAG#{tag}", review=review)

    def drop_tag(self, package: str, tag: str) -> Json:
        """Remove a tag of a package."""
        return self.remove(f"PACKAGE#{package}#TAG#{tag}")

    def remove_package(self, package: str) -> Json:
        """Remove the package's item; its tags stay behind, as children often do."""
        return self.remove(f"PACKAGE#{package}")

    def put(self, sort_key: str, **attributes: str | int) -> Json:
        """Write a whole item: INSERT, or MODIFY where it is there already."""
        old = self.items.get(sort_key)
        self.items[sort_key] = {name: _attribute(value) for name, value in attributes.items()}
        return self._record("INSERT" if old is None else "MODIFY", sort_key, old)

    def remove(self, sort_key: str) -> Json:
        """Remove an item that is there: REMOVE."""
        return self._record("REMOVE", sort_key, self.items.pop(sort_key))

    def _record(self, event: str, sort_key: str, old: Json | None) -> Json:
        self._writes += 1
        sequence = str(_FIRST_SEQUENCE + self._writes)
        keys = {"PK": {"S": PARTITION}, "SK": {"S": sort_key}}
        images = {"NewImage": self.items.get(sort_key), "OldImage": old}
        return {
            "eventID": hashlib.md5(sequence.encode(), usedforsecurity=False).hexdigest(),
            "eventName": event,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": _FIRST_SECOND + self._writes,
                "Keys": keys,
                **{name: {**keys, **image} for name, image in images.items() if image is not None},
                "SequenceNumber": sequence,
                "SizeBytes": len(json.dumps(images)),
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": STREAM,
        }


def poison() -> str:
    """Return the body of a message that was cut off on its way: JSON that ends too early."""
    return '{"eventID": "0", "eventName": "MODIFY", "dynamodb": {"Keys": {"PK"'


def through_queue(bodies: Iterable[Mapping[str, Any] | str]) -> Json:
    """Return the event of an SQS batch, one message for each stream record, as EventBridge Pipes writes them.

    Text goes in as it is. The message id of a body depends on its place and content alone.
    """
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return {"Records": [_message(number, text) for number, text in enumerate(texts)]}


def from_stream(records: Iterable[Json]) -> Json:
    """Return the event that Lambda gets directly from a DynamoDB stream."""
    return {"Records": list(records)}


def _message(number: int, body: str) -> Json:
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {
        "messageId": f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{number:012d}",
        "receiptHandle": f"handle-{number}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": f"{_FIRST_SECOND}000",
            "SenderId": "AROAEXAMPLE:pipe",
            "ApproximateFirstReceiveTimestamp": f"{_FIRST_SECOND}000",
        },
        "messageAttributes": {},
        "md5OfBody": digest,
        "eventSource": "aws:sqs",
        "eventSourceARN": QUEUE,
        "awsRegion": "eu-central-1",
    }


def _attribute(value: str | int) -> Json:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _vectors(rows: pa.Table) -> Vector:
    flat = rows["embedding"].combine_chunks().flatten().to_numpy()
    return cast(Vector, flat.reshape(rows.num_rows, DIMENSION))
