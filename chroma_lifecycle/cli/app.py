"""The application: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from chroma_lifecycle.cli import (
    beginnings,
    bulk,
    compaction,
    consumption,
    delta_writing,
    deltas,
    difference,
    doctor,
    explaining,
    leaving,
    mappings,
    places,
    plan,
    records,
    repair,
    report,
    retention,
    status,
    upkeep,
    versions,
)
from chroma_lifecycle.cli.others import others
from chroma_lifecycle.cli.output import (
    EXIT_DEFECT,
    EXIT_INTERRUPTED,
    EXIT_RETRYABLE,
    EXIT_USAGE,
    Output,
    exit_code,
)
from chroma_lifecycle.defects import kind_and_place
from chroma_lifecycle.errors import LifecycleError, NotInitialised

app = typer.Typer(
    name="chroma-lifecycle",
    help="Keep Chroma directories in step with a DynamoDB table, and lose nothing doing it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_MODULES = (
    beginnings,
    leaving,
    compaction,
    versions,
    difference,
    status,
    retention,
    places,
    records,
    report,
    upkeep,
    repair,
    explaining,
    consumption,
    doctor,
    plan,
)
for module in _MODULES:
    for command in module.COMMANDS:
        app.command()(command)
for command in delta_writing.COMMANDS:
    deltas.app.command()(command)
app.add_typer(mappings.app, name="mapping", help="Look at mappings.")
app.add_typer(bulk.app, name="bulk", help="Work on a whole collection, by many tasks.")
app.add_typer(deltas.app, name="delta", help="Write deltas, look at them, check them, and change their form.")


_LOGGING = {
    "init",
    "bulk",
    "export",
    "upload",
    "compact",
    "verify",
    "query",
    "rebase",
    "rebuild",
    "erase",
    "rollback",
    "reapply",
    "resync",
    "diff",
}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("chroma-lifecycle"))
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand not in _LOGGING:
        return
    import structlog  # takes a third of the start of commands that have nothing to log

    level = logging.INFO if verbose else logging.CRITICAL  # what goes wrong is printed as the error, once
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    given = list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    output = Output(as_json="--json" in given)
    try:
        code = int(app(args=given, prog_name="chroma-lifecycle", standalone_mode=False) or 0)
    except NotInitialised as problem:
        output.error(type(problem).__name__, problem.message, others(app, given, problem.hint))
        return exit_code(problem)
    except LifecycleError as problem:
        output.error(type(problem).__name__, problem.message, problem.hint)
        return exit_code(problem)
    except typer.TyperException as problem:
        return _misused(problem, output)
    except OSError as problem:
        what = f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem.strerror or problem)
        output.error(type(problem).__name__, what, "check that path and the system, and run it again")
        return EXIT_RETRYABLE
    except Exception as problem:  # noqa: BLE001  the edge: a defect of ours ends in one error, too
        return _defect(problem, output, verbose=bool({"-v", "--verbose"} & set(given)))
    if code == EXIT_INTERRUPTED:
        sys.stderr.write("interrupted; what was published stays, nothing else was kept\n")
    return code


def _misused(problem: typer.TyperException, output: Output) -> int:
    message, context = problem.format_message(), getattr(problem, "ctx", None)
    if message.startswith("Usage:"):  # nothing was given: the message is the help
        sys.stderr.write(f"{message}\n")
    else:
        command = context.command_path if context else "chroma-lifecycle"
        output.error("Usage", message.replace("Value error, ", ""), f"`{command} --help` shows what can be given")
    return EXIT_USAGE


def _defect(problem: Exception, output: Output, *, verbose: bool) -> int:
    """Say where it happened, not what the message says: it may quote documents or metadata."""
    if verbose:
        traceback.print_exception(problem)
    output.error(
        "Defect",
        kind_and_place(problem),
        "this is a defect of chroma-lifecycle: run `chroma-lifecycle --verbose ...` and report what it prints",
    )
    return EXIT_DEFECT
