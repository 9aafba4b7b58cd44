"""Keeps Chroma directories in step with a DynamoDB table, and loses nothing doing it.

The names here are the library's stable ones; ``docs/library.md`` lists them. Each is imported when it
is first asked for, so that ``import chroma_lifecycle`` costs nothing and needs no Chroma.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chroma_lifecycle.chroma.closing import CloseReport, close_client
    from chroma_lifecycle.deltas.writer import DeltaWriter
    from chroma_lifecycle.errors import (
        BadInput,
        Corrupt,
        Defect,
        HeadMoved,
        LifecycleError,
        NoRoom,
        NotClosed,
        NoTime,
        NotInitialised,
        NotOwned,
        ObjectMissing,
        OutcomeUnknown,
        Retryable,
        Sharded,
        StoreUnavailable,
    )
    from chroma_lifecycle.intake.mapping_file import load_mapping
    from chroma_lifecycle.producer import Producer
    from chroma_lifecycle.reader import ReadClient, ReadCollection, ReaderStatus, SnapshotReader

_HOMES = {
    "BadInput": "errors",
    "CloseReport": "chroma.closing",
    "Corrupt": "errors",
    "Defect": "errors",
    "DeltaWriter": "deltas.writer",
    "HeadMoved": "errors",
    "LifecycleError": "errors",
    "NoRoom": "errors",
    "NoTime": "errors",
    "NotClosed": "errors",
    "NotInitialised": "errors",
    "NotOwned": "errors",
    "ObjectMissing": "errors",
    "OutcomeUnknown": "errors",
    "Producer": "producer",
    "ReadClient": "reader",
    "ReadCollection": "reader",
    "ReaderStatus": "reader",
    "Retryable": "errors",
    "Sharded": "errors",
    "SnapshotReader": "reader",
    "StoreUnavailable": "errors",
    "close_client": "chroma.closing",
    "load_mapping": "intake.mapping_file",
}
"""The module below this package in which each name is at home."""

__all__ = [
    "BadInput",
    "CloseReport",
    "Corrupt",
    "Defect",
    "DeltaWriter",
    "HeadMoved",
    "LifecycleError",
    "NoRoom",
    "NoTime",
    "NotClosed",
    "NotInitialised",
    "NotOwned",
    "ObjectMissing",
    "OutcomeUnknown",
    "Producer",
    "ReadClient",
    "ReadCollection",
    "ReaderStatus",
    "Retryable",
    "Sharded",
    "SnapshotReader",
    "StoreUnavailable",
    "close_client",
    "load_mapping",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
