"""What cycles have in common whose facts come from elsewhere than from messages."""

from __future__ import annotations

from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import LifecycleError


class Mending(Cycle):
    """A cycle without messages: its portion is empty, and there is none that could be set aside."""

    def _isolate(self, portion: Portion, problem: LifecycleError) -> None:
        del portion
        raise problem
