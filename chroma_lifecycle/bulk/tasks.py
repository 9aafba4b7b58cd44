"""The tasks of a bulk build by their names: JSON in, JSON out, so that any engine can run them.

Each can be run again, at any time and by two at once: what is done stays done, and is found.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chroma_lifecycle.bulk.job import Input, Job, Request, decode_job, encode_job
from chroma_lifecycle.bulk.shards import finish, gather, in_force
from chroma_lifecycle.bulk.split import split
from chroma_lifecycle.bulk.work import JOB, Work
from chroma_lifecycle.clock import SYSTEM_CLOCK, new_id
from chroma_lifecycle.config import Checksums
from chroma_lifecycle.deltas.listing import list_data_set
from chroma_lifecycle.deltas.parquet import count_rows
from chroma_lifecycle.deltas.sources import DeltaFile, RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import parse_collection
from chroma_lifecycle.wiring import BUCKET, create_store, open_deliveries, open_delta_at, open_deltas, writer

Event = Mapping[str, Any]
"""What a task is given by its engine."""

Tell = Callable[[int], None]

_WHAT = "see docs/bulk.md for what a task takes"
# No collection's name begins with a dot.
_TASKS = ".bulk/tasks"
WORK = ".bulk/work"
"""Below the workspace: where tasks of one machine meet, if nobody names another place."""


@dataclass(frozen=True, slots=True)
class Here:
    """What every task is told by the machine that it runs on.

    Attributes:
        store: Where versions go.
        workspace: Local directory in which tasks work, each below a name of its own.
        mapping: Says which ids fit, and the shards; ``None`` for a collection without a mapping.
        tail_budget: Vector operations that a reader may have to replay.
    """

    store: str
    workspace: Path
    mapping: str | None
    tail_budget: int
    checksums: Checksums | None = None

    def fits(self, collection: str) -> Callable[[str], bool]:
        """Return what tells whether an id may be one of the collection's."""
        mapping = self.load()
        return partial(mapping.fits, collection) if mapping and collection in mapping.collections else bool

    def load(self) -> TableMapping | None:
        """Return the mapping, if there is one."""
        return load_mapping(self.mapping) if self.mapping else None

    def work(self, address: str, collection: str) -> Work:
        """Return where the tasks of a job meet; a directory is made if it is not there."""
        if not address.startswith(BUCKET):
            Path(address).mkdir(parents=True, exist_ok=True)
        deltas = open_deltas((address,), address, checksums=self.checksums)
        return Work(collection, deltas, open_deliveries(address, checksums=self.checksums))

    def data_set(self, address: str) -> tuple[str, RootedDeltas]:
        """Return the data set's address below a root, and what reads there."""
        return open_delta_at(address.rstrip("/"), checksums=self.checksums)

    @contextmanager
    def workspaces(self, name: str) -> Iterator[Workspace]:
        """Give the workspace of a task; nothing of it is left afterwards.

        Raises:
            NotOwned: Another one does the same just now.
        """
        with ExitStack() as stack:
            workspace = Workspace.open(self.workspace / _TASKS / name)
            stack.callback(workspace.discard)
            yield workspace


def run_task(event: Event, here: Here, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Run the task that *event* asks for; return what the engine needs to know of it.

    Raises:
        BadInput: There is no such task, or it cannot succeed as it is.
        LifecycleError: As the task.
    """
    tasks = {"plan": _plan, "split": _split, "gather": _gather, "build": _build, "finish": _finish}
    task = tasks.get(str(event.get("task")))
    if task is None:
        raise BadInput(f"there is no task {event.get('task')!r}", hint=f"the tasks are {', '.join(tasks)}")
    return task(event, here, tell)


def request_of(event: Event, here: Here) -> Request:
    """Return what the event of a plan asks for.

    Raises:
        BadInput: Something is missing, or is of a wrong kind.
    """
    collection, mapping, space = _collection(event), here.load(), _text(event, "space")
    if space not in ("cosine", "l2", "ip"):
        raise BadInput(f"there is no space {space!r}", hint="the spaces are cosine, l2, ip")
    known = mapping is not None and collection in mapping.collections
    in_shards = mapping is not None and collection in mapping.shards
    if mapping is not None and not known:
        raise BadInput(
            f"the mapping has no collection {collection!r}; it has {', '.join(mapping.collections)}",
            hint="name one of them, or correct the mapping",
        )
    return Request(
        collection,
        _text(event, "source"),
        _number(event, "dimension", 1),
        space,
        mapping.shards[collection] if mapping and in_shards else 1,
        len(mapping.routing(collection).segments) if mapping and in_shards else 0,
        mapping.digest if mapping else None,
    )


def inputs_of(request: Request, here: Here) -> tuple[Input, ...]:
    """Return the files of the data set.

    Raises:
        BadInput: There is none, or something else.
    """
    address, deltas = here.data_set(request.source)
    return tuple(Input(file.name, file.size) for file in list_data_set(address, deltas))


def estimated_records(request: Request, inputs: Sequence[Input], here: Here) -> int:
    """Return about how many records the data set holds, by the rows of its smallest file and all sizes."""
    smallest = min(inputs, key=lambda each: each.size)
    address, deltas = here.data_set(request.source)
    place, source = deltas.locate(f"{address}/{smallest.name}" if smallest.name else address)
    with TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        file = Path(scratch) / "file"
        source.fetch(place, DeltaFile("", smallest.size), file)
        rows = count_rows(file, f"data set {address!r}, file {smallest.name}")
    return rows * sum(each.size for each in inputs) // max(1, smallest.size)


def planned(event: Event, here: Here) -> Job:
    """Return the job that *event* asks for, begun now or before.

    Raises:
        BadInput: Another job was begun there, or the store has the collection already.
    """
    request, work = request_of(event, here), here.work(_text(event, "work"), _collection(event))
    body = work.read(JOB)
    if body is None:
        store = create_store(here.store, checksums=here.checksums)
        if store.read_head(request.collection) is not None:
            raise in_force(request.collection, store)
        work.put_bytes(JOB, encode_job(Job(new_id(), request, inputs_of(request, here))))
        body = work.read(JOB)  # another one may have come first
        assert body is not None
    job = decode_job(body)
    job.require(request, work.address)
    return job


def _plan(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    job = planned(event, here)
    return {"inputs": list(range(len(job.inputs))), "shards": list(range(len(job.names)))}


def _split(event: Event, here: Here, tell: Tell) -> dict[str, Any]:
    work, job = _begun(event, here)
    number = _number(event, "number", 0, len(job.inputs) - 1)
    collection, known = job.request.collection, job.inputs[number]
    address, deltas = here.data_set(job.request.source)
    with here.workspaces(f"{collection}.split-{number}") as workspace, workspace.blank() as scratch:
        where = f"{address}/{known.name}" if known.name else address
        found = split(job, number, work, deltas, where, here.fits(collection), scratch)
    tell(known.size)
    return {"number": number, "records": sum(found.records.values()), "already": found.already}


def _gather(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    work, job = _begun(event, here)
    return {"records": sum(gather(job, work).values())}


def _build(event: Event, here: Here, tell: Tell) -> dict[str, Any]:
    from chroma_lifecycle.bulk.build import build  # imports chromadb, which takes seconds
    from chroma_lifecycle.lifecycle import Beginning  # as above

    work, job = _begun(event, here)
    name = job.names[_number(event, "number", 0, len(job.names) - 1)]
    store = create_store(here.store, checksums=here.checksums)
    with here.workspaces(name) as workspace:
        beginning = Beginning(name, job.request.mapping, store, workspace, SYSTEM_CLOCK, writer())
        fits = here.fits(job.request.collection)
        built = build(job, event["number"], work, beginning, fits, tail_budget=here.tail_budget, tell=tell)
    return {**asdict(built), "number": event["number"], "peak_bytes": _peak_bytes()}


def _finish(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    work, job = _begun(event, here)
    store = create_store(here.store, checksums=here.checksums)
    return {"shards": [asdict(built) for built in finish(job, work, store, writer())]}


def _begun(event: Event, here: Here) -> tuple[Work, Job]:
    work = here.work(_text(event, "work"), _collection(event))
    body = work.read(JOB)
    if body is None:
        raise BadInput(
            f"no build of {work.collection} was begun in {event['work']!r}", hint="run the task 'plan' before"
        )
    return work, decode_job(body)


def _peak_bytes() -> int:
    """Return the most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _collection(event: Event) -> str:
    try:
        return parse_collection(event.get("collection"))
    except ValueError as problem:
        raise BadInput(f"the task's collection: {problem}", hint="correct the name") from problem


def _text(event: Event, name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(
            f"the task's {name!r} must be text, got {value!r}", hint="see docs/bulk.md for what a task takes"
        )
    return value


def _number(event: Event, name: str, lowest: int, highest: int = 65_536) -> int:
    value = event.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise BadInput(
            f"the task's {name!r} must be a whole number from {lowest} to {highest}, got {value!r}",
            hint=_WHAT,
        )
    return value
