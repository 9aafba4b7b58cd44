"""What a store has beside the collection that was asked for: most often its name was misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import typer

from chroma_lifecycle.cli.options import choose_collection
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.values import parse_collection
from chroma_lifecycle.wiring import open_place, open_store

_SHOWN, _LOOKED_AT = 10, 20
_SIMILAR = 0.7


def others(app: typer.Typer, arguments: Sequence[str], hint: str) -> str:
    """Return the *hint* that a collection is not there, with what else is in the store that *arguments* name."""
    with suppress(LifecycleError, OSError, typer.TyperException):
        given = _given(typer.main.get_command(app), list(arguments))
        if address := given.get("store"):
            return _beside(address, _asked(given), hint)
    return hint


def _asked(given: Mapping[str, Any]) -> str:
    """Return the collection that was meant, also where it is the mapping's only one; empty if none was."""
    with suppress(LifecycleError):
        return choose_collection(given.get("collection"), given.get("mapping"))
    return given.get("collection") or ""


def _beside(address: str, asked: str, hint: str) -> str:
    place = open_place(address)
    names = [name for name in place.folders() if _is_collection(name)]
    if asked in names and any(open_store(address).list(Names(asked).all_manifests)):
        return (
            f"what {asked} has published is there, and its HEAD is not: run `chroma-lifecycle recover` first, "
            "and `chroma-lifecycle resync` afterwards, which says what the table has more"
        )
    nearest = difflib.get_close_matches(asked, names, _LOOKED_AT, 0)
    if found := sorted(name for name in nearest if name != asked and place.has_begun(name)):
        return hint_of(found, asked) + hint
    if not names or asked in names:
        return hint
    below = [f"{address.rstrip('/')}/{name}" for name in nearest[:_SHOWN]]
    meant = next((each for each in below if asked and open_place(each).has_begun(asked)), None)
    way = f"did you mean --store {meant}?" if meant else "a part of --store may be missing."
    return f"{way} What lies there is no collection: {_listed(names)}; `chroma-lifecycle init` begins one beside it"


def _is_collection(name: str) -> bool:
    try:
        parse_collection(name)
    except ValueError:
        return False
    return True


def hint_of(names: Sequence[str], asked: str) -> str:
    """Return which collections there are, led by the one that is meant most likely."""
    meant = difflib.get_close_matches(asked, names, 1, _SIMILAR)
    there = f"the store has {_listed(names)}; "
    return f"did you mean {meant[0]}? {there}" if meant else there


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _given(command: Any, arguments: list[str]) -> dict[str, Any]:
    """Return what a command was given, variables included, without running it."""
    with command.make_context("chroma-lifecycle", arguments, resilient_parsing=True) as context:
        rest = [*context._protected_args, *context.args]  # noqa: SLF001  the only way to them
        if not rest or not hasattr(command, "commands"):
            return dict(context.params)
        return _given(command.commands[rest[0]], rest[1:])
