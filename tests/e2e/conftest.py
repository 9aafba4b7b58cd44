"""The pipeline with DynamoDB Local's streams; its servers run once for all tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.wiring import open_store
from dev.cloud import Cloud
from dev.pipeline import BUCKET, Pipeline, Plan, build, services
from dev.queue_source import Batching
from tests.support.table import attribute
from tests.support.world import World

CACHE = Path(__file__).parents[2] / ".work" / "dev"
Key = tuple[str, str]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """DynamoDB Local and moto's server."""
    with services(CACHE, tmp_path_factory.mktemp("logs")) as made:
        yield made


@dataclass
class Followed:
    """A receipts table that is followed, and what a reader sees of its collections."""

    pipeline: Pipeline
    world: World

    def put(self, pk: str, sk: str, **attributes: Any) -> None:
        self._client.put_item(TableName=self._table, Item=item_of((pk, sk), attributes))

    def remove(self, pk: str, sk: str) -> None:
        self._client.delete_item(TableName=self._table, Key=item_of((pk, sk), {}))

    def item(self, pk: str, sk: str) -> dict[str, str]:
        """Return the attributes of an item."""
        found = self._client.get_item(TableName=self._table, Key=item_of((pk, sk), {}), ConsistentRead=True)
        return {name: next(iter(value.values())) for name, value in found["Item"].items()}

    def drain(self, records: int, *, seconds: float = 240) -> None:
        """Wait until the stream's first *records* are through, and the queue is empty."""
        what = f"{records} records through the pipe and none in the queue"
        self.pipeline.wait_for(lambda: self.pipeline.drained(records), what, seconds=seconds)

    @property
    def _client(self) -> Any:
        return self.pipeline.cloud.client("dynamodb")

    @property
    def _table(self) -> str:
        return self.pipeline.plan.table


def item_of(key: Key, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an item in DynamoDB's own JSON."""
    return {name: attribute(value) for name, value in {"PK": key[0], "SK": key[1], **attributes}.items()}


@pytest.fixture
def follow(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Followed]]:
    """Return what makes a table and its pipeline; they are stopped at the end."""
    made: list[Pipeline] = []
    for name, value in cloud.variables().items():
        monkeypatch.setenv(name, value)

    def follow(**options: Any) -> Followed:
        name = f"t{uuid.uuid4().hex[:12]}"
        settings = {"CHROMA_LIFECYCLE_STORE": f"s3://{BUCKET}/{name}", "CHROMA_LIFECYCLE_LOG_LEVEL": "WARNING"}
        home = tmp_path / name
        world = World(home, settings["CHROMA_LIFECYCLE_STORE"]).begin()
        plan = Plan("receipts", home, CACHE, name, settings=settings, **{"batching": Batching(), **options})
        made.append(build(plan, cloud))
        return Followed(made[-1], world)

    yield follow
    for pipeline in made:
        pipeline.stop()


def records_of(followed: Followed) -> dict[str, Any]:
    """Return what a reader sees now."""
    return followed.world.everything(open_store(followed.world.settings.store))
