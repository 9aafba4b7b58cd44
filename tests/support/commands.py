"""Every command of the command line, by its name as it is typed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from chroma_lifecycle.cli.app import app


def _commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS: dict[str, Any] = dict(_commands(typer.main.get_command(app)))


def options(command: Any) -> list[Any]:
    """Return the options of a command, without ``--help``."""
    return [each for each in command.params if each.param_type_name == "option" and each.name != "help"]


def command_of(arguments: Sequence[str]) -> str | None:
    """Return the name of the command that *arguments* begin with, after the options that stand before it."""
    words = [each for each in arguments if not each.startswith("-")]
    return next((name for end in (2, 1) if (name := " ".join(words[:end])) in COMMANDS), None)
