"""Settings, read once from the environment into a frozen value; all problems are told together."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from chroma_lifecycle.errors import BadInput

PREFIX = "CHROMA_LIFECYCLE_"
DEFAULT_TAIL_BUDGET = 500
DEFAULT_WORKSPACE = Path(tempfile.gettempdir()) / "chroma-lifecycle"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

T = TypeVar("T")
Checksums: TypeAlias = Literal["when_supported", "when_required"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the function and the command line are told from outside.

    Attributes:
        store: Where versions live: ``s3://bucket/prefix`` or a directory.
        mirror: A mounted directory that receives what was published; none without it.
        mapping: Path of a mapping file, or the name of a shipped mapping.
        workspace: Local directory for the pristine copy and the working directories. The default one must be this
            user's, and no other user may write into it.
        table: Name of the DynamoDB table whose run items get their status; none without it.
        deltas: Roots below which deltas may lie, the first one for relative addresses;
            empty for the store's own bucket or directory.
        deadline_reserve_seconds: What must be left of an invocation when Chroma is opened.
        tail_budget: Vector operations that a reader may have to replay (see docs/closing.md).
        s3_checksums: ``when_required`` for compatible stores that know no newer checksums;
            by default what the SDK's own variables say.
        log_level: Of the JSON log lines.
    """

    store: str
    mapping: str
    mirror: str | None = None
    workspace: Path = DEFAULT_WORKSPACE
    table: str | None = None
    deltas: tuple[str, ...] = ()
    deadline_reserve_seconds: float = 10.0
    tail_budget: int = DEFAULT_TAIL_BUDGET
    s3_checksums: Checksums | None = None
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, **given: str | None) -> Settings:
        """Return the settings that *environment* (by default the process's own) holds.

        Args:
            environment: Variables; those that do not begin with the prefix are not looked at.
            given: Settings by name that stand above the environment's; ``None`` for not given.

        Raises:
            BadInput: Settings are missing, unknown or malformed; all of them are named.
        """
        values = dict(os.environ if environment is None else environment)
        values |= {PREFIX + name.upper(): text for name, text in given.items() if text is not None}
        return _Reader(values).settings()


NAMES = tuple(PREFIX + name.upper() for name in Settings.__slots__)
"""Every variable that is read."""

COLLECTION_NAME = f"{PREFIX}COLLECTION"
"""Read by the command line alone: which collection a command is about."""

TOKEN_NAME = f"{PREFIX}TOKEN"
"""Read by the command line alone: what lets it into a Chroma server."""


def has_tracing(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether this is a function of Lambda for which somebody collects traces (Tracing: Active)."""
    values = os.environ if environment is None else environment
    return bool(values.get("AWS_XRAY_DAEMON_ADDRESS") and values.get("LAMBDA_TASK_ROOT"))


def keeps_freed_memory(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether the C library was told, when this process began, to keep what is freed, in one area for all."""
    values = os.environ if environment is None else environment
    return values.get("MALLOC_ARENA_MAX") == "1" and "MALLOC_TRIM_THRESHOLD_" in values


def environment() -> dict[str, str]:
    """Return the variables of this process, for one that works for it."""
    return dict(os.environ)


def take_environment(variables: Mapping[str, str]) -> None:
    """Have these variables and no others, as the process that this one works for."""
    os.environ.clear()
    os.environ.update(variables)


class _Reader:
    def __init__(self, environment: dict[str, str]) -> None:
        self._values = {name: text for name, text in environment.items() if name.startswith(PREFIX) and text.strip()}
        self._problems: list[str] = []

    def settings(self) -> Settings:
        for name in sorted(self._values.keys() - {*NAMES, COLLECTION_NAME, TOKEN_NAME}):
            close = difflib.get_close_matches(name, NAMES, 1)
            self._problems.append(f"{name} is not a setting{f'; did you mean {close[0]}?' if close else ''}")
        settings = Settings(
            store=self._required("STORE"),
            mapping=self._required("MAPPING"),
            mirror=self._get("MIRROR", str, None),
            workspace=self._get("WORKSPACE", Path, DEFAULT_WORKSPACE),
            table=self._get("TABLE", str, None),
            deltas=self._get("DELTAS", _roots, ()),
            deadline_reserve_seconds=self._get("DEADLINE_RESERVE_SECONDS", _seconds, 10.0),
            tail_budget=self._get("TAIL_BUDGET", _count, DEFAULT_TAIL_BUDGET),
            s3_checksums=self._get("S3_CHECKSUMS", _checksums, None),
            log_level=self._get("LOG_LEVEL", _level, "INFO"),
        )
        if self._problems:
            raise BadInput(
                f"the settings are wrong: {'; '.join(self._problems)}",
                hint="set these environment variables of the function or the shell; docs/settings.md lists them all",
            )
        return settings

    def _required(self, name: str) -> str:
        text = self._values.get(PREFIX + name)
        if text is None:
            self._problems.append(f"{PREFIX}{name} is not set")
            return ""
        return text.strip()

    def _get(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._values.get(PREFIX + name)
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as problem:
            self._problems.append(f"{PREFIX}{name} {problem}, got {text!r}")
            return default


def _roots(text: str) -> tuple[str, ...]:
    roots = tuple(root.strip() for root in text.split(","))
    if not all(roots):
        raise ValueError("must be roots separated by commas")
    return roots


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 900:
        raise ValueError("must be a number of seconds from 0 to 900")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("must be a whole number from 0 on")
    return int(text)


def _checksums(text: str) -> Checksums:
    if text not in ("when_supported", "when_required"):
        raise ValueError("must be when_supported or when_required")
    return "when_required" if text == "when_required" else "when_supported"


def _level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text.upper()
