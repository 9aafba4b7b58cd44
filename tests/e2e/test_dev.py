"""``make dev`` as a person uses it: what it prints is typed into another shell, and Ctrl-C ends everything."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from chroma_lifecycle.clock import wait_until
from dev.processes import end

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SHELL = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "CHROMA_LIFECYCLE_"))}


@contextmanager
def dev(home: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run it in a directory that looks like the repository, its output in a file."""
    for name in (".venv", "dev", "examples", "handler", "chroma_lifecycle", "scripts"):
        (home / name).symlink_to(ROOT / name)
    (home / ".work" / "dev").mkdir(parents=True)
    for cached in (ROOT / ".work" / "dev").glob("dynamodb-local-*"):
        shutil.copytree(cached, home / ".work" / "dev" / cached.name)
    with (home / "out").open("wb") as out:
        command = [home / ".venv" / "bin" / "python", "-m", "dev", *options]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=home, env=SHELL)
        try:
            yield process
        finally:
            end(process, patience_seconds=60)


def printed(home: Path) -> str:
    return (home / "out").read_text()


def shell(home: Path, *lines: str) -> str:
    """Return what a shell prints for lines that a person types."""
    done = subprocess.run(["bash", "-c", "\n".join(lines)], cwd=home, env=SHELL, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_commands_that_are_printed_change_a_record(tmp_path: Path) -> None:
    """Write an item, query the record; nothing is left running after Ctrl-C."""
    with dev(tmp_path) as process:
        wait_until(lambda: "version 2" in printed(tmp_path) or process.poll() is not None, timeout_seconds=120)
        source, write, query = re.findall(
            r"^  (source .*|\S*python -c .*|\S*chroma-lifecycle .*)$", printed(tmp_path), re.M
        )
        shell(tmp_path, source, write)
        wait_until(lambda: "my-favourites" in shell(tmp_path, source, query), timeout_seconds=60, poll_seconds=0.5)
        record = shell(tmp_path, source, query)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)

        assert 0 == process.wait(60)

    assert 'section: "my-favourites"' in record
    assert "everything that was started is stopped" in printed(tmp_path)
    assert 3 <= len(children)  # DynamoDB Local, moto, a worker; the second one starts when it is needed
    assert [] == [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_a_mapping_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    """One line, with what to do."""
    with dev(tmp_path, "--mapping", "nowhere.yaml") as process:
        assert 1 == process.wait(60)

    assert "nowhere.yaml" in printed(tmp_path)
    assert "Traceback" not in printed(tmp_path)
