"""The page of benchmarks says what the results file says, and the benchmark runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import page, sharded, site
from benchmarks.charts import pictures
from benchmarks.sizes import Size

SMALLEST = Size("smallest", 1_200, 8, 1, rounds=1, slow_rounds=1, closing_rounds=1, open_rounds=20)


def test_every_figure_of_the_page_is_from_the_results() -> None:
    """Writing the page again from docs/benchmarks.json changes nothing, its pictures included."""
    results, text = json.loads(page.RESULTS.read_text()), page.PAGE.read_text()

    assert text == page.render(text, results)
    for name, picture in pictures(results).items():
        assert picture == (page.PICTURES / name).read_text()
        assert f"(benchmarks/{name})" in text


def test_another_result_is_another_page() -> None:
    """So the test before this one can fail."""
    results, text = json.loads(page.RESULTS.read_text()), page.PAGE.read_text()
    results["memory"]["kinds"]["labels-100"]["over"] += 1

    assert text != page.render(text, results)


def test_the_figures_of_shards_are_from_their_results() -> None:
    """docs/shards.md is written from docs/shards.json."""
    results, text = json.loads(sharded.RESULTS.read_text()), sharded.PAGE.read_text()

    assert text == sharded.render(text, results)
    results["recalled"][0]["recall"] += 0.1
    assert text != sharded.render(text, results)


def test_the_full_profile_was_measured_part_by_part() -> None:
    """Nothing is missing from the page, and nothing on it is from a short run."""
    results = json.loads(page.RESULTS.read_text())

    assert {*command.PARTS, "machine"} == results.keys()
    assert results["machine"]["profile"].startswith("full: ")
    assert "not measured" not in page.render(page.PAGE.read_text(), results)


def test_the_benchmark_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a snapshot of 1,200 records: it is made, published, changed by turns with Chroma alone, counted, restored."""
    for module in (site, command):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    results: dict[str, object] = {}

    assert ["larger", "behind"] == list(command.run(SMALLEST, ["larger", "behind"], results))
    labels, behind = results["larger"], results["behind"]
    assert isinstance(labels, dict)
    assert isinstance(behind, dict)
    assert {"GET": 1, "PUT": 2} == labels["requests"]
    assert 0 < behind["published_megabytes"] < 2 * behind["received_megabytes"] < 4 * behind["published_megabytes"]
    assert "100 scattered label updates" in page.render(page.PAGE.read_text(), results)
