"""Processes that play the function's containers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from chroma_lifecycle.clock import wait_until
from dev import dynamodb_local
from dev.processes import Missing, running, wait_for_http
from dev.workers import ROOT, Worker


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """A container whose settings are missing."""
    return Worker({name: text for name, text in os.environ.items() if "CHROMA" not in name}, tmp_path / "log")


def test_a_worker_tells_what_the_function_raised_and_lives_on(worker: Worker) -> None:
    """The handler's error is the answer; one that was killed is started anew."""
    first = worker.invoke({"Records": []})
    second = worker.invoke({"Records": []})
    os.kill(worker.pid or 0, 9)
    third = worker.invoke({"Records": []})
    fourth = worker.invoke({"Records": []})
    worker.close()

    assert "CHROMA_LIFECYCLE_STORE is not set" in (first.error or "")
    assert first.error == second.error == fourth.error
    assert "Runtime exited" in (third.error or "")
    assert 2 == worker.starts


def test_what_is_missing_here_is_said_all_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Java and npm, each with what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Missing, match=r"(?s)java is not .*default-jre-headless.*npm is not .*Node\.js"):
        dynamodb_local.check()


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Rather than waited for."""
    log = tmp_path / "log"

    with running(["sh", "-c", "echo the disk is full; exit 3"], log) as process:
        wait_until(lambda: process.poll() is not None, timeout_seconds=60)
        with pytest.raises(Missing, match=r"(?s)sh ended with 3.*the disk is full"):
            wait_for_http("http://127.0.0.1:1", process, log)


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Also when that one is killed and cannot end anything."""
    program = (
        "import sys; from pathlib import Path; from dev.processes import running\n"
        "with running(['sleep', '600'], Path(sys.argv[1])) as server: print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as starter:
        assert starter.stdout is not None
        server = psutil.Process(int(starter.stdout.readline()))
        assert wait_until(lambda: server.name() == "sleep", timeout_seconds=60)  # started, so bound to its starter
        starter.kill()

    server.wait(60)
