"""Commands on a collection in shards: what works on one lineage works on each shard in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import typer

from chroma_lifecycle.bulk.leftovers import left_behind
from chroma_lifecycle.cli.options import choose_collection
from chroma_lifecycle.cli.output import Output, gathering
from chroma_lifecycle.errors import BadInput, LifecycleError, Sharded
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, read_layout
from chroma_lifecycle.publishing.shard import Shard, whole_of
from chroma_lifecycle.wiring import open_store

Given: TypeAlias = dict[str, Any]
Portion: TypeAlias = Callable[[Given, Shard, Layout], Given | None]
"""Returns the arguments with which a command is run on one shard, or ``None`` if that shard is not concerned."""


def same(given: Given, shard: Shard, layout: Layout) -> Given:
    """Run the command on every shard as it was given."""
    del shard, layout
    return given


def into_files_of_their_own(name: str) -> Portion:
    """Return what gives each shard a file of its own: ``report.html`` becomes ``report-words.1-0.html``."""

    def portion(given: Given, shard: Shard, layout: Layout) -> Given:
        del layout
        if (to := given[name]) is None:
            return given
        place, slash, leaf = str(to).rpartition("/")
        stem, dot, kind = leaf.partition(".")
        return given | {name: type(to)(f"{place}{slash}{stem}-{shard.name}{dot}{kind}")}

    return portion


def into_directories_of_their_own(given: Given, shard: Shard, layout: Layout) -> Given:
    """Give each shard a directory of its own below the one that was named."""
    del layout
    return given | {"to": Path(given["to"]) / shard.name}


def of_its_records(name: str) -> Portion:
    """Return what runs the command on the shards of the records that it names, each with its own."""

    def portion(given: Given, shard: Shard, layout: Layout) -> Given | None:
        if not (ids := given[name]):
            return given
        if isinstance(ids, str):
            return given if layout.shard_of(ids) == shard else None
        mine = [each for each in ids if layout.shard_of(each) == shard]
        return given | {name: mine} if mine else None

    return portion


def nowhere_else(portion: Portion) -> Portion:
    """Return *portion* for a command that must reach every copy of a record: shards that no layout names have some."""

    def guarded(given: Given, shard: Shard, layout: Layout) -> Given | None:
        require_nowhere_else(open_store(given["store"]), layout)
        return portion(given, shard, layout)

    return guarded


def require_nowhere_else(store: Store, layout: Layout) -> None:
    """Refuse to go on where records of a collection are in shards that are not in force.

    Raises:
        BadInput: They are: in some that come, or that a reshard left behind.
    """
    left = left_behind(store, layout)
    if layout.coming or left:
        name = layout.coming[0].name if layout.coming else left[0].name
        raise BadInput(
            f"{name} holds records of {layout.collection} too, and is not in force: nothing was done",
            hint="end the reshard first, `chroma-lifecycle bulk reshard`; or remove what it left behind, "
            "`chroma-lifecycle bulk sweep --delete`",
        )


def each_shard(
    portion: Portion = same, *, then: Callable[[Given, Layout, Output], None] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what lets a command work on a collection in shards too; a plain collection costs it nothing.

    A shard that fails does not keep the others from being asked; then the command fails.

    Args:
        portion: What each shard is asked for.
        then: What is done for the collection itself, if no shard has failed.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            try:
                command(**given)
            except Sharded:
                _run_on_each(command, given, portion, then)

        return run

    return decorate


def _run_on_each(
    command: Callable[..., None],
    given: Given,
    portion: Portion,
    then: Callable[[Given, Layout, Output], None] | None,
) -> None:
    name = choose_collection(given["collection"], given["mapping"])
    for option in ("version", "before", "after"):
        require_no_version(name, given.get(option))
    layout = read_layout(open_store(given["store"]), name).layout
    output, found, failures, worst = Output(given["as_json"]), [], list[tuple[Shard, LifecycleError]](), 0
    if layout.coming:
        output.tell(f"{name}: a reshard to {len(layout.coming)} shards is under way; these are in force")
    # All of them before the first is run: what is wrong for one shard is found before anything is done.
    portions = [(shard, mine) for shard in layout.shards if (mine := portion(given, shard, layout)) is not None]
    if not portions:
        output.tell(f"{name}: there is nothing to do in any shard")
    for shard, mine in portions:
        output.tell(f"== {shard.name}")
        with gathering() as results:
            try:
                command(**mine | {"collection": shard.name})
            except typer.Exit as ended:
                worst = max(worst, ended.exit_code)
            except LifecycleError as problem:
                output.tell(f"failed: {problem.message}")
                failures.append((shard, problem))
        found.append({"shard": shard.name, "result": results[0] if results else None})
    if then is not None and not failures:
        then(given, layout, output)
    output.result({"collection": name, "shards": found})
    if failures:
        raise _all_of(failures, layout)
    if worst:
        raise typer.Exit(worst)


def require_no_version(name: str, version: object) -> None:
    """Refuse the number of a version of a collection in shards.

    Raises:
        BadInput: It is one.
    """
    if _is_number(version):
        raise BadInput(
            f"{name} is in shards, and each has versions of its own",
            hint="name one shard with --collection; or leave the version out, or say a time where that can be said",
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.isdigit())


def _all_of(failures: list[tuple[Shard, LifecycleError]], layout: Layout) -> LifecycleError:
    shard, first = failures[0]
    message = f"{len(failures)} of {len(layout.shards)} shards failed; {shard.name}: {first.message}"
    return type(first)(message, hint=first.hint)


def refuse_one_shard(name: str, mapping: str, what: str) -> None:
    """Refuse a shard's own name where only the whole collection is meant.

    Raises:
        Sharded: *name* is that of a shard of one of the mapping's collections.
    """
    collections = load_mapping(mapping).collections
    if name not in collections and (whole := whole_of(name)) in collections:
        raise Sharded(
            f"{name} is a shard of {whole}, and {what} is about the whole of it",
            hint=f"name the collection: --collection {whole}",
        )
