"""The fan-out of the examples with its functions in processes, asked by the SDK (``make recipes``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.test_fan_out import ASKED, filled, load, nearest
from tests.support.functions import lambda_service

pytestmark = pytest.mark.recipes


def test_fan_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two functions answer as one reader does; of one that is down, and one that is not there, the answer says so."""
    for variable, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(variable, value)
    world = filled(tmp_path / "world")
    with lambda_service() as functions:
        for number in range(2):
            functions.start(
                f"part-{number}",
                "examples.fan_out.part",
                STORE=world.settings.store,
                WORKSPACE=str(tmp_path / f"part-{number}"),
                PART=str(number),
                PARTS="2",
            )
        front = load("front", FUNCTIONS="part-0,part-1", AWS_ENDPOINT_URL_LAMBDA=functions.url)
        whole = nearest(world, tmp_path / "one", ASKED)
        assert {**whole, "missing": {}} == front.lambda_handler(ASKED, None)
        with pytest.raises(front.PartMissingError, match=r"part-0: .*vectors of 2 numbers"):
            front.lambda_handler({"vector": [1.0, 2.0]}, None)

        functions.kill("part-1")
        with pytest.raises(front.PartMissingError, match="part-1: Error: Runtime exited"):
            front.lambda_handler(ASKED, None)
        left = front.lambda_handler({**ASKED, "partial": True}, None)
        layout = world.layout()
        own = {shard.name for shard in layout.shards[0::2]}
        assert [id_ for id_ in whole["ids"] if layout.shard_of(id_).name in own] == [
            id_ for id_ in left["ids"] if id_ in whole["ids"]
        ]
        assert {"part-1": "Error: Runtime exited"} == left["missing"]
        functions.kill("part-0")
        with pytest.raises(front.PartMissingError, match="part-0"):
            front.lambda_handler({**ASKED, "partial": True}, None)
        front.threads.shutdown()
        nobody = load("front", FUNCTIONS="gone", AWS_ENDPOINT_URL_LAMBDA=functions.url)
        with pytest.raises(nobody.PartMissingError, match="Function not found: gone"):
            nobody.lambda_handler(ASKED, None)
        nobody.threads.shutdown()
