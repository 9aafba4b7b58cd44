"""Traces: a subsegment for each phase of a cycle, where X-Ray is switched on for the function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from chroma_lifecycle.batch.phases import Trace, untraced
from chroma_lifecycle.config import has_tracing


def tracer() -> Trace:
    """Return what surrounds the phases; where nobody collects traces, nothing, and at no cost."""
    if not has_tracing():
        return untraced
    from aws_lambda_powertools import Tracer  # brings the SDK of X-Ray

    # Not auto_patch: a subsegment for each request to S3 would grow with the batch.
    provider: Any = Tracer(auto_patch=False).provider

    @contextmanager
    def trace(collection: str, phase: str) -> Iterator[None]:
        segment: Any = None
        with suppress(Exception):
            segment = provider.begin_subsegment(phase)
            segment.put_annotation("collection", collection)
        try:
            yield
        except BaseException:
            # The fault alone: an exception's text may quote a document.
            with suppress(Exception):
                segment.add_fault_flag()
            raise
        finally:
            with suppress(Exception):
                if segment is not None:
                    provider.end_subsegment()

    return trace
