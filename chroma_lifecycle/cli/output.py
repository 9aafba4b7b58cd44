"""What the command line prints: tables for people, JSON for programs, errors with their way out."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from chroma_lifecycle.cli.progress import Watched, alone, counted, moved, shown
from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    Defect,
    LifecycleError,
    NotInitialised,
    NotOwned,
    Retryable,
)
from chroma_lifecycle.ports import Store

EXIT_PARTLY, EXIT_USAGE, EXIT_RETRYABLE, EXIT_CORRUPT, EXIT_NOT_OWNED = 1, 2, 3, 4, 5
EXIT_DEFECT, EXIT_INTERRUPTED = 70, 130
_GAP = 2

_EXITS: Sequence[tuple[type[LifecycleError], int]] = (
    (BadInput, EXIT_USAGE),
    (NotInitialised, EXIT_USAGE),
    (NotOwned, EXIT_NOT_OWNED),
    (Corrupt, EXIT_CORRUPT),
    (Defect, EXIT_DEFECT),
)


def exit_code(problem: LifecycleError) -> int:
    """Return the exit code for the group that *problem* belongs to; what is in no other can be tried again."""
    return next((code for kind, code in _EXITS if isinstance(problem, kind)), EXIT_RETRYABLE)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of cells; whole numbers stand to the right.

    Attributes:
        spare: Headings of columns that are left out where the terminal is too narrow, the first one first.
    """

    headings: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    spare: tuple[str, ...] = ()

    def lines(self, width: int | None = None) -> list[str]:
        """Return the table in lines of at most *width*, or as wide as it is."""
        cells = [self.headings, *(tuple(map(_cell, row)) for row in self.rows)]
        widths = [max(cell_len(row[at]) for row in cells) for at in range(len(self.headings))]
        shown = self._fitting(widths, width)
        numeric = {at for at in shown if self.rows and all(isinstance(row[at], int) for row in self.rows)}
        return [
            (" " * _GAP).join(_padded(row[at], widths[at], at in numeric) for at in shown).rstrip() for row in cells
        ]

    def _fitting(self, widths: Sequence[int], width: int | None) -> list[int]:
        shown = list(range(len(self.headings)))
        for heading in self.spare:
            if width is None or sum(widths[at] + _GAP for at in shown) - _GAP <= width:
                break
            shown.remove(self.headings.index(heading))
        return shown


_gathered: ContextVar[list[Any] | None] = ContextVar("gathered", default=None)


@contextmanager
def gathering() -> Iterator[list[Any]]:
    """Give a list that takes what would be printed for programs in the block: to make one value of several."""
    values: list[Any] = []
    token = _gathered.set(values)
    try:
        yield values
    finally:
        _gathered.reset(token)


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go: standard output; progress and errors go to standard error.

    Attributes:
        as_json: Whether results are JSON, one value for each command.
    """

    as_json: bool = False

    def result(self, value: Any, *lines: str, table: Table | None = None) -> None:
        """Print the result of a command: *value* for programs, the lines and the table for people."""
        if self.as_json and (gathered := _gathered.get()) is not None:
            gathered.append(value)
            return
        if self.as_json:
            _write(_json(value, sys.stdout))
            return
        self.tell(*lines, *(table.lines(_width()) if table else ()))

    def tell(self, *lines: str) -> None:
        """Print lines for people; to programs they say nothing."""
        if lines and not self.as_json:
            _write("\n".join(map(_harmless, lines)))

    def error(self, kind: str, message: str, hint: str) -> None:
        """Print what went wrong and what to do next."""
        message = message.rstrip("\n")
        if self.as_json:
            error = {"kind": kind, "message": message, "hint": hint}
            sys.stderr.write(_json({"error": error}, sys.stderr) + "\n")
            return
        console = Console(stderr=True)
        console.print(Text.assemble(("error:", "bold red"), " ", _harmless(message)), soft_wrap=True)
        console.print(Text.assemble(("hint:", "bold"), " ", _harmless(hint)), soft_wrap=True)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that *what* is under way, and for how long; on a terminal only, as all that follows."""
        with shown(what, alone, hidden=self.as_json):
            yield

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int], None]]:
        """Show how many things are done so far, and how many each second; give what is to be told their number."""
        with shown(what, counted, hidden=self.as_json) as tell:
            yield tell

    @contextmanager
    def moving(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show how far a transfer is, how fast, what is left; give what is to be told bytes done, and of how many."""
        with shown(what, moved, hidden=self.as_json) as tell:
            yield tell

    @contextmanager
    def watching(self, what: str, store: Store, total: int | None = None) -> Iterator[Store]:
        """Show how many bytes come from *store* and go to it; give the store to be asked in its place."""
        with shown(what, moved, hidden=self.as_json) as tell:
            yield Watched(store, tell, total)


def _json(value: Any, stream: TextIO) -> str:
    """Return *value* as JSON in any encoding of *stream*: in another than UTF-8, its letters are escaped."""
    is_utf8 = codecs.lookup(stream.encoding or "utf-8").name == "utf-8"
    return json.dumps(value, ensure_ascii=not is_utf8, default=_plain)


def _plain(value: object) -> str:
    """Return what JSON has no form for as programs read it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def one_line(text: str, longest: int) -> str:
    """Return the first line of *text*, cut, without what a terminal would obey instead of showing it."""
    line = printable(text.partition("\n")[0])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def printable(text: str) -> str:
    """Return *text* with its control characters spelled out."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _harmless(text: str) -> str:
    """Return *text*, which may be lines that we have made, without what a terminal would obey instead of showing it.

    What others have written (ids, names, messages of a service) goes through `printable` where it is told; this is for
    whatever was forgotten there.
    """
    return "\n".join(map(printable, text.split("\n")))


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _padded(cell: str, width: int, right: bool) -> str:
    blanks = " " * (width - cell_len(cell))
    return blanks + cell if right else cell + blanks


def _width() -> int | None:
    """Return how wide standard output is; a pipe or a file is as wide as it has to be."""
    return Console().width if sys.stdout.isatty() else None


def _write(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()  # whoever read has seen enough; what was asked for is done
    except OSError as problem:
        _abandon_output()
        raise Retryable(
            f"the result cannot be written to standard output ({problem.strerror})",
            hint="what was asked for is done; make room, and see it by `chroma-lifecycle log`",
        ) from problem


def _abandon_output() -> None:
    """Let what is still buffered go nowhere, so that Python's last flush does not fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
