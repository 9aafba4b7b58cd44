"""A command and all that it starts, waited for: what they used of the processors, and the most memory that one had.

``python -m benchmarks.reaping FILE COMMAND …`` runs a command, writes the peak to the file, and ends with the command's
exit code. What a process that nobody waits for has used is counted for nobody; so the command's descendants
become children of this one when their parents are gone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT

_SET_CHILD_SUBREAPER = 36
_CHROMA_LIFECYCLE = Path(sys.executable).with_name("chroma-lifecycle")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command printed, and the most memory of it or of one of its descendants."""

    output: str
    peak_bytes: int


def run_command(words: Sequence[str]) -> Ended:
    """Run one of our commands, which must succeed."""
    with tempfile.NamedTemporaryFile() as told:
        command = [sys.executable, "-m", "benchmarks.reaping", told.name, str(_CHROMA_LIFECYCLE), *words, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, text=True)
        return Ended(done.stdout, int(told.read()))


def main(file: str, *command: str) -> int:
    """Be the process that waits."""
    if ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("this system leaves orphans to its first process")
    code = subprocess.run(command, check=False).returncode
    with suppress(ChildProcessError):
        while True:
            os.wait()
    Path(file).write_text(str(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
