"""The Lambda function of bulk builds: a task's event in, what its engine needs to know out (see docs/bulk.md)."""

from __future__ import annotations

from typing import Any

from chroma_lifecycle.bulk.here import Here
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.config import Settings


def lambda_handler(event: Any, _: object) -> dict[str, Any]:
    """Run one task; its error keeps the name of its class, by which the state machine decides whether to try again."""
    settings = Settings.read()
    here = Here(
        settings.store, settings.workspace, settings.mapping, settings.tail_budget, checksums=settings.s3_checksums
    )
    # A time-out or a want of memory ends a task with its files on the disk, which outlives it.
    here.clear()
    return run_task(event if isinstance(event, dict) else {}, here)
