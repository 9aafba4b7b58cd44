"""The task for one input: every record of it checked, and laid down by shard.

Arrow's dataset writer does the dividing; what comes out is a delta for each shard, which `build` reads
like any other. So no task reads more than its own records, however many shards there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from chroma_lifecycle.bulk.job import Input, Job
from chroma_lifecycle.bulk.work import Work
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.disk import require_room, writing
from chroma_lifecycle.deltas.model import GROUP_ROWS, Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.records import SCHEMA, read_batches
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten

# The writer holds an unfinished group of rows for each shard.
_WAITING_BYTES = 256 << 20
_SHARD = "shard"


@dataclass(frozen=True, slots=True)
class Split:
    """What an input holds.

    Attributes:
        records: By the number of the shard; those without any are left out.
        already: Whether a task before this one had done it.
    """

    digest: str
    records: dict[int, int]
    already: bool = False


def receipt_name(number: int) -> str:
    """Return the name below which it is noted that an input is done."""
    return f"split/{number}.json"


def read_receipt(work: Work, number: int) -> Split | None:
    """Return what is known of an input that is done."""
    found = work.read_json(receipt_name(number))
    if found is None:
        return None
    return Split(found["digest"], {int(shard): count for shard, count in found["records"].items()}, already=True)


def split(
    job: Job, number: int, work: Work, deltas: RootedDeltas, address: str, fits: Callable[[str], bool], scratch: Path
) -> Split:
    """Check the records of an input, and store those of each shard.

    What is stored does not depend on who does it, or how often; the receipt comes last.

    Args:
        job: Whose.
        number: Of the input.
        work: Where the records go.
        deltas: Read the data set.
        address: Of the input below the root of *deltas*.
        fits: Whether an id may be one of the collection's.
        scratch: An empty directory on the local disk.

    Raises:
        BadInput: A record cannot be taken, or the input is not what it was when the job began.
        StoreUnavailable, NoRoom: It can be tried again.
    """
    if (done := read_receipt(work, number)) is not None:
        return done
    _require_same(job.inputs[number], address, deltas)
    expected = Expectation(job.request.collection, job.request.dimension, None, fits, job.request.space)
    delta = open_delta(address, deltas, scratch, expected)
    require_room(scratch, delta.path.stat().st_size, f"dividing {address!r}")
    counts: Counter[int] = Counter()
    parts = scratch / "parts"
    with writing(parts):
        _divide(delta, job, parts, counts)
    for shard in sorted(counts):
        for at, part in enumerate(sorted((parts / str(shard)).iterdir())):
            work.put(f"shards/{shard}/{number:05}-{at}-{delta.digest[:16]}.parquet", part)
    found = Split(delta.digest, dict(counts))
    work.put_json(
        receipt_name(number),
        {"digest": found.digest, "records": {str(shard): count for shard, count in found.records.items()}},
    )
    return found


def _require_same(known: Input, address: str, deltas: RootedDeltas) -> None:
    place, source = deltas.locate(address)
    sizes = [file.size for file in source.list(place) if not file.name]
    if sizes != [known.size]:
        what = "is gone" if not sizes else "has another size"
        raise BadInput(
            f"input {shorten(known.name or address)} {what} since the build began",
            hint="a data set stays as it is until the build is done; for another one, begin again with another --work",
        )


def _divide(delta: Delta, job: Job, to: Path, counts: Counter[int]) -> None:
    """Write the records of *delta* below *to*: a directory for each shard, by its number."""
    schema = SCHEMA.append(pa.field(_SHARD, pa.int16()))
    average = max(1, delta.path.stat().st_size // max(1, len(delta.ids)))
    rows = max(1, min(GROUP_ROWS, _WAITING_BYTES // (average * len(job.names))))
    form = ds.ParquetFileFormat()
    ds.write_dataset(
        _numbered(delta, job, counts),
        to,
        schema=schema,
        format=form,
        file_options=form.make_write_options(
            compression="zstd", use_dictionary=False, write_statistics=False, write_page_checksum=True
        ),
        partitioning=ds.partitioning(pa.schema([(_SHARD, pa.int16())])),
        basename_template="{i}.parquet",
        use_threads=False,
        max_open_files=2 * len(job.names),
        min_rows_per_group=rows,
        max_rows_per_group=GROUP_ROWS,
    )


def _numbered(delta: Delta, job: Job, counts: Counter[int]) -> Iterator[Any]:
    for batch in read_batches(delta.path, GROUP_ROWS):
        numbers = job.numbers_of(batch.column("id").to_pylist())
        counts.update(numbers)
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, pa.array(numbers, pa.int16())], names=[*batch.schema.names, _SHARD]
        ).cast(SCHEMA.append(pa.field(_SHARD, pa.int16())))
