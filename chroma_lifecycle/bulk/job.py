"""What a bulk build is to make: the same for all its tasks, whoever runs them, however often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.publishing.layout import Layout, even_layout
from chroma_lifecycle.publishing.shard import shard_name
from chroma_lifecycle.slots import MOST_SHARDS
from chroma_lifecycle.snapshot.details import SPACES
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json
from chroma_lifecycle.values import Digest, digest_of, parse_collection, parse_digest, parse_id

FORMAT = "chroma-lifecycle-bulk-job"
FORMAT_VERSION = 1
MOST_INPUTS = 10_000

_LARGEST = 1 << 53
_MOST_DIMENSION = 65_536
_MOST_SEGMENTS = 64
_LONGEST_TEXT = 2_048


@dataclass(frozen=True, slots=True)
class Input:
    """A file of the data set.

    Attributes:
        name: Below the data set's address; empty if the address is this file.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Attributes:
        source: Address of the data set: ``s3://bucket/prefix`` or a path.
        segments: How many segments at the beginning of an id decide its shard; 0 if the collection is
            not in shards.
        mapping: Digest of the mapping under which changes will follow, if it is known.
    """

    collection: str
    source: str
    dimension: int
    space: str
    shards: int
    segments: int
    mapping: Digest | None


@dataclass(frozen=True, slots=True)
class Job:
    """A build that was begun.

    Attributes:
        id: Random; the lineages of what is built follow from it, so a shard that a task before this one
            has published is known by its HEAD.
        inputs: The files of the data set when the job began, in order of name.
    """

    id: str
    request: Request
    inputs: tuple[Input, ...]

    @property
    def names(self) -> list[str]:
        """The name of each lineage that is built."""
        whole = self.request
        if not whole.segments:
            return [whole.collection]
        return [shard_name(whole.collection, 1, number) for number in range(whole.shards)]

    def lineage(self, name: str) -> str:
        """Return what the lineage of this name will be."""
        return digest_of(f"{self.id} {name}".encode())[:16]

    def layout(self, swap_id: str, written_at: datetime, writer: str) -> Layout:
        """Return the layout that names what is built, of a collection in shards."""
        lineages = [self.lineage(name) for name in self.names]
        return even_layout(
            self.request.collection,
            lineages,
            segments=self.request.segments,
            swap_id=swap_id,
            written_at=written_at,
            writer=writer,
        )

    def numbers_of(self, ids: Sequence[str]) -> list[int]:
        """Return the number of the shard of each record."""
        if not self.request.segments:
            return [0] * len(ids)
        layout = self.layout(self.id, datetime.fromtimestamp(0, UTC), "job")
        numbers = {shard.name: number for number, shard in enumerate(layout.shards)}
        return [numbers[layout.shard_of(record_id).name] for record_id in ids]

    def require(self, request: Request, place: str) -> None:
        """Refuse to go on with this job, which is written down at *place*, where another one is asked for.

        Raises:
            BadInput: It is another one.
        """
        differing = [name for name in Request.__slots__ if getattr(self.request, name) != getattr(request, name)]
        if differing:
            raise BadInput(
                f"a build of {self.request.collection} was begun with another {', '.join(differing)} in {place}",
                hint=f"go on with what it was begun with; to give that one up, remove {place}; or give the new one a "
                "place of its own: --work",
            )


def encode_job(job: Job) -> bytes:
    """Return the bytes of *job*."""
    request = job.request
    return canonical(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "id": job.id,
            "collection": request.collection,
            "source": request.source,
            "dimension": request.dimension,
            "space": request.space,
            "shards": request.shards,
            "segments": request.segments,
            "mapping": request.mapping,
            "inputs": [{"name": each.name, "size": each.size} for each in job.inputs],
        }
    )


def decode_job(body: bytes) -> Job:
    """Return the job that *body* holds.

    Raises:
        Corrupt: It is none.
    """
    where = "the job"
    fields = Fields(parse_json(body, where), where)
    try:
        return _decode(fields)
    except ValueError as problem:
        raise Corrupt(f"{where} is damaged: {problem}", hint="begin again with another --work") from problem


def _decode(fields: Fields) -> Job:
    if fields.text("format", longest=40) != FORMAT:
        raise ValueError("it has another format")
    fields.integer("format_version", 1, FORMAT_VERSION)
    space = fields.text("space", longest=16)
    if space not in SPACES:
        raise ValueError(f"there is no space {space!r}")
    job = Job(
        fields.parsed("id", parse_id),
        Request(
            fields.parsed("collection", parse_collection),
            fields.text("source", longest=_LONGEST_TEXT),
            fields.integer("dimension", 1, _MOST_DIMENSION),
            space,
            fields.integer("shards", 1, MOST_SHARDS),
            fields.integer("segments", 0, _MOST_SEGMENTS),
            fields.parsed("mapping", lambda text: None if text is None else parse_digest(text)),
        ),
        tuple(map(_decode_input, fields.objects("inputs", limit=MOST_INPUTS))),
    )
    fields.done()
    return job


def _decode_input(fields: Fields) -> Input:
    found = Input(fields.text("name", longest=_LONGEST_TEXT), fields.integer("size", 0, _LARGEST))
    fields.done()
    return found
