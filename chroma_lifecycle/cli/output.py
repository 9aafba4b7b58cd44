"""What the command line prints: tables for people, JSON for programs, errors with their way out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    LifecycleError,
    NotInitialised,
    NotOwned,
)

EXIT_PARTLY, EXIT_USAGE, EXIT_RETRYABLE, EXIT_CORRUPT, EXIT_NOT_OWNED = 1, 2, 3, 4, 5
EXIT_INTERRUPTED = 130
_WIDE = 400

_EXITS: Sequence[tuple[type[LifecycleError], int]] = (
    (BadInput, EXIT_USAGE),
    (NotInitialised, EXIT_USAGE),
    (NotOwned, EXIT_NOT_OWNED),
    (Corrupt, EXIT_CORRUPT),
)


def exit_code(problem: LifecycleError) -> int:
    """Return the exit code for the group that *problem* belongs to; what is in no other can be tried again."""
    return next((code for kind, code in _EXITS if isinstance(problem, kind)), EXIT_RETRYABLE)


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go: standard output; progress and errors go to standard error.

    Attributes:
        as_json: Whether results are JSON, one value for each command.
    """

    as_json: bool = False

    def result(self, value: Any, *lines: str, table: Table | None = None) -> None:
        """Print the result of a command: *value* for programs, the lines and the table for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            return
        # Into a pipe or file, a table is as wide as it has to be.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
        for line in lines:
            console.print(line, soft_wrap=True)
        if table is not None:
            console.print(table)

    def error(self, problem: LifecycleError) -> None:
        """Print what went wrong and what to do next."""
        if self.as_json:
            error = {"kind": type(problem).__name__, "message": problem.message, "hint": problem.hint}
            sys.stderr.write(json.dumps({"error": error}, ensure_ascii=False) + "\n")
            return
        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]error:[/] {escape(problem.message)}", soft_wrap=True)
        console.print(f"[bold]hint:[/] {escape(problem.hint)}", soft_wrap=True)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that *what* is under way, on a terminal only."""
        console = Console(stderr=True)
        if self.as_json or not console.is_terminal:
            yield
            return
        with console.status(escape(what)):
            yield


def rows(*headings: str, of: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; numbers stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [tuple(row) for row in of]
    for at, heading in enumerate(headings):
        numeric = bool(cells) and all(isinstance(row[at], int | float) for row in cells)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(escape(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return table


def size(count: int) -> str:
    """Return a number of bytes for people."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1_000:
            break
        amount, unit = amount / 1_000, larger
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
