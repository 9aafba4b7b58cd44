"""What a cold start pays for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.table import Table, in_sqs
from tests.support.world import RUN, WORD, World, begins, label

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from dev.function import Context
from handler.app import lambda_handler
answer = lambda_handler(json.loads(sys.argv[1]), Context(ends_at=1e12, aws_request_id="1"))
print(json.dumps([answer, *sorted({"chromadb", "pyarrow"} & set(sys.modules))]), file=sys.stderr)
"""


def start(world: World, records: list[object]) -> object:
    """Deliver a batch to a container that was just started; return its answer, and what it loaded."""
    settings = world.settings
    environment = {
        "CHROMA_LIFECYCLE_STORE": settings.store,
        "CHROMA_LIFECYCLE_MAPPING": settings.mapping,
        "CHROMA_LIFECYCLE_DELTAS": settings.deltas[0],
        "CHROMA_LIFECYCLE_WORKSPACE": str(world.home / "cold"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(in_sqs(records))],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


def test_what_takes_long_to_load_is_loaded_when_it_is_needed(tmp_path: Path) -> None:
    """D1: a cold container that has nothing to publish, or only facts, does not pay seconds for Chroma, and one
    without a delta does not pay for Arrow."""
    world, table = World(tmp_path).begin(), Table()
    fact = table.put("IMAGE#a", "RECEIPT#00001#PLACE", place_id="x")

    assert [{"batchItemFailures": []}] == start(world, [fact])
    assert [{"batchItemFailures": []}] == start(world, [fact])

    world.write_delta("r2", {WORD: (1, "text", {})})
    assert [{"batchItemFailures": []}, "chromadb", "pyarrow"] == start(world, [table.put(*RUN, **begins("r2"))])
    assert [{"batchItemFailures": []}, "chromadb"] == start(world, [label(table, "total")])
