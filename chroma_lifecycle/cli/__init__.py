"""The command line: ``chroma-lifecycle``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 partly failed, 2 usage, 3 retryable, 4 corrupt, 5 not owned."""
    _open_what_is_closed()
    try:
        from chroma_lifecycle.cli.app import run  # takes a moment, in which Ctrl-C may come, too

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Let the use of a closed standard stream fail as that of a bad descriptor, and no other file get its number.

    What cannot be said on standard error goes nowhere; the exit code tells.
    """
    for name, mode, of_no_use in (
        ("stdin", "r", os.O_WRONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            file = io.FileIO(os.open(os.devnull, of_no_use), mode)
            setattr(sys, name, io.TextIOWrapper(file, "utf-8", write_through=True))
