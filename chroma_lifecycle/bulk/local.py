"""The engine on this machine: the tasks of a job in processes, as `concurrent.futures` runs them.

It starts each task once and waits for all of them; who runs the same job again goes on with what is
left. Processes are spawned, never forked (a forked Chroma hangs), and end with the one that started them.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from multiprocessing.connection import wait as wait_for_any
from typing import Any

from chroma_lifecycle.bulk.here import Event, Here
from chroma_lifecycle.bulk.job import Job
from chroma_lifecycle.bulk.tasks import planned, run_task
from chroma_lifecycle.errors import LifecycleError, Retryable

_POLL_SECONDS = 0.5
_done: Any = None

Show = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Begins to show a phase; gives what is to be told how much of it is done, and of how much."""


def run_job(event: Event, here: Here, workers: int, show: Show) -> tuple[Job, list[dict[str, Any]]]:
    """Build what the event of a plan asks for; return the job, and what each shard's task said.

    Raises:
        LifecycleError: A task failed: the first one's problem. The others went on to their ends.
    """
    job = planned(event, here)
    what = {"collection": job.request.collection, "work": event["work"]}
    sizes = sum(each.size for each in job.inputs)
    splits = [{**what, "task": "split", "number": number} for number in range(len(job.inputs))]
    with show("checking and dividing the data set") as tell:
        in_processes(splits, here, workers, lambda done: tell(done, sizes))
    records = run_task({**what, "task": "gather"}, here)["records"]
    builds = [{**what, "task": "build", "number": number} for number in range(len(job.names))]
    with show(f"building {job.request.collection}, {records:,} records") as tell:
        # A process for each shard: what Chroma held for the last one is gone.
        built = in_processes(builds, here, workers, lambda done: tell(done, records), tasks_of_a_process=1)
    run_task({**what, "task": "finish"}, here)
    return job, built


def in_processes(
    events: Sequence[Event],
    here: Here,
    workers: int,
    tell: Callable[[int], None],
    tasks_of_a_process: int | None = None,
) -> list[dict[str, Any]]:
    """Run a task for each of *events*; return what they said.

    Args:
        events: Of tasks that have nothing to do with one another.
        here: This machine.
        workers: Processes at once.
        tell: Is told again and again how much all of them have done.
        tasks_of_a_process: After so many another process is started; by default it does any number.

    Raises:
        LifecycleError: A task failed: the first one's problem. The others went on to their ends.
    """
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(
        min(workers, len(events)), context, _begin, (counter,), max_tasks_per_child=tasks_of_a_process
    ) as pool:
        futures = [pool.submit(_task, dict(event), here) for event in events]
        waiting: set[Future[dict[str, Any]]] = set(futures)
        try:
            while waiting:
                _, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                tell(counter.value)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _raise_first(events, futures)
    return [future.result() for future in futures]


def _raise_first(events: Sequence[Event], futures: Sequence[Future[dict[str, Any]]]) -> None:
    failed = [
        (event, problem) for event, future in zip(events, futures, strict=True) if (problem := future.exception())
    ]
    if not failed:
        return
    event, problem = failed[0]
    if isinstance(problem, BrokenProcessPool):
        raise Retryable(
            "a process of the work was killed from outside, perhaps for want of memory",
            hint="run the same command again, with fewer --workers if memory is short: what is done stays done",
        ) from problem
    if not isinstance(problem, LifecycleError):
        raise problem
    done = len(events) - len(failed)
    raise type(problem)(
        f"{event['task']} {event['number']} of {event['collection']}: {problem.message} "
        f"({done} of {len(events)} tasks are done)",
        hint=f"{problem.hint}; then run the same command again: what is done stays done",
    ) from problem


# What runs in the processes.


def _begin(counter: Any) -> None:
    """End with the process that started this one, however it ends: it holds the locks of what it does."""
    global _done
    _done = counter
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for_any([parent.sentinel])
    os._exit(1)


def _task(event: Event, here: Here) -> dict[str, Any]:
    return run_task(event, here, _tell)


def _tell(count: int) -> None:
    with _done.get_lock():
        _done.value += count
