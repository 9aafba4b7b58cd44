"""The application: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import click
import structlog
import typer

from chroma_lifecycle.cli import compaction, mappings, records, versions
from chroma_lifecycle.cli.output import EXIT_INTERRUPTED, EXIT_USAGE, Output, exit_code
from chroma_lifecycle.errors import LifecycleError

app = typer.Typer(
    name="chroma-lifecycle",
    help="Keep Chroma directories in step with a DynamoDB table, and lose nothing doing it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (compaction, versions, records):
    for command in module.COMMANDS:
        app.command()(command)
app.add_typer(mappings.app, name="mapping", help="Look at mappings.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("chroma-lifecycle"))
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    level = logging.INFO if verbose else logging.ERROR
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 partly failed, 2 usage, 3 retryable, 4 corrupt, 5 not owned."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(as_json="--json" in given)
    try:
        code = app(args=given, prog_name="chroma-lifecycle", standalone_mode=False)
    except LifecycleError as problem:
        output.error(problem)
        code = exit_code(problem)
    except click.ClickException as problem:
        problem.show()
        code = EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("interrupted\n")
        code = EXIT_INTERRUPTED
    sys.exit(code or 0)
