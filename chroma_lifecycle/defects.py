"""Exceptions that nobody foresaw, told by kind and place: what their text says may quote documents or metadata."""

from __future__ import annotations

import traceback
from pathlib import Path

from chroma_lifecycle.errors import Defect


def kind_and_place(problem: BaseException) -> str:
    """Return which kind of exception it is, and the line that raised it."""
    where = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__} in {where.name} (line {where.lineno} of {where.filename})"


def places(problem: BaseException) -> list[str]:
    """Return the lines that led there, the outermost first."""
    return [
        f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in traceback.extract_tb(problem.__traceback__)
    ]


def defect(problem: Exception) -> Defect:
    """Return an error of ours in the place of *problem*, which it does not quote."""
    return Defect(
        kind_and_place(problem),
        hint="this is a defect of chroma-lifecycle: report it with the line `a defect ended a cycle` of the log "
        "(at the command line, `--verbose` shows it); the messages come again",
    )
