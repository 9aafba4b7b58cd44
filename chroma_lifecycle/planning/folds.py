"""How the contributions of several items become one value."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from chroma_lifecycle.intake.mapping import Contribution
from chroma_lifecycle.values import Scalar


def fold_values(contributions: Sequence[tuple[tuple[object, ...], Contribution]]) -> Scalar | None:
    """Return the value of a key, or ``None`` if no item contributes one.

    Args:
        contributions: All that is given to one key, each with the place of its item in the order.
    """
    given = [(place, each.value) for place, each in contributions if each.value is not None]
    if not given:
        return None
    fold = contributions[0][1].fold
    values = [value for _, value in given]
    match fold.kind if fold else "newest":
        case "any":
            return any(values)
        case "count":
            return len(values)
        case "first":
            assert fold is not None
            return min(values, key=fold.order.index)
        case _:
            return max(given, key=itemgetter(0))[1]
