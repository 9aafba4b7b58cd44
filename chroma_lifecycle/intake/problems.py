"""Problems of a mapping: collected while it is read, and told together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from chroma_lifecycle.errors import BadInput


class Problems:
    """What is wrong with one file.

    Attributes:
        file: Its name, as the user wrote it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[int, str], None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, line: int, text: str) -> None:
        """Note a problem; the same problem of the same line is told once."""
        self._found[line, text] = None

    def lines(self) -> list[str]:
        """Return every problem as ``file:line: text``, in the order of the file."""
        ordered = sorted(self._found, key=lambda problem: problem[0])
        return [f"{self.file}:{line}: {text}" for line, text in ordered]

    def refuse(self) -> BadInput:
        """Return the error that tells all of them."""
        return BadInput(
            "the mapping cannot be used:\n" + "\n".join(self.lines()) + "\n",
            hint=f"mend these lines, then run 'chroma-lifecycle mapping check {self.file}'",
        )


def allowed(choices: Iterable[str], instead_of: str | None = None) -> str:
    """Return what may be written, led by the choice that is meant most likely."""
    listed = list(choices)
    lowered = {choice.lower(): choice for choice in listed}
    close = difflib.get_close_matches(instead_of.lower(), lowered, n=1) if instead_of else []
    meant = f"did you mean '{lowered[close[0]]}'? " if close else ""
    return f"{meant}allowed: {', '.join(listed) or 'none'}"
