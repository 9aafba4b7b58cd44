"""Changes of two streams: one after the other they have an order, and both at once they have none.

Of two streams the newer one counts as newer in all that it says, which is right where one ended before the other
began. A change of the older stream that was made later shows that it was not so. Wherever it would be
outdone and say other than what then counts, it fails: as a straggler it would be lost without a word.
"""

from __future__ import annotations

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.values import Position


def of_a_left_stream(position: Position, outdone_by: Position) -> BadInput:
    """Return why a change fails at a *position* whose stream was left before the one that outdoes it."""
    return BadInput(
        f"the change is of a stream that was left for a newer one (it is at {position}, and what outdoes it at "
        f"{outdone_by}), and yet it was made later",
        hint="let the function follow one stream alone; to go back to a table, make its stream anew, deploy with that "
        "one, and run `chroma-lifecycle resync`",
    )
