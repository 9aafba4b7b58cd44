"""When a rebuild is worth it."""

from __future__ import annotations

import pytest

from chroma_lifecycle.snapshot.waste import Waste

MIB = 1 << 20


@pytest.mark.parametrize(
    ("dead_mib", "free_mib", "size_mib", "pays"),
    [(20, 5, 100, True), (0, 25, 100, True), (20, 4, 100, False), (0.5, 0.4, 1, False), (0, 0, 0, False)],
)
def test_a_quarter_of_the_size_and_a_mebibyte_are_worth_it(
    dead_mib: float, free_mib: float, size_mib: float, pays: bool
) -> None:
    """Both kinds of waste count together; next to nothing is left alone, whatever its share."""
    waste = Waste(1, int(dead_mib * MIB), int(free_mib * MIB), int(size_mib * MIB))

    assert waste.pays is pays
