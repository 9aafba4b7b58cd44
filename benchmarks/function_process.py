"""How the function's process takes memory, as the template says it: a part of what is measured.

The C library reads this when a process begins. So the benchmark starts itself anew, and hands it on to no
child but to those that are measured with it; the product looks at it too.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.servers import ROOT

SETTINGS = dict(re.findall(r'^ +(MALLOC_\w+): "(\d+)"$', (ROOT / "template.yaml").read_text(), re.MULTILINE))


def become_the_function() -> None:
    """Have this program run in a process with the settings; return in that one."""
    if any(name not in os.environ for name in SETTINGS):
        os.execve(sys.executable, sys.orig_argv, os.environ | SETTINGS)
    for name in SETTINGS:
        del os.environ[name]


@contextmanager
def as_the_function() -> Iterator[None]:
    """Let this process, and those that begin within the block, have the settings."""
    os.environ.update(SETTINGS)
    try:
        yield
    finally:
        for name in SETTINGS:
            del os.environ[name]
