"""The whole pipeline on this machine, until Ctrl-C: ``make dev``, ``make dev MAPPING=mapping.yaml DIMENSION=3``."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog
from rich.console import Console

from chroma_lifecycle.config import Settings
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.wiring import open_store
from dev import dynamodb_local
from dev.pipeline import STORE, Pipeline, Plan, build, services
from dev.processes import Missing
from dev.queue_source import Batching, Invocation
from examples.debian import story
from scripts.invoke import begin_collections

HOME = Path(".work/dev")
KEPT = "dynamodb-local"

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str]) -> int:
    """Start everything, say what to do, wait for Ctrl-C, end everything."""
    given = parse(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for ending in (signal.SIGINT, signal.SIGTERM):  # the first too: a shell's background jobs ignore it
        signal.signal(ending, signal.default_int_handler)
    try:
        dynamodb_local.check()
        load_mapping(given.mapping)  # before anything is started
        run(given)
    except (Missing, LifecycleError, ValueError) as problem:
        console.print(f"[red]error:[/] {problem}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nended; everything that was started is stopped")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="make dev", description="The whole pipeline on this machine.")
    parser.add_argument("--mapping", default=str(story.MAPPING), help="a mapping file (the Debian example)")
    parser.add_argument("--dimension", type=int, default=story.DIMENSION, help="of the vectors (384)")
    parser.add_argument("--source", choices=["queue", "stream"], default="queue", help="the way of the events (queue)")
    parser.add_argument("--workers", type=int, default=2, help="containers of the function (2)")
    parser.add_argument("--window", type=float, default=1.0, help="seconds that a batch is gathered (1)")
    parser.add_argument("--batch", type=int, default=2_000, help="most messages in a batch (2000)")
    parser.add_argument("--receives", type=int, default=3, help="receives before a message is a dead letter (3)")
    return parser.parse_args(arguments)


def run(given: argparse.Namespace) -> None:
    """Run the pipeline until it is interrupted."""
    home = HOME.absolute()
    forget(home)
    example = Path(given.mapping).resolve() == story.MAPPING.resolve()
    mapping = str(Path(given.mapping).resolve()) if Path(given.mapping).exists() else given.mapping
    plan = Plan(
        mapping,
        home,
        cache=home,
        table="archive" if example else "table",
        source=given.source,
        workers=given.workers if given.source == "queue" else 1,
        batching=Batching(given.batch, given.window),
        receives=given.receives,
    )
    console.print("starting DynamoDB Local (its first start fetches it, some 55 MB) and moto's server …")
    with services(plan.cache, home / "logs") as cloud:
        os.environ |= cloud.variables()  # for this process's own look at the store
        pipeline = build(plan, cloud)
        settings = {**pipeline.settings(), "CHROMA_LIFECYCLE_WORKSPACE": str(home / "workspace")}
        begin_collections(Settings.read(settings), given.dimension)
        write_environment(home / "env", {**cloud.variables(), **settings})
        seen: dict[str, int] = {}
        pipeline.told = lambda invocation: tell(invocation, seen, mapping)
        pipeline.consume()
        try:
            introduce(pipeline, example)
            if example:
                announce_packages(pipeline)
            pipeline.wait_for(lambda: False, "the end", seconds=threading.TIMEOUT_MAX)
        finally:
            (home / "env").unlink()  # it leads nowhere any more
            pipeline.stop()


def forget(home: Path) -> None:
    """Remove what an earlier run left, but for what was fetched."""
    for path in home.iterdir() if home.exists() else []:
        if not path.name.startswith(KEPT):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_environment(path: Path, variables: dict[str, str]) -> None:
    """Write a file for the shell to source, which leads every AWS tool and our command line here."""
    path.write_text("".join(f"export {name}={shlex.quote(text)}\n" for name, text in variables.items()))


def introduce(pipeline: Pipeline, example: bool) -> None:
    """Say what runs where, and what to do with it."""
    plan, table = pipeline.plan, load_mapping(pipeline.plan.mapping)
    way = "through the queue" if plan.source == "queue" else "directly"
    console.print(
        f"\n[bold]The pipeline runs.[/] All of it is in memory, and gone after Ctrl-C.\n"
        f"  table     {plan.table}, in DynamoDB Local at {pipeline.cloud.dynamodb_url}; its stream goes {way}\n"
        f"  store     {STORE}, in moto at {pipeline.cloud.url}; collections: {', '.join(table.collections)}\n"
        f"  deltas    below {shown(plan.home / 'deltas')}, by their path there\n"
        f"  function  {len(pipeline.workers)} container(s), logs in {shown(plan.home / 'logs')}\n"
    )
    console.print("[bold]In another terminal:[/]\n")
    console.print(f"  source {shown(plan.home / 'env')}", style="bold")
    for line in example_commands() if example else ():
        console.print(f"  {line}", style="bold")
    if not example:
        console.print("  aws dynamodb put-item …    # or boto3; the items that this mapping knows:")
        for rule in table.rules.values():
            keys = {table.partition_key: rule.partition, table.sort_key: rule.sort}
            console.print(f"    {rule.name}: " + ", ".join(f"{name}={key}" for name, key in keys.items() if name))
        console.print(f"  .venv/bin/chroma-lifecycle log -c {table.collections[0]}", style="bold")
    console.print("\nBoto3 and the AWS command line find table, stream and queue by the same variables.\n")


def example_commands() -> list[str]:
    """Return the commands that change a record of the example, and show it."""
    item = f'{{"PK": "{story.PARTITION}", "SK": "PACKAGE#vim", "section": "my-favourites"}}'
    program = f'import boto3; boto3.resource("dynamodb").Table("archive").put_item(Item={item})'
    return [
        f"{shown(Path(sys.executable))} -c {shlex.quote(program)}",
        f".venv/bin/chroma-lifecycle query --id '{story.record_id('vim')}'",
    ]


def announce_packages(pipeline: Pipeline) -> None:
    """Play the embedding job of the example: a delta of two thousand packages, and the item that announces it."""
    story.write_delta(pipeline.plan.home / "deltas" / "packages.parquet", story.packages())
    item = {"PK": story.PARTITION, "SK": "RUN#1", "delta": "packages.parquet", "state": "PENDING"}
    pipeline.cloud.client("dynamodb").put_item(
        TableName=pipeline.plan.table, Item={name: {"S": text} for name, text in item.items()}
    )
    console.print("[dim]an embedding job has announced the vectors of 2,000 packages; the function merges them[/]")


def tell(invocation: Invocation, seen: dict[str, int], mapping: str) -> None:
    """Print what an invocation came to, and what was published by then."""
    done = f"{invocation.received - invocation.failed} of {invocation.received} messages done"
    news = []
    for collection in load_mapping(mapping).collections:
        version = read_published(open_store(STORE), collection).manifest.version.number
        if seen.get(collection, 1) != version:
            news.append(f"{collection}: version {version}")
        seen[collection] = version
    published = f"; {', '.join(news)}" if news else "; nothing to publish"
    why = f"; failed: {invocation.error}" if invocation.error else ""
    again = f"; receive {invocation.receives}" if invocation.failed else ""
    console.print(
        f"  worker {invocation.worker + 1}: {done} in {invocation.seconds:.1f} s{published}{again}{why}", markup=False
    )


def shown(path: Path) -> str:
    """Return a path as a person here would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
