"""The tasks of a bulk build by their names: JSON in, JSON out, so that any engine can run them.

Each can be run again, at any time and by two at once: what is done stays done, and is found.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chroma_lifecycle.bulk.here import Event, Here, Tell, collection_of, number_of, text_of
from chroma_lifecycle.bulk.job import Input, Job, Request, decode_job, encode_job
from chroma_lifecycle.bulk.reshard_tasks import bring_one, close_shards, put_in_force, reopen_shards, reshard
from chroma_lifecycle.bulk.shards import finish, gather
from chroma_lifecycle.bulk.split import split
from chroma_lifecycle.bulk.work import JOB, Work
from chroma_lifecycle.clock import SYSTEM_CLOCK, new_id
from chroma_lifecycle.deltas.listing import list_data_set
from chroma_lifecycle.deltas.parquet import count_rows
from chroma_lifecycle.deltas.sources import DeltaFile
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.beside import require_never_cut, require_no_shards
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.wiring import create_store, writer


def run_task(event: Event, here: Here, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Run the task that *event* asks for; return what the engine needs to know of it.

    Raises:
        BadInput: There is no such task, or it cannot succeed as it is.
        LifecycleError: As the task.
    """
    tasks = {
        "plan": _plan,
        "split": _split,
        "gather": _gather,
        "build": _build,
        "finish": _finish,
        "reshard": reshard,
        "bring": bring_one,
        "close": close_shards,
        "reopen": reopen_shards,
        "swap": put_in_force,
    }
    task = tasks.get(str(event.get("task")))
    if task is None:
        raise BadInput(f"there is no task {event.get('task')!r}", hint=f"the tasks are {', '.join(tasks)}")
    return task(event, here, tell)


def request_of(event: Event, here: Here) -> Request:
    """Return what the event of a plan asks for.

    Raises:
        BadInput: Something is missing, or is of a wrong kind.
    """
    collection, mapping, space = collection_of(event), here.load(), text_of(event, "space")
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
        text_of(event, "source"),
        number_of(event, "dimension", 1),
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
    request, work = request_of(event, here), here.work(text_of(event, "work"), collection_of(event))
    body = work.read(JOB)
    if body is None:
        store = create_store(here.store, checksums=here.checksums)
        if store.read_head(request.collection) is not None:
            raise already_initialised(request.collection, store)
        (require_never_cut if request.segments else require_no_shards)(store, request.collection)
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
    number = number_of(event, "number", 0, len(job.inputs) - 1)
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
    name = job.names[number_of(event, "number", 0, len(job.names) - 1)]
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
    work = here.work(text_of(event, "work"), collection_of(event))
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
