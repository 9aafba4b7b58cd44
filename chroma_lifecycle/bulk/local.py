"""The engine on this machine: the tasks of a job in processes, as `concurrent.futures` runs them.

It starts each task once and waits for all of them; who runs the same job again goes on with what is
left. Each task has a process of its own, since Chroma gives memory back at its end alone, and all end with
the one that started them. A Chroma that has written hangs when it is forked; so they are forked from a process
that has imported it and does nothing else, where that is safe, and spawned elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import BaseContext
from typing import Any, TypeAlias

from chroma_lifecycle.bulk.here import Event, Here
from chroma_lifecycle.bulk.job import Job
from chroma_lifecycle.bulk.tasks import planned, run_task
from chroma_lifecycle.config import environment, take_environment
from chroma_lifecycle.errors import LifecycleError, Retryable

_POLL_SECONDS = 0.5
_done: Any = None

Show = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Begins to show a phase; gives what is to be told how much of it is done, and of how much."""

Run: TypeAlias = Callable[[Sequence[Event], Callable[[int], None]], list[dict[str, Any]]]
"""Runs a task for each of some events that have nothing to do with one another; returns what they said. It
tells again and again how much all of them have done, and raises the first problem when all are at their ends."""


def run_job(event: Event, here: Here, workers: int, show: Show) -> tuple[Job, list[dict[str, Any]]]:
    """Build what the event of a plan asks for; return the job, and what each shard's task said.

    Raises:
        LifecycleError: A task failed: the first one's problem. The others went on to their ends.
    """
    job = planned(event, here)
    what = {"collection": job.request.collection, "work": event["work"]}
    sizes = sum(each.size for each in job.inputs)
    splits = [{**what, "task": "split", "number": number} for number in range(len(job.inputs))]
    builds = [{**what, "task": "build", "number": number} for number in range(len(job.names))]
    with processes(here, workers) as run:
        with show("checking and dividing the data set") as tell:
            run(splits, lambda done: tell(done, sizes))
        records = run_task({**what, "task": "gather"}, here)["records"]
        with show(f"building {job.request.collection}, {records:,} records") as tell:
            built = run(builds, lambda done: tell(done, records))
    run_task({**what, "task": "finish"}, here)
    return job, built


@contextmanager
def processes(here: Here, workers: int) -> Iterator[Run]:
    """Give what runs tasks on this machine, so many at once; what starts their processes is kept until the end."""
    context = _context()
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(workers, context, _begin, (counter, environment()), max_tasks_per_child=1) as pool:

        def run(events: Sequence[Event], tell: Callable[[int], None]) -> list[dict[str, Any]]:
            counter.value = 0
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

        yield run


def _context() -> BaseContext:
    if sys.platform != "linux":  # elsewhere a system's own libraries may have threads that a fork loses
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.{name}" for name in ("tasks", "build", "bring")])
    return context


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


def _begin(counter: Any, variables: Mapping[str, str]) -> None:
    """End with the process that started this one, however it ends: it holds the locks of what it does."""
    global _done
    _done = counter
    # It is forked from one that may have begun under others.
    take_environment(variables)
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
