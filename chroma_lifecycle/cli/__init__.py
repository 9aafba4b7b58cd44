"""The command line: ``chroma-lifecycle``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 partly failed, 2 usage, 3 retryable, 4 corrupt, 5 not owned."""
    try:
        from chroma_lifecycle.cli.app import run  # takes a moment, in which Ctrl-C may come, too

        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    sys.exit(code)
