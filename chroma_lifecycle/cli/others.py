"""What a store has beside the collection that was asked for: most often its name was misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer

from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.values import parse_collection
from chroma_lifecycle.wiring import collections_in

_SHOWN = 10
_SIMILAR = 0.7


def others(app: typer.Typer, arguments: Sequence[str]) -> str:
    """Return what to say of the collections in the store that *arguments* name; nothing if it has none."""
    with suppress(LifecycleError, OSError, typer.TyperException):
        given = _given(typer.main.get_command(app), list(arguments))
        if address := given.get("store"):
            names = [name for name in collections_in(address) if _is_collection(name)]
            return hint_of(names, given.get("collection")) if names else ""
    return ""


def _is_collection(name: str) -> bool:
    try:
        parse_collection(name)
    except ValueError:
        return False
    return True


def hint_of(names: Sequence[str], asked: str | None) -> str:
    """Return which collections there are, led by the one that is meant most likely."""
    meant = difflib.get_close_matches(asked or "", names, 1, _SIMILAR)
    more = ", ..." if len(names) > _SHOWN else ""
    there = f"the store has {', '.join(names[:_SHOWN])}{more}; "
    return f"did you mean {meant[0]}? {there}" if meant else there


def _given(command: Any, arguments: list[str]) -> dict[str, Any]:
    """Return what a command was given, variables included, without running it."""
    with command.make_context("chroma-lifecycle", arguments, resilient_parsing=True) as context:
        rest = [*context._protected_args, *context.args]  # noqa: SLF001  the only way to them
        if not rest or not hasattr(command, "commands"):
            return dict(context.params)
        return _given(command.commands[rest[0]], rest[1:])
