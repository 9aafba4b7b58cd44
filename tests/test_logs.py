"""What the library says where nobody configured a log, and where somebody did."""

from __future__ import annotations

import pytest
import structlog

from chroma_lifecycle.logs import Log


def test_a_program_that_configured_nothing_hears_what_a_person_may_want_to_look_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What went as it should would stand among the program's own output."""
    log = Log("test")
    log.info("published")
    log.warning("mirror behind")

    told = capsys.readouterr().out
    assert (False, True) == ("published" in told, "mirror behind" in told)


def test_a_program_that_configured_a_log_hears_all_of_it() -> None:
    """As it configured it."""
    with structlog.testing.capture_logs() as heard:
        Log("test").info("published", version=2)

    assert [{"event": "published", "log_level": "info", "version": 2}] == heard
