"""Settings: read once, all problems told together."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.config import DEFAULT_WORKSPACE, NAMES, PREFIX, Settings
from chroma_lifecycle.errors import BadInput

LEAST = {f"{PREFIX}STORE": "/mnt/store", f"{PREFIX}MAPPING": "receipts"}


def read(**changed: str) -> Settings:
    return Settings.read(LEAST | {PREFIX + name: text for name, text in changed.items()})


def problems(environment: dict[str, str]) -> str:
    with pytest.raises(BadInput) as refused:
        Settings.read(environment)
    return refused.value.message


def test_two_settings_are_enough() -> None:
    """Store and mapping; everything else has a default."""
    assert Settings(store="/mnt/store", mapping="receipts") == Settings.read(LEAST)
    assert (None, DEFAULT_WORKSPACE, None, (), 10.0, 500, None, "INFO") == (
        (read := Settings.read(LEAST)).mirror,
        read.workspace,
        read.table,
        read.deltas,
        read.deadline_reserve_seconds,
        read.tail_budget,
        read.s3_checksums,
        read.log_level,
    )


def test_every_setting_can_be_set() -> None:
    """Each variable is read into the field of its name, without the blanks around it."""
    values = {
        "STORE": " s3://bucket/prefix ",
        "MAPPING": "mapping.yaml",
        "MIRROR": "/mnt/mirror",
        "WORKSPACE": "/tmp/w",
        "TABLE": "notes",
        "DELTAS": "s3://bucket/deltas/, /mnt/deltas",
        "DEADLINE_RESERVE_SECONDS": "2.5",
        "TAIL_BUDGET": "0",
        "S3_CHECKSUMS": "when_required",
        "LOG_LEVEL": "warning",
    }

    assert set(NAMES) == {PREFIX + name for name in values}
    assert read(**values) == Settings(
        store="s3://bucket/prefix",
        mapping="mapping.yaml",
        mirror="/mnt/mirror",
        workspace=Path("/tmp/w"),
        table="notes",
        deltas=("s3://bucket/deltas/", "/mnt/deltas"),
        deadline_reserve_seconds=2.5,
        tail_budget=0,
        s3_checksums="when_required",
        log_level="WARNING",
    )


def test_all_problems_are_told_together() -> None:
    """One look at the error is enough to mend all of it."""
    told = problems({f"{PREFIX}TAIL_BUDGET": "many", f"{PREFIX}STORAGE": "x", f"{PREFIX}LOG_LEVEL": "LOUD"})

    for text in (
        f"{PREFIX}STORE is not set",
        f"{PREFIX}MAPPING is not set",
        f"{PREFIX}TAIL_BUDGET must be a whole number from 0 on, got 'many'",
        f"{PREFIX}LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, got 'LOUD'",
        f"{PREFIX}STORAGE is not a setting",
    ):
        assert text in told


def test_a_misspelt_setting_is_not_passed_over() -> None:
    """A variable of ours that nothing reads is a mistake; the nearest name is told."""
    assert f"{PREFIX}MIROR is not a setting; did you mean {PREFIX}MIRROR?" in problems(
        LEAST | {f"{PREFIX}MIROR": "/mnt/mirror"}
    )


def test_other_variables_are_not_looked_at() -> None:
    """Those of others, those that are set to nothing, and the one that only the command line reads."""
    others = {"HOME": "/root", "AWS_REGION": "eu-west-1", f"{PREFIX}MIRROR": " ", f"{PREFIX}COLLECTION": "notes"}

    assert Settings.read(LEAST) == Settings.read(LEAST | others)


def test_what_is_given_stands_above_the_environment() -> None:
    """Options of the command line replace variables; an option that was not given does not."""
    settings = Settings.read(LEAST, store="elsewhere", mirror="/mnt/mirror", table=None)

    assert ("elsewhere", "receipts", "/mnt/mirror", None) == (
        settings.store,
        settings.mapping,
        settings.mirror,
        settings.table,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DEADLINE_RESERVE_SECONDS", "-1"),
        ("DEADLINE_RESERVE_SECONDS", "nan"),
        ("DEADLINE_RESERVE_SECONDS", "901"),
        ("TAIL_BUDGET", "-1"),
        ("TAIL_BUDGET", "1.5"),
        ("TAIL_BUDGET", "\u0663"),
        ("DELTAS", "a,,b"),
        ("S3_CHECKSUMS", "never"),
    ],
)
def test_values_out_of_bounds_are_refused(name: str, text: str) -> None:
    """The variable, what it may be, and what was found."""
    told = problems(LEAST | {PREFIX + name: text})

    assert f"{PREFIX}{name} must be" in told
    assert f"got {text!r}" in told


def test_the_page_of_settings_lists_every_one() -> None:
    """The hint of a wrong setting sends people there."""
    table = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()

    assert [] == [name for name in NAMES if f"| `{name}` |" not in table]
