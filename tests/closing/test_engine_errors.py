"""What Chroma's engine says is told by what can be done about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromadb.errors import InternalError

from chroma_lifecycle.chroma.engine_errors import chroma_errors
from chroma_lifecycle.errors import Corrupt, LifecycleError, NotOwned

UNABLE = "Query error: Database error: (code: 14) unable to open database file"


@pytest.mark.parametrize(("there", "expected"), [(True, Corrupt), (False, NotOwned)])
def test_a_directory_that_is_gone_was_taken_away(tmp_path: Path, there: bool, expected: type[LifecycleError]) -> None:
    """The engine says many things where a directory was removed beneath it; where it is there, it is damaged."""
    directory = tmp_path if there else tmp_path / "gone"

    with pytest.raises(expected), chroma_errors("update", directory):
        raise InternalError(UNABLE)
