"""``doctor``: who has a Chroma directory open, and what would stop a safe copy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import JsonOption
from chroma_lifecycle.cli.output import EXIT_NOT_OWNED, Output
from chroma_lifecycle.errors import BadInput


def doctor(
    subject: Annotated[str, typer.Argument(help="A Chroma directory, or the number of a process.")],
    as_json: JsonOption = False,
) -> None:
    """Say who has a directory open, what would stop a safe copy, and what to do; exit 5 if it is not safe."""
    from chroma_lifecycle.chroma.doctor import diagnose  # imports chromadb, which takes seconds

    path = Path(subject)
    if not path.exists() and not (subject.isascii() and subject.isdigit()):
        raise BadInput(f"{subject} is neither a directory nor the number of a process", hint="check the path")
    found = diagnose(path if path.exists() else int(subject))
    Output(as_json).result(asdict(found), *found.findings, *found.advice)
    if not found.safe:
        raise typer.Exit(EXIT_NOT_OWNED)


COMMANDS = (doctor,)
