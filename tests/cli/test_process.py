"""The command as a process: what it imports, pipes, terminals, Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.clock import wait_until
from tests.support.command_line import CommandLine

COMMAND = (sys.executable, "-c", "from chroma_lifecycle.cli import main; main()")
LOG = ("log", "--store", "store", "-c", "notes")
RESTORE = ("restore", "--store", "store", "-c", "notes", "--to", "out")

IMPORTED = """
import sys
from chroma_lifecycle.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as ended:
        assert ended.code == 0, command
heavy = {"chromadb", "pyarrow", "boto3", "botocore", "structlog", "onnxruntime"}
print(sorted(heavy & set(sys.modules)))
"""


def test_looking_imports_nothing_heavy(cli: CommandLine) -> None:
    """--help, log, show, restore and mapping check answer at once: no chromadb, pyarrow or boto3 is imported."""
    commands = ["--help", " ".join(LOG), "show --store store -c notes", " ".join(RESTORE), "mapping check notes.yaml"]

    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, *commands], capture_output=True, text=True, cwd=cli.home, check=True
    )

    assert ("[]", "") == (ended.stdout.splitlines()[-1], ended.stderr)


def test_a_reader_that_has_seen_enough_is_no_error(cli: CommandLine) -> None:
    """`log | head -1`: the pipe is closed, and nothing is said about it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = subprocess.run([*COMMAND, *LOG], stdout=gone, stderr=subprocess.PIPE, cwd=cli.home)

    assert (0, b"") == (ended.returncode, ended.stderr)


def test_a_result_that_cannot_be_written_is_an_error(cli: CommandLine) -> None:
    """Standard output on a full disk: exit 3, and not an empty file with exit 0."""
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COMMAND, *LOG], stdout=full, stderr=subprocess.PIPE, cwd=cli.home)

    assert (3, 2) == (ended.returncode, ended.stderr.count(b"\n"))
    assert b"cannot be written to standard output (No space left on device)" in ended.stderr


@pytest.mark.parametrize(
    ("closed", "arguments", "told"),
    [
        ("stdout", LOG, b"cannot be written to standard output (Bad file descriptor)"),
        ("stdin", ("compact", "--store", "store", "--mapping", "notes.yaml", "-"), b"standard input cannot be read"),
    ],
)
def test_a_stream_that_is_closed_is_an_error(
    cli: CommandLine, closed: str, arguments: tuple[str, ...], told: bytes
) -> None:
    """`log >&-` and `compact - <&-`: no defect, but what was not written or read."""
    number = {"stdin": 0, "stdout": 1}[closed]
    ended = subprocess.run(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, cwd=cli.home, preexec_fn=lambda: os.close(number)
    )

    assert {"stdin": 2, "stdout": 3}[closed] == ended.returncode
    assert told in ended.stderr


def test_a_closed_standard_error_keeps_its_exit_code(cli: CommandLine) -> None:
    """`2>&-`: what can be said nowhere ends in the same exit code."""
    ended = subprocess.run(
        [*COMMAND, "log", "--store", "gs://x", "-c", "notes", "--json"],
        stdout=subprocess.PIPE,
        cwd=cli.home,
        preexec_fn=lambda: os.close(2),
    )

    assert (2, b"") == (ended.returncode, ended.stdout)


def on_a_terminal(cli: CommandLine, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command on a terminal of 80 columns; return its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"} | variables
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cli.home, env=environment
    )
    os.close(theirs)
    got = bytearray()
    try:
        while piece := os.read(ours, 65_536):
            got += piece
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(), got.decode()


def test_a_terminal_sees_progress_and_colours(cli: CommandLine) -> None:
    """What is under way is shown while it lasts; errors are marked. A pipe gets neither."""
    code, shown = on_a_terminal(cli, *RESTORE)
    again, refused = on_a_terminal(cli, *RESTORE)

    assert (0, 2) == (code, again)
    assert re.search(r"restoring notes, \d+\.\d kB of files: \d+(\.\d kB| B)( of \d+\.\d kB)?", shown)
    assert "notes version 3 with 3 records is in out" in shown
    assert "\x1b[1;31merror:\x1b[0m out is not empty" in refused


def test_a_terminal_that_wants_no_colours_gets_none(cli: CommandLine) -> None:
    """NO_COLOR (no-color.org): the words are the same."""
    _, refused = on_a_terminal(cli, "log", "--store", "store", "-c", "other", NO_COLOR="1")

    assert "\x1b[1merror:\x1b[0m collection other has no HEAD" in refused  # bold is no colour
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", refused)


def signals_wait(pid: int) -> bool:
    """Return whether a signal was sent to a process that it has not received yet."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return any(int(status[name], 16) for name in ("SigPnd", "ShdPnd"))


class Interrupted(NamedTuple):
    """Where a real process is when Ctrl-C comes: a function of the library is called."""

    command: tuple[str, ...]
    module: str
    name: str


INTERRUPTED = [
    Interrupted(("restore", "--to", "out"), "chroma_lifecycle.publishing.assemble", "make_change"),
    Interrupted(("restore", "--to", "out", "--fallback"), "chroma_lifecycle.publishing.unpack", "restore_to"),
    Interrupted(("init", "--dimension", "3"), "chroma_lifecycle.lifecycle", "initialise"),
    Interrupted(("rebuild",), "chroma_lifecycle.rebuild", "seal"),
    Interrupted(("rebuild",), "chroma_lifecycle.rebuild", "publish"),
]
STOPPING = """
import importlib, sys, threading
from chroma_lifecycle.cli import main
where, name = importlib.import_module(sys.argv[1]), sys.argv[2]
inner = getattr(where, name)
def waiting(*given, **named):
    sys.stderr.write("there\\n")
    sys.stderr.flush()
    threading.Event().wait(120)
    return inner(*given, **named)
setattr(where, name, waiting)
main(sys.argv[3:])
"""


@pytest.mark.parametrize("at", INTERRUPTED, ids=lambda at: f"{at.command[0]} {at.name}")
def test_ctrl_c_in_long_work_leaves_nothing(cli: CommandLine, at: Interrupted) -> None:
    """A real process, a real signal: 130, one line, the files as they were; the same again succeeds."""
    collection = "other" if at.command[0] == "init" else "notes"
    where = ["--store", "store", "-c", collection]
    where += [] if at.command[0] == "restore" else ["--workspace", "workspace"]
    before = files(cli.home)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, at.module, at.name, *at.command, *where], stderr=subprocess.PIPE, cwd=cli.home
    )
    assert process.stderr
    assert b"there\n" == process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert (130, b"interrupted; what was published stays, nothing else was kept\n") == (process.returncode, err)
    assert before == files(cli.home)
    assert 0 == cli(*at.command, *where).code


def files(home: Path) -> set[str]:
    """Return what stands in a directory, but for what a workspace keeps for the next run, and places in the store."""
    kept = re.compile(r"workspace/\w+/(lock|pristine|pristine/.*|stamp.*|pages.*|manifest.*)$")
    found = {str(path.relative_to(home)): path for path in home.rglob("*")}
    places = re.compile(r"workspace(/\w+)?$|store/")
    return {name for name, path in found.items() if not kept.match(name) and not (path.is_dir() and places.match(name))}


HANGING = """
import sys
from chroma_lifecycle.cli import main
from chroma_lifecycle.stores.directory import DirectoryStore
read = DirectoryStore.read
def hanging(self, name, *, limit_bytes):
    if "/objects/" in name:
        sys.stderr.write("reading\\n")
        sys.stdin.read()
    return read(self, name, limit_bytes=limit_bytes)
DirectoryStore.read = hanging
main()
"""


def test_ctrl_c_while_reading_leaves_nothing(cli: CommandLine) -> None:
    """The store hangs in the middle of a version; Ctrl-C ends it with 130, no traceback, nothing left behind."""
    before = sorted(cli.home.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING, *RESTORE],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cli.home,
    )
    assert process.stderr
    assert b"reading\n" == process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert wait_until(lambda: not signals_wait(process.pid), timeout_seconds=30.0)
    _, err = process.communicate(timeout=60)  # ends the hanging read, too

    assert (130, b"interrupted; what was published stays, nothing else was kept") == (
        process.returncode,
        err.replace(b"reading\n", b"").strip(),
    )
    assert before == sorted(cli.home.iterdir())


def test_ctrl_c_while_importing_is_no_traceback(cli: CommandLine) -> None:
    """The first moments of a command belong to it as well."""
    script = (
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from chroma_lifecycle.cli import main; main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, *LOG], capture_output=True, cwd=cli.home)

    assert (130, b"interrupted\n") == (ended.returncode, ended.stderr)


def at_open(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[..., Any]) -> None:
    monkeypatch.setattr(ManagedClient, "apply", interrupt)


def at_seal(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[..., Any]) -> None:
    monkeypatch.setattr("chroma_lifecycle.cycle.seal", interrupt)


def at_publish(monkeypatch: pytest.MonkeyPatch, interrupt: Callable[..., Any]) -> None:
    monkeypatch.setattr("chroma_lifecycle.cycle.publish", interrupt)


@pytest.mark.parametrize("step", [at_open, at_seal, at_publish], ids=lambda step: step.__name__)
def test_ctrl_c_in_a_cycle_leaves_the_old_version(cli: CommandLine, step: Callable[..., None]) -> None:
    """C13: with Chroma open, while proving, before HEAD: exit 130; the workspace is clean, the next run succeeds."""

    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = cli.contents()
    try:
        with pytest.MonkeyPatch.context() as patch:
            step(patch, interrupt)
            ended = cli.compact("third.json")
    finally:
        signal.signal(signal.SIGINT, handler)
    left = [path.name for path in (cli.home / "workspace" / "notes").glob("*-*") if path.is_dir()]

    assert (130, "") == (ended.code, ended.out)
    assert ([], before) == (left, cli.contents())
    assert "version 4 published" in cli.compact("third.json").out
