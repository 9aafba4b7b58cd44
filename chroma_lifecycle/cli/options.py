"""The options that commands share, each with the environment variable behind it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.config import COLLECTION_NAME, PREFIX, Checksums
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.values import LARGEST_VERSION, parse_collection
from chroma_lifecycle.wiring import require_local

StoreOption = Annotated[
    str,
    typer.Option("--store", envvar=f"{PREFIX}STORE", help="Where versions live: s3://bucket/prefix or a directory."),
]
MirrorOption = Annotated[
    str | None,
    typer.Option("--mirror", envvar=f"{PREFIX}MIRROR", help="A mounted directory that receives what is published."),
]
MappingOption = Annotated[
    str, typer.Option("--mapping", envvar=f"{PREFIX}MAPPING", help="A mapping file, or the name of a shipped mapping.")
]
OptionalMappingOption = Annotated[
    str | None,
    typer.Option("--mapping", envvar=f"{PREFIX}MAPPING", help="A mapping file, or the name of a shipped mapping."),
]
CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection", "-c", envvar=COLLECTION_NAME, help="Which collection; may be left out if there is one."
    ),
]
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar=f"{PREFIX}WORKSPACE",
        help="Local directory for the working copies.",
        callback=require_local,
    ),
]
DeltasOption = Annotated[
    str | None,
    typer.Option(
        "--deltas",
        envvar=f"{PREFIX}DELTAS",
        help="Roots below which deltas may lie, with commas; by default the store's own bucket or directory.",
    ),
]
ChecksumsOption = Annotated[
    Checksums | None,
    typer.Option(
        "--s3-checksums",
        envvar=f"{PREFIX}S3_CHECKSUMS",
        help="when_required for stores that are compatible with S3 and know no newer checksums.",
    ),
]
TableOption = Annotated[
    str | None,
    typer.Option("--table", envvar=f"{PREFIX}TABLE", help="The DynamoDB table whose run items get their status."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
VersionOption = Annotated[
    int | None, typer.Option("--version", help="Which version; by default the newest.", min=1, max=LARGEST_VERSION)
]
MOST_DIMENSIONS = 65_536
"""Of the vectors of a delta, and so of a collection that is to take any."""
MOST_LISTED = (1 << 31) - 1
"""For each `--limit`: as many as Chroma counts."""
_OLDEST = timedelta(days=36_500)

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_age(text: str) -> timedelta:
    """Return an age as it is given to a command: a whole number and s, m, h or d.

    Raises:
        BadInput: It is none.
    """
    match = _AGE.fullmatch(text)
    age = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None
    if age is None or age > _OLDEST:
        raise BadInput(
            f"{text!r} is no age",
            hint=f"give a whole number and a unit: 90s, 45m, 12h, 30d; at most {_OLDEST.days}d",
        )
    return age


def parse_moment(text: str) -> datetime:
    """Return a time as it is given to a command, in UTC unless it says otherwise; what is left out is the latest.

    Raises:
        BadInput: It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            moment += timedelta(days=1, microseconds=-1)
        elif re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text):
            moment += timedelta(minutes=1, microseconds=-1)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as problem:  # of a year below 1 or above 9999, once it is UTC
        raise BadInput(
            f"{text!r} is no time", hint="give a date, or a date and a time: 2026-01-31, 2026-01-31T12:00"
        ) from problem


class SpaceName(StrEnum):
    """How distances are measured."""

    COSINE = "cosine"
    L2 = "l2"
    IP = "ip"


def require_name(given: str, option: str) -> str:
    """Return *given* as the name of a collection.

    Raises:
        BadInput: It is none.
    """
    try:
        return parse_collection(given)
    except ValueError as problem:
        raise BadInput(f"{option}: {problem}", hint="correct the name") from problem


def choose_collection(given: str | None, mapping: str | None) -> str:
    """Return the collection that a command is about.

    Raises:
        BadInput: It is not named, and the mapping does not leave one alone; or its name is none.
    """
    if given is not None:
        return require_name(given, "--collection")
    names = load_mapping(mapping).collections if mapping else ()
    if len(names) == 1:
        return names[0]
    known = f"the mapping has {', '.join(names)}" if names else "no mapping says which there are"
    raise BadInput(f"which collection is meant? {known}", hint="name it with --collection NAME")
