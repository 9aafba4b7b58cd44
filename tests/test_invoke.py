"""``make invoke``: the function on one event, on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.wiring import open_store
from scripts.invoke import main
from tests.support.pipeline import cold

ROOT = Path(__file__).parents[1]
Told = tuple[int, str, str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory like the repository's, in which nothing was invoked yet."""
    (tmp_path / "events").symlink_to(ROOT / "events")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("CHROMA_LIFECYCLE_")}
    monkeypatch.setattr("os.environ", environment)
    monkeypatch.chdir(tmp_path)
    cold()
    yield tmp_path
    cold()


def invoke(event: str, capsys: pytest.CaptureFixture[str]) -> Told:
    code = main([event, "--dimension", "3"], os.environ)
    told = capsys.readouterr()
    return code, told.out, told.err


def records(collection: str) -> int:
    store = open_store(".work/invoke/store")
    return read_published(store, collection).manifest.details.counts.records


def test_an_example_becomes_records(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Collections begin and the deltas of an example are written by themselves; the answer alone is printed."""
    code, out, err = invoke("events/ok-sqs-run.json", capsys)
    again, _, _ = invoke("events/ok-sqs-run.json", capsys)

    assert (0, {"batchItemFailures": []}) == (code, json.loads(out))
    assert "begun: words, 3 dimensions" in err
    assert (0, 1, 1) == (again, records("words"), records("lines"))


def test_a_message_that_fails_is_named_in_the_answer(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example of a missing delta misses it: its message alone is handed back."""
    code, out, _ = invoke("events/bad-sqs-delta-missing.json", capsys)

    assert (0, 1) == (code, len(json.loads(out)["batchItemFailures"]))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("events/bad-no-event.json", "this is no event that can be compacted"),
        ("events/nowhere.json", "events/nowhere.json: No such file or directory"),
        ("torn.json", "torn.json is not JSON"),
    ],
)
def test_what_fails_whole_is_an_error(home: Path, capsys: pytest.CaptureFixture[str], event: str, text: str) -> None:
    """One error with a hint, no answer, exit 1: what Lambda would retry."""
    (home / "torn.json").write_text("{")

    code, out, err = invoke(event, capsys)

    assert (1, "") == (code, out)
    assert text in err
    assert "hint: " in err
