"""Producers: a block is a run; it is delivered and announced whole, once, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.producer import Producer
from tests.support.pipeline import Pipeline, cold
from tests.support.s3 import moto_url, use_server
from tests.support.world import IMAGE, RUN, WORD, vector

KEY = {"image_id": "a", "receipt_id": 1, "run_id": "r1"}


def producer_in(directory: Path, dimension: int = 4) -> Producer:
    return Producer.open(mapping="receipts", collection="words", dimension=dimension, deltas=str(directory))


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_a_run_that_is_made_again_changes_nothing(tmp_path: Path) -> None:
    """The address follows from the run; the same content is found there, in whatever order and parts it came."""
    ids = [f"{IMAGE}#RECEIPT#00001#LINE#00001#WORD#{number:05d}" for number in range(1, 4)]
    with producer_in(tmp_path).run(**KEY) as first:
        first.add(ids, [vector(number) for number in range(3)], ["a", "b", "c"])
        assert 3 == first.count
    before = {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}
    with producer_in(tmp_path).run(**KEY) as again:
        again.add(ids[1:], [vector(1), vector(2)], ["b", "c"])
        again.add(ids[:1], [vector(0)], ["a"])

    assert first.announced is not None
    assert again.announced is not None
    assert (True, False) == (first.announced.delivered.is_new, again.announced.delivered.is_new)
    assert first.announced.delivered.address == again.announced.delivered.address
    assert [first.announced.delivered.address] == list(before)
    assert before == {name: (tmp_path / name).read_bytes() for name in files_in(tmp_path)}


def test_another_content_under_the_same_run_is_refused(tmp_path: Path) -> None:
    """An address holds one content for ever; a corrected delta is a new run."""
    with producer_in(tmp_path).run(**KEY) as run:
        run.add([WORD], [vector(1)])
    before = [(tmp_path / name).read_bytes() for name in files_in(tmp_path)]
    with (
        pytest.raises(BadInput, match=r"exists already, with another content.*new run"),
        producer_in(tmp_path).run(**KEY) as run,
    ):
        run.add([WORD], [vector(2)])
    assert run.announced is None
    assert before == [(tmp_path / name).read_bytes() for name in files_in(tmp_path)]


@pytest.mark.parametrize(
    ("id_", "numbers", "words"),
    [
        ("IMAGE#b#RECEIPT#00001#LINE#00001#WORD#00001", [1.0] * 4, "does not lie below its run's partition key"),
        ("nonsense", [1.0] * 4, "does not fit the mapping's pattern"),
        (WORD, [1.0] * 3, "a vector of 3 numbers; collection 'words' has dimension 4"),
        (WORD, [float("nan")] * 4, "NaN"),
    ],
)
def test_what_the_compactor_would_refuse_is_refused_at_once(
    tmp_path: Path, id_: str, numbers: list[float], words: str
) -> None:
    """C2, L16: the record is named when it is added, and nothing of the run is delivered."""
    with pytest.raises(BadInput, match=words), producer_in(tmp_path).run(**KEY) as run:
        run.add([WORD.replace("WORD#00001", "WORD#00009")], [vector(1)])
        run.add([id_], [numbers])
    assert [] == files_in(tmp_path)


def test_a_run_that_cannot_be_is_refused_before_anything_is_embedded(tmp_path: Path) -> None:
    """L23: an incomplete key, a value too many, no rule that merges, a place outside; a run without records."""
    with pytest.raises(BadInput, match="run_id"), producer_in(tmp_path).run(image_id="a", receipt_id=1):
        pass
    with (
        pytest.raises(BadInput, match=r"no 'adress'.*image_id, receipt_id, run_id"),
        producer_in(tmp_path).run(adress="r1.parquet", **KEY),
    ):
        pass
    with pytest.raises(BadInput, match="one rule of the mapping must merge into 'places'; there is: none"):
        Producer.open(mapping="receipts", collection="places", dimension=4, deltas=str(tmp_path))
    with pytest.raises(BadInput, match="lies outside"), producer_in(tmp_path).run(address="/etc/x.parquet", **KEY):
        pass
    with pytest.raises(BadInput, match="would be empty"), producer_in(tmp_path).run(**KEY):
        pass
    with (
        pytest.raises(BadInput, match="create it, or mount it"),
        producer_in(tmp_path / "missing").run(**KEY) as run,
    ):
        run.add([WORD], [vector(1)])
    assert [] == files_in(tmp_path)


def test_a_run_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block: the delta is in the bucket, the item says PENDING, the function merges it, the item says COMPLETED.

    Made again afterwards it begins nothing: the item stays as it is.
    """
    from chroma_lifecycle.chroma.client import CollectionSettings
    from chroma_lifecycle.clock import SYSTEM_CLOCK
    from chroma_lifecycle.intake.mapping_file import load_mapping
    from chroma_lifecycle.snapshot.workspace import Workspace
    from chroma_lifecycle.wiring import open_store

    use_server(monkeypatch, moto_url())
    pipeline = Pipeline()
    for name, value in pipeline.settings(tmp_path / "workspace", "receipts").items():
        monkeypatch.setenv(name, value)
    for collection in ("words", "lines"):
        with Workspace.open(tmp_path / "beginning" / collection) as workspace:
            store = open_store(f"s3://{pipeline.name}/snapshots")
            digest = load_mapping("receipts").digest
            begin(Beginning(collection, digest, store, workspace, SYSTEM_CLOCK, "test"), CollectionSettings("l2", 4))
    producer = Producer.open(
        mapping="receipts",
        collection="words",
        dimension=4,
        deltas=f"s3://{pipeline.name}/deltas/",
        table=pipeline.name,
    )
    made = []
    for state in ("PENDING", "COMPLETED"):
        with producer.run(**KEY) as run:
            run.add([WORD], [vector(1)], ["text"])
        made.append(run.announced)
        assert state == pipeline.item(*RUN)["words_state"]
        pipeline.drain()
        assert ("COMPLETED", "1") == (
            pipeline.item(*RUN)["words_state"],
            pipeline.item(*RUN)["words_merged_vectors"],
        )
    cold()
    assert [True, False] == [each.begins for each in made if each]
    assert [True, False] == [each.delivered.is_new for each in made if each]
