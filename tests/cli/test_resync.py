"""`resync` by the command line, with a real table (moto)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.intake import mapping_file
from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.published import read_manifest
from tests.support.command_line import CommandLine
from tests.support.s3 import client, new_table, use_server
from tests.support.scanned import images
from tests.support.sharded import ShardedWorld
from tests.support.story import POOL, story, write_pool
from tests.support.table import Table
from tests.support.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world").begin()
    write_pool(world)
    return world


def command(cli: CommandLine, world: World, table: str, *more: str) -> Any:
    places = {"--store": "store", "--mirror": "mirror", "--workspace": "workspace", "--deltas": "deltas"}
    given = [text for option, name in places.items() for text in (option, str(world.home / name))]
    return cli("resync", *given, "--mapping", "receipts", "--collection", "words", "--table", table, *more)


def test_what_differs_is_said_and_then_mended(
    empty: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: everything was lost; afterwards the items of the runs say COMPLETED, and nothing differs."""
    use_server(monkeypatch)
    table, name = Table(), new_table(("PK", "S"), ("SK", "S"))
    story(table)
    for image in images(table):
        client("dynamodb").put_item(TableName=name, Item=image)

    said = command(empty, world, name)
    mended = command(empty, world, name, "--apply", "--json")
    again = command(empty, world, name)

    assert (0, 0, 0) == (said.code, mended.code, again.code), said.err + mended.err
    assert "  2 runs that were not merged\n" in said.out
    assert "words: would go on from version 1: records 40 added, at most 0 changed, 0 removed; --apply" in said.out
    result = json.loads(mended.out)
    assert (2, True, 40) == (result["version"], result["published"], result["records"]["added"])
    assert 11 == result["differences"]["missing"]["count"]
    assert len(POOL["r1.parquet"]) == len(world.records())
    states = {item.get("words_state", {}).get("S") for item in client("dynamodb").scan(TableName=name)["Items"]}
    assert {None, "COMPLETED"} == states
    assert 2 == len(again.out.splitlines())
    assert "words: version 2 has nothing to mend; --apply would note when the table was read\n" in again.out


def test_what_a_recovery_gave_up_is_found_in_the_table(
    empty: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3, L9: the newest version is damaged and no copy is left: the one before and the table give all of it again."""
    use_server(monkeypatch)
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    table, name = Table(), new_table(("PK", "S"), ("SK", "S"))
    records = story(table)
    for image in images(table):
        client("dynamodb").put_item(TableName=name, Item=image)
    world.compact(records[:1])
    world.compact(records[1:])
    everything, manifest = world.everything(), world.published().manifest
    kept = read_manifest(world.store, manifest.parent).reached() if manifest.parent else set()
    world.store.write(max(each for each in manifest.reached() - kept if "/objects/" in each), b"damaged")
    at = "--store", str(world.home / "store"), "--collection", "words"

    refused = empty("recover", *at)
    older = refused.err.partition("recover --manifest ")[2].partition("`")[0]
    taken = empty("recover", "--manifest", older, *at, "--json")
    assert (4, 0, 2) == (refused.code, taken.code, taken.json["version"]), refused.err + taken.err
    assert [3] == [each["version"] for each in taken.json["given_up"]]
    assert everything != world.everything()
    mended = command(empty, world, name, "--apply")

    assert 0 == mended.code, mended.err
    assert everything == world.everything()
    assert 0 == empty("verify", "--all", *at).code


def test_a_wrong_table_is_refused(empty: CommandLine, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, with another key, not there, or no rate: exit 2 or 3, a hint, and nothing is written."""
    use_server(monkeypatch)
    before = world.stored()

    nothing = command(empty, world, new_table(("PK", "S"), ("SK", "S")), "--apply")
    other = command(empty, world, new_table(("id", "S")), "--apply")
    absent = command(empty, world, "nowhere", "--apply")
    still = command(empty, world, "nowhere", "--rate", "0")

    assert [2, 2, 3, 2] == [ended.code for ended in (nothing, other, absent, still)]
    assert "none of the 0 items of the table is one of the mapping" in nothing.err
    assert "has the key id" in other.err
    assert "there is no table nowhere" in absent.err
    assert all("hint:" in ended.err for ended in (nothing, other, absent))
    assert before == world.stored()


def test_a_changed_mapping_is_said_and_brought_into_force(
    empty: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped key, in shards: how the mappings differ, what would become of the records; then the same is done."""
    use_server(monkeypatch)
    world = ShardedWorld(tmp_path / "sharded").begin()
    write_pool(world)
    table, name = Table(), new_table(("PK", "S"), ("SK", "S"))
    world.compact(story(table))
    for image in images(table):
        client("dynamodb").put_item(TableName=name, Item=image)
    mapping = tmp_path / "changed.yaml"
    text = (Path(mapping_file.__file__).parent / "mappings/receipts.yaml").read_text()
    mapping.write_text(f"{text.replace('merchant_name, ', '')}shards: {{words: 3, lines: 3}}\n")
    before = world.stored()

    said = command(empty, world, name, "--mapping", str(mapping))
    assert before == world.stored()
    done = command(empty, world, name, "--mapping", str(mapping), "--apply")
    again = command(empty, world, name, "--mapping", str(mapping), "--json")

    assert (0, 0, 0) == (said.code, done.code, again.code), said.err + done.err
    shard = next(s.name for s in world.layout().shards if world.version(s.name) == 3)
    assert "  the mapping is another one than that of version 2:\n" in said.out
    assert '    rules: place: set: words: merchant_name: was {"from": "merchant_name"}, is gone\n' in said.out
    assert f"{shard}: would go on from version 2: records 0 added, at most 40 changed" in said.out
    assert f"{shard} version 3 published: records 0 added, 40 changed, 0 removed" in done.out
    assert not any("merchant_name" in metadata for _, _, metadata in world.records().values())
    assert [[]] * 3 == [each["result"]["mapping"] for each in json.loads(again.out)["shards"]]


def test_shards_are_brought_in_step_by_one_reading(
    empty: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: the same of a collection in shards, each told under its name; a shard alone is refused."""
    use_server(monkeypatch)
    world = ShardedWorld(tmp_path / "sharded").begin()
    write_pool(world)
    table, name = Table(), new_table(("PK", "S"), ("SK", "S"))
    story(table)
    for image in images(table):
        client("dynamodb").put_item(TableName=name, Item=image)
    mapping = tmp_path / "sharded.yaml"
    text = (Path(mapping_file.__file__).parent / "mappings/receipts.yaml").read_text()
    mapping.write_text(f"{text}shards: {{words: 3, lines: 3}}\n")

    mended = command(empty, world, name, "--apply", "--mapping", str(mapping))
    again = command(empty, world, name, "--mapping", str(mapping))
    one = command(empty, world, name, "--mapping", str(mapping), "--collection", "words.1-0")

    assert (0, 0, 2) == (mended.code, again.code, one.code), mended.err
    assert "words.1-2 version 2 published: records 40 added" in mended.out
    assert 40 == len(world.records())
    assert 2 * 3 == len(again.out.splitlines())
    assert "is a shard of words" in one.err
