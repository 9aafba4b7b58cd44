"""``pause``, ``resume``: whether the function takes events, without a deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from chroma_lifecycle.cli.options import JsonOption
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.errors import BadInput

SourceArgument = Annotated[
    str | None, typer.Argument(help="Id of the event source mapping: the stack's output EventSource.")
]
PipeOption = Annotated[
    str | None, typer.Option("--pipe", help="The pipe instead, by its name: the stack's output PipeName.")
]


def pause(source: SourceArgument = None, pipe: PipeOption = None, as_json: JsonOption = False) -> None:
    """Stop taking events; they wait in the queue, or in the stream for at most 24 hours."""
    _switch(source, pipe, on=False, output=Output(as_json))


def resume(source: SourceArgument = None, pipe: PipeOption = None, as_json: JsonOption = False) -> None:
    """Take events again."""
    _switch(source, pipe, on=True, output=Output(as_json))


def _switch(source: str | None, pipe: str | None, *, on: bool, output: Output) -> None:
    if (source is None) == (pipe is None):
        raise BadInput(
            "what is to be paused or resumed?", hint="give the id of the event source mapping, or --pipe NAME, not both"
        )
    from chroma_lifecycle.aws.consumption import EventSource, Pipe  # boto3, which takes long to import

    state = (EventSource.open(source) if source is not None else Pipe.open(str(pipe))).switch(on)
    what = f"event source mapping {source}" if source is not None else f"pipe {pipe}"
    output.result({"source": source, "pipe": pipe, "enabled": on, "state": state}, f"{what}: {state}")


COMMANDS = (pause, resume)
