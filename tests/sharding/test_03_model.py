"""The promise, with everything real, on three shards: the records are those of the model of one collection."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import StoreUnavailable
from tests.cycle.test_11_model import batches, compact, write_pool
from tests.model.histories import deltas, histories
from tests.model.reference import Reference, typed
from tests.support.faults import CollectionFails
from tests.support.sharded import ShardedWorld
from tests.support.table import in_sqs

EXAMPLES = max(1, settings.default.max_examples // 25)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_delivery_ends_in_the_models_records(begun: Path, data: st.DataObject) -> None:
    """L2, L17, L18, L19, L20, L21, L22, C7, D6: in any order, repeated, cut into any batches, shards failing meanwhile.

    What failed comes again, as from a queue; then the records of all shards together equal those of
    the model that sorts by sequence and replays.
    """
    pool = data.draw(deltas())
    records = data.draw(histories(max_events=16))
    with tempfile.TemporaryDirectory() as place:
        world = ShardedWorld(Path(shutil.copytree(begun, Path(place) / "world")))
        write_pool(world, pool)
        failed = data.draw(st.sampled_from(["words.1-1", "words.1-2", "lines.1-1", "lines.1-2"]))
        some = data.draw(st.permutations(records))
        broken = CollectionFails(failed).store(world.store)
        with suppress(StoreUnavailable), world.compactor("other", store=broken) as machine:
            machine.compact(in_sqs(some))
        with world.compactor() as machine:
            for form, batch in data.draw(batches(records)):
                compact(machine, form, batch)

        assert typed(Reference(pool).replay(records)) == typed(world.everything())
