"""The demo's data: what its README says of it, and that it fits its own mapping."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from chroma_lifecycle.intake.envelopes import Kind, decode_event
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.intake.records import StreamRecord
from chroma_lifecycle.values import ItemKey
from examples.debian import story

MAPPING = load_mapping(str(story.MAPPING))


@pytest.fixture(scope="module")
def packages() -> list[story.Package]:
    return story.packages()


def test_two_thousand_packages_of_many_sections(packages: list[story.Package]) -> None:
    """Sorted by name, each once, from forty sections and more."""
    names = [each.package for each in packages]

    assert 2_000 == len(packages)
    assert sorted(set(names)) == names
    assert len({each.section for each in packages}) > 40


def test_vectors_are_the_models(packages: list[story.Package]) -> None:
    """384 finite numbers of unit length, for packages and for queries."""
    vectors = np.stack([each.embedding for each in packages] + list(story.queries().values()))

    assert (2_012, story.DIMENSION) == vectors.shape
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a program to draw vector graphics", {"inkscape", "latexdraw", "karbon"}),
        ("a tool that shows which process uses a file", {"psmisc"}),
        ("keep track of personal finances", {"homebank", "gnucash"}),
    ],
)
def test_queries_find_what_a_person_expects(packages: list[story.Package], words: str, expected: set[str]) -> None:
    """The nearest five descriptions to a sentence are about what it says."""
    distances = np.stack([each.embedding for each in packages]) @ story.queries()[words]

    assert expected <= {packages[row].package for row in np.argsort(-distances)[:5]}


def test_no_address_of_a_person_is_in_the_data(packages: list[story.Package]) -> None:
    """Maintainers are named without their addresses, and no description holds one."""
    assert [] == [each.package for each in packages if "@" in each.document + each.maintainer]


def test_the_files_stay_small() -> None:
    """All data together is below two megabytes."""
    assert sum(file.stat().st_size for file in story.HERE.glob("*.parquet")) < 2_000_000


def test_every_item_and_record_fits_the_mapping(packages: list[story.Package]) -> None:
    """Package, tag and run items have the rules of their names, and ids are those of the collection."""
    tags = {(each.package, tag) for each in packages for tag in each.tags}

    assert {"package"} == {rule(f"PACKAGE#{each.package}") for each in packages}
    assert {"tag"} == {rule(f"PACKAGE#{package}#TAG#{tag}") for package, tag in tags}
    assert "run" == rule("RUN#1")
    assert all(MAPPING.fits(story.COLLECTION, each.record_id) for each in packages)


def test_the_story_is_the_same_at_every_call(packages: list[story.Package]) -> None:
    """Sequence numbers grow with the writes, and nothing depends on time or chance."""
    first, second = told(packages), told(packages)

    assert first == second
    sequences = [int(each["dynamodb"]["SequenceNumber"]) for each in first]
    assert all(before < after for before, after in itertools.pairwise(sequences))
    assert ["INSERT", "INSERT", "INSERT", "MODIFY", "REMOVE", "REMOVE"] == [each["eventName"] for each in first]


def test_the_function_understands_the_story(packages: list[story.Package]) -> None:
    """Through the queue and from the stream every record is opened; the poison message alone is not."""
    records = told(packages)
    queued = decode_event(json.loads(json.dumps(story.through_queue([*records, story.poison()]))), MAPPING)
    direct = decode_event(story.from_stream(records), MAPPING)

    assert (Kind.SQS, Kind.STREAM) == (queued.kind, direct.kind)
    assert [True] * 6 + [False] == [isinstance(each.record, StreamRecord) for each in queued.received]
    assert [True] * 6 == [isinstance(each.record, StreamRecord) for each in direct.received]
    assert 7 == len({each.source for each in queued.received})


def test_deltas_are_written_as_the_compactor_takes_them(packages: list[story.Package], tmp_path: Path) -> None:
    """The writer checks each record as the compactor does."""
    assert story.write_delta(tmp_path / "deltas" / "1.parquet", packages[:50]).stat().st_size > 50 * story.DIMENSION


def told(packages: list[story.Package]) -> list[story.Json]:
    """Return one record of each kind."""
    archive, package = story.Archive(), packages[0]
    return [
        archive.begin_run("1", "1.parquet"),
        archive.list_package(package),
        archive.review_tag(package.package, "use::editing"),
        archive.list_package(package, section="misc"),
        archive.drop_tag(package.package, "use::editing"),
        archive.remove_package(package.package),
    ]


def rule(sort_key: str) -> str | None:
    """Return the name of the rule that takes an item."""
    match = MAPPING.match(ItemKey(story.PARTITION, sort_key))
    return match.rule.name if match else None
