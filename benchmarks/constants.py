"""What the sizing model takes from the figures of a run: ``chroma_lifecycle/sizing/measured.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import linear_regression
from typing import Any

from chroma_lifecycle.sizing.measured import Measured

FILE = Path(__file__).parents[1] / "chroma_lifecycle" / "sizing" / "measured.json"
_MEGABYTE = 1e6
_DIMENSION = 384
_LINK_MEGABYTES_A_SECOND = 75.0


def constants(results: Mapping[str, Any]) -> Measured:
    """Return the constants that follow from a full run.

    A cycle's seconds are taken as linear in the records, the labels and the vectors: three slopes, from the same
    hundred labels on the smaller and the larger snapshot, from a hundred and a thousand labels, and from a
    thousand vectors. What a bulk build takes is counted in seconds of a processor.
    """
    few, many, vectors = results["cycles"]["kinds"][:3]
    small, large = results["growth"][-2], results["growth"][-1]
    slower = results["larger"]["seconds"]["median"] - few["seconds"]["median"]
    per_record = max(0.0, slower) / (results["larger"]["records"] - small["records"])
    per_label = (many["seconds"]["median"] - few["seconds"]["median"]) / 900
    fixed = few["seconds"]["median"] - 100 * per_label - small["records"] * per_record
    snapshot_bytes = small["snapshot_megabytes"] * _MEGABYTE
    base_memory = results["rounds"]["samples"][0]["megabytes"] * _MEGABYTE
    peak = results["memory"]["kinds"]["upserts-1000"]["ours"] * _MEGABYTE
    bulk = results["bulk"]
    before = _slope([(each["records"], each["microseconds"] / 1e6) for each in bulk["growth"]])
    built = bulk["ways"][2]["processor_seconds"] - bulk["few"]["processor_seconds"]
    per_built = built / (bulk["records"] - bulk["few"]["records"])
    return Measured(
        machine=f"{results['machine']['machine']}; {results['machine']['versions']}; {results['machine']['measured']}",
        dimension=_DIMENSION,
        records=small["records"],
        fixed_seconds=_digits(max(0.0, fixed)),
        seconds_per_record=_digits(per_record),
        seconds_per_label=_digits(per_label),
        seconds_per_vector=_digits((vectors["seconds"]["median"] - fixed - small["records"] * per_record) / 1_000),
        seconds_per_task=_digits(bulk["few"]["processor_seconds"] / (bulk["shards"] + 1)),
        seconds_per_built_vector=_digits(per_built - before * bulk["records"] / bulk["shards"] / 2),
        seconds_per_vector_before=_digits(before),
        bytes_per_record=_digits(large["snapshot_megabytes"] * _MEGABYTE / large["records"]),
        bytes_per_label=_digits(many["sent_megabytes"]["median"] * _MEGABYTE / 1_000),
        bytes_per_vector=_digits(vectors["sent_megabytes"]["median"] * _MEGABYTE / 1_000),
        base_memory_bytes=_digits(base_memory),
        memory_per_byte=_digits((peak - base_memory) / snapshot_bytes),
        base_share_of_labels=_digits(results["bases"][0]["base_megabytes"] * _MEGABYTE / snapshot_bytes),
        base_share_of_vectors=_digits(results["bases"][1]["base_megabytes"] * _MEGABYTE / snapshot_bytes),
        writes=few["requests"]["PUT"],
        reads=few["requests"]["GET"],
        link_bytes_per_second=_LINK_MEGABYTES_A_SECOND * _MEGABYTE,
    )


def write(results: Mapping[str, Any], file: Path = FILE) -> None:
    """Write the constants."""
    file.write_text(json.dumps(asdict(constants(results)), indent=1) + "\n")


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return how much the second number of a point grows with the first, by least squares."""
    return linear_regression(*zip(*points, strict=True)).slope


def _digits(value: float) -> float:
    """Return a figure with as many digits as a measurement deserves."""
    return float(f"{value:.3g}")
