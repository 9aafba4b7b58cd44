"""Run the function on one event file, on this machine: ``make invoke EVENT=events/ok-sqs-run.json``.

Settings are those of the function, ``CHROMA_LIFECYCLE_*``. Without a store, all of it is made below
``.work/invoke`` under the mapping ``receipts``: the collections begin, and for the examples in
``events/`` the deltas that they name are written, so that their records appear. Look at them by
``.venv/bin/chroma-lifecycle log --store .work/invoke/store --collection words``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import PREFIX, Settings
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import LifecycleError, NotInitialised
from chroma_lifecycle.intake.changes import MergeDelta
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.envelopes import decode_event
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import create_store, writer

HOME = Path(".work/invoke")
EXAMPLES = Path("events")
DIMENSION = 384
MISSING = "7f2a-9"  # the examples name this delta in order to miss it


@dataclass(frozen=True, slots=True)
class Context:
    """What the function asks of Lambda."""

    seconds: float
    function_name: str = "chroma-lifecycle"
    aws_request_id: str = "on-this-machine"

    def get_remaining_time_in_millis(self) -> int:
        """Return how much time is left: always the same, since nobody counts here."""
        return int(self.seconds * 1_000)


def main(arguments: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Prepare what the settings name, call the handler, print its answer."""
    given = parse(arguments)
    at_home = not environment.get(f"{PREFIX}STORE", "").strip()
    if at_home:
        _default(environment)
    try:
        with redirect_stdout(sys.stderr):  # what Lambda would send to the log; the answer stands alone
            answer = invoke(given, Settings.read(environment), examples=at_home)
    except LifecycleError as problem:
        return _fail(problem.message, problem.hint)
    except OSError as problem:
        return _fail(f"{problem.filename}: {problem.strerror}", "name an event file: EVENT=events/ok-sqs-run.json")
    except ValueError as problem:
        return _fail(f"{given.event} is not JSON: {problem}", "give the event as Lambda receives it")
    print(json.dumps(answer, indent=2))
    return 0


def invoke(given: argparse.Namespace, settings: Settings, *, examples: bool) -> object:
    """Begin what is missing, call the handler, return its answer."""
    event = json.loads(given.event.read_text("utf-8"))
    begin_collections(settings, given.dimension)
    if examples and given.event.resolve().parent == EXAMPLES.resolve():
        write_deltas(settings, event, given.dimension)
    from handler.app import lambda_handler  # reads the settings when it is first called

    return lambda_handler(event, Context(given.seconds))  # type: ignore[arg-type]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="invoke", description="Run the function on one event file.")
    parser.add_argument("event", type=Path, help="an event as Lambda receives it, see events/")
    parser.add_argument("--dimension", type=int, default=DIMENSION, help=f"of collections that begin ({DIMENSION})")
    parser.add_argument("--seconds", type=float, default=60.0, help="what the function has left (60)")
    return parser.parse_args(arguments)


def begin_collections(settings: Settings, dimension: int) -> None:
    """Begin those collections of the mapping that the store lacks."""
    mapping, store = load_mapping(settings.mapping), create_store(settings.store)
    for collection in mapping.collections:
        try:
            read_published(store, collection)
        except NotInitialised:
            with Workspace.open(settings.workspace / collection) as workspace:
                beginning = Beginning(collection, mapping.digest, store, workspace, SYSTEM_CLOCK, writer())
                begin(beginning, CollectionSettings("cosine", dimension))
            print(f"begun: {collection}, {dimension} dimensions", file=sys.stderr)


def write_deltas(settings: Settings, event: object, dimension: int) -> None:
    """Write the deltas that an example names: the vectors of one word or line."""
    root = Path(settings.deltas[0]).absolute()
    for change in merges(settings, event):
        path = (root / change.address).resolve()
        if path.is_relative_to(root) and not path.exists() and MISSING not in change.address:
            path.parent.mkdir(parents=True, exist_ok=True)
            word = "#WORD#00003" if change.origin.collection == "words" else ""
            with DeltaWriter(path, dimension=dimension) as delta:
                text, vector = "an example", np.ones((1, dimension), np.float32)
                delta.add([f"{change.below}#RECEIPT#00001#LINE#00002{word}"], vector, [text], [{"example": True}])
            print(f"written: {change.address}", file=sys.stderr)


def merges(settings: Settings, event: object) -> Iterator[MergeDelta]:
    """Yield the runs that an event begins."""
    mapping = load_mapping(settings.mapping)
    for received in decode_event(event, mapping).received:
        if not isinstance(received.record, LifecycleError):
            try:
                changes = list(changes_of(received.record, mapping))
            except LifecycleError:
                continue  # the function will say so
            yield from (change for change in changes if isinstance(change, MergeDelta))


def _default(environment: MutableMapping[str, str]) -> None:
    for name, value in {"STORE": "store", "DELTAS": "deltas", "WORKSPACE": "workspace"}.items():
        environment.setdefault(f"{PREFIX}{name}", str(HOME / value))
    environment.setdefault(f"{PREFIX}MAPPING", "receipts")
    Path(environment[f"{PREFIX}DELTAS"]).mkdir(parents=True, exist_ok=True)


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
