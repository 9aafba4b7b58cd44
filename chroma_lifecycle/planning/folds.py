"""How the contributions of several items become one value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from chroma_lifecycle.intake.mapping import Contribution
from chroma_lifecycle.planning.facts import FieldFact
from chroma_lifecycle.values import Ordering, Scalar

Given: TypeAlias = tuple[FieldFact, Contribution]
"""What an item gives to a key, beside the fact that it comes from."""


def fold(given: Iterable[Given], ordering: Ordering) -> dict[str, Scalar | None]:
    """Return the value of every key that something is given to; ``None`` where no item contributes one.

    Args:
        given: By facts that reach the same records.
        ordering: How items are ordered among each other.
    """
    feeding: dict[str, list[Given]] = {}
    for each in given:
        feeding.setdefault(each[1].key, []).append(each)
    return {key: _folded(contributions, ordering) for key, contributions in feeding.items()}


def _folded(contributions: Sequence[Given], ordering: Ordering) -> Scalar | None:
    given = [each for each in contributions if each[1].value is not None]
    if not given:
        return None
    how = contributions[0][1].fold
    values = [contribution.value for _, contribution in given]
    match how.kind if how else "newest":
        case "any":
            return any(values)
        case "count":
            return len(values)
        case "first":
            assert how is not None
            return min(values, key=how.order.index)
        case _:
            # Nearly every key is given one value, and then there is nothing to put in order.
            newest = given[0] if len(given) == 1 else max(given, key=lambda each: each[0].among(ordering))
            return newest[1].value
