"""What a file of records says of itself: the digest of its content, and the collection that it was exported from.

In Parquet it stands in the footer, in JSON Lines in the first line, under the same two names. Neither
has to be there: other writers leave both out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from chroma_lifecycle.deltas.metadata import canonical, scalars_of
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.values import Digest, Scalar, parse_collection, parse_digest

FORMAT = 1
DELTA, ORIGIN = "chroma_lifecycle.delta", "chroma_lifecycle.origin"
SPACES = ("cosine", "l2", "ip")

HNSW: Mapping[str, tuple[float, float]] = {
    "ef_construction": (1, 1 << 20),
    "ef_search": (1, 1 << 20),
    "max_neighbors": (2, 1 << 16),
    "resize_factor": (1.0, 100.0),
}
"""The settings of an index that belong to a collection, and what they may be. The others (threads, batches, the
threshold of the queue) belong to the machine that writes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The collection that records were exported from: what a new one needs to be like it.

    Attributes:
        version: Of the collection, when its records were exported.
        metadata: The collection's own; empty if it has none.
        hnsw: Those of its index's settings that are named in `HNSW`.
        chroma: Version of the chromadb that wrote it.
    """

    collection: str
    version: int
    dimension: int
    space: str
    chroma: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    hnsw: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Marks:
    """What a file says of itself.

    Attributes:
        content: Digest of its records, if it promises one.
        origin: The collection that they come from, if it is an export.
    """

    content: Digest | None = None
    origin: Origin | None = None


def encode_marks(count: int, content: Digest, origin: Origin | None) -> dict[str, dict[str, object]]:
    """Return what a file says of its *count* records, by the names under which it says so."""
    marks: dict[str, dict[str, object]] = {DELTA: {"format": FORMAT, "count": count, "content": content}}
    if origin is not None:
        marks[ORIGIN] = {"format": FORMAT, **asdict(origin)}
    return marks


def decode_marks(found: Mapping[str, object], subject: str) -> Marks:
    """Return what a file says of itself, by what stands under the names.

    Raises:
        BadInput: It was written by a newer release, or is damaged.
    """
    content = origin = None
    if (delta := _mark(found, DELTA, subject)) is not None:
        try:
            content = parse_digest(delta.get("content"))
        except ValueError as problem:
            raise _damaged(subject) from problem
    if (told := _mark(found, ORIGIN, subject)) is not None:
        try:
            origin = _origin(told)
        except (TypeError, ValueError, KeyError) as problem:
            raise _damaged(subject) from problem
    return Marks(content, origin)


def texts_of_footer(footer: Mapping[bytes, bytes] | None, subject: str) -> dict[str, object]:
    """Return the values of a Parquet footer that are ours.

    Raises:
        BadInput: They are damaged.
    """
    ours = {name: text for name in (DELTA, ORIGIN) if (text := (footer or {}).get(name.encode())) is not None}
    try:
        return {name: parse_json(text.decode()) for name, text in ours.items()}
    except ValueError as problem:
        raise _damaged(subject) from problem


def footer_of(marks: Mapping[str, object]) -> dict[bytes, bytes]:
    """Return what goes into a Parquet footer."""
    return {name.encode(): json.dumps(value).encode() for name, value in marks.items()}


def _mark(found: Mapping[str, object], name: str, subject: str) -> dict[str, object] | None:
    if name not in found:
        return None
    mark = found[name]
    written = mark.get("format") if isinstance(mark, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise BadInput(
            f"{subject} has format {written} of deltas; this release knows {FORMAT}",
            hint="update the compactor before the jobs that write deltas",
        )
    if not isinstance(mark, dict) or written != FORMAT:
        raise _damaged(subject)
    return mark


def _origin(told: dict[str, object]) -> Origin:
    hnsw, metadata = told["hnsw"], told["metadata"]
    if not isinstance(hnsw, dict) or not all(_is_setting(name, value) for name, value in hnsw.items()):
        raise ValueError("the settings of an index are none")
    if told["space"] not in SPACES:
        raise ValueError("there is no such space")
    return Origin(
        collection=parse_collection(str(told["collection"])),
        version=_whole(told["version"]),
        dimension=_whole(told["dimension"]),
        space=str(told["space"]),
        chroma=str(told["chroma"])[:64],
        metadata=own_metadata(metadata),
        hnsw=hnsw,
    )


def own_metadata(raw: object) -> dict[str, Scalar]:
    """Return the metadata of a collection, checked as that of a record is.

    Raises:
        ValueError: What is wrong, with the key.
    """
    metadata = scalars_of(raw)
    if len(canonical(metadata)) > MAX_BYTES:
        raise ValueError(f"the collection's metadata has more than {MAX_BYTES:,} bytes")
    return metadata


MAX_BYTES = 64 * 1024


def _is_setting(name: object, value: object) -> bool:
    if name not in HNSW or isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    least, most = HNSW[str(name)]
    return least <= value <= most and (name == "resize_factor" or isinstance(value, int))


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("it is no number from 1 on")
    return value


def _damaged(subject: str) -> BadInput:
    return BadInput(
        f"{subject}: what the file says of itself is damaged", hint="write the delta again, under a new address"
    )
