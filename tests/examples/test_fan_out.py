"""The fan-out of the examples: functions that hold parts of the shards, and the one that asks them."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.layout import publish_layout, read_layout
from chroma_lifecycle.reader import ShardedReader
from tests.support.heads import write_id
from tests.support.pages import ROOT
from tests.support.sharded import ShardedWorld
from tests.support.table import Table
from tests.support.world import begins

IMAGES = [f"IMAGE#{number}" for number in range(8)]


def filled(home: Path) -> ShardedWorld:
    """Publish some words of eight images in three shards."""
    world, table, batch = ShardedWorld(home).begin(), Table(), []
    for number, image in enumerate(IMAGES):
        ids = [f"{image}#RECEIPT#00001#LINE#00001#WORD#{word:05d}" for word in range(1, 4)]
        records = {id_: (number + 10 * word, f"text {number} {word}", {}) for word, id_ in enumerate(ids)}
        world.write_delta(str(number), records)
        batch.append(table.put(image, "RECEIPT#00001#COMPACTION_RUN#r", **begins(str(number))))
    assert not world.compact(batch).failed
    return world


def nearest(world: ShardedWorld, workspace: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what one reader of all shards answers."""
    with ShardedReader(world.store, "words", workspace=workspace) as reader, reader.collection() as words:
        found = words.query([asked["vector"]], n_results=asked["limit"])
        return {"ids": found["ids"][0], "documents": found["documents"][0]}


def load(name: str, **environment: str) -> ModuleType:
    """Import a function of the example, once more under an environment of its own."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/fan_out/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {"AWS_DEFAULT_REGION": "eu-central-1", **environment}.items():
            patch.setenv(variable, value)
        spec.loader.exec_module(module)
    return module


class Direct:
    """Lambda's client, for functions of this process."""

    def __init__(self, known: dict[str, ModuleType]) -> None:
        self.known = known
        self.asked: list[str] = []

    def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803 - boto3's own words
        self.asked.append(FunctionName)
        told = self.known[FunctionName].lambda_handler(json.loads(Payload), None)
        return {"Payload": io.BytesIO(json.dumps(told).encode())}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("published")).home


@pytest.fixture
def world(published: Path, tmp_path: Path) -> ShardedWorld:
    return ShardedWorld(Path(shutil.copytree(published, tmp_path / "world")))


@pytest.fixture
def parts(world: ShardedWorld) -> Iterator[dict[str, ModuleType]]:
    made = {
        f"part-{number}": load(
            "part",
            STORE=world.settings.store,
            WORKSPACE=str(world.home / f"part-{number}"),
            PART=str(number),
            PARTS="2",
        )
        for number in range(2)
    }
    yield made
    for module in made.values():
        module.reader.close()


@pytest.fixture
def front(parts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = load("front", FUNCTIONS="part-0,part-1")
    monkeypatch.setattr(module, "functions", Direct(parts))
    yield module
    module.threads.shutdown()


ASKED = {"vector": [5.2, 1.0, 0.0, 0.5], "limit": 9}


def test_the_answer_is_that_of_one_reader(
    world: ShardedWorld, front: ModuleType, parts: dict[str, ModuleType], tmp_path: Path
) -> None:
    """The same ids and texts in the same order; each part holds its own shards alone."""
    for limit in (1, 9, 100):
        asked = {**ASKED, "limit": limit}
        assert {**nearest(world, tmp_path / "one", asked), "missing": {}} == front.lambda_handler(asked, None)
    names = [shard.name for shard in world.layout().shards]
    held = [[each.collection for each in parts[part].reader.status().shards] for part in ("part-0", "part-1")]
    assert [names[0::2], names[1::2]] == held


def test_parts_of_two_layouts_make_no_answer(
    world: ShardedWorld, front: ModuleType, parts: dict[str, ModuleType], tmp_path: Path
) -> None:
    """A part that has seen a newer layout has the others look at it too; both are asked once more."""
    expected = {**nearest(world, tmp_path / "one", ASKED), "missing": {}}
    assert expected == front.lambda_handler(ASKED, None)
    seen = read_layout(world.store, "words")
    publish_layout(world.store, replace(seen.layout, serial=2, swap_id=write_id(2)), seen)
    parts["part-0"].reader.refresh()
    front.functions.asked.clear()

    assert expected == front.lambda_handler(ASKED, None)
    assert ["part-0", "part-0", "part-1", "part-1"] == sorted(front.functions.asked)


def test_a_function_in_the_wrong_place_is_named(front: ModuleType, parts: dict[str, ModuleType]) -> None:
    """Asked twice for one part and never for the other, the answer would lack half of the records, silently."""
    front.functions.known = {"part-0": parts["part-0"], "part-1": parts["part-0"]}
    with pytest.raises(front.PartMissingError, match="part-1: it is part 0 of 2, not 1 of 2"):
        front.lambda_handler(ASKED, None)


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_cannot_be_is_refused(part: tuple[int, int]) -> None:
    """Before anything is read."""
    with pytest.raises(BadInput, match="there is no part"):
        ShardedReader.open("store", "words", part=part)


def test_a_part_without_shards_answers_nothing_and_says_so(world: ShardedWorld, tmp_path: Path) -> None:
    """An empty answer would be taken for that of shards without a record."""
    with (
        ShardedReader(world.store, "words", part=(3, 8), workspace=tmp_path / "r") as reader,
        pytest.raises(BadInput, match="part 3 of 8 of words has none of its 3 shards"),
    ):
        reader.client().get_collection("words").count()
