"""``mapping new``: from a sample of items to a mapping of one's own, as a newcomer does it."""

from __future__ import annotations

import json

from tests.support.command_line import CommandLine

ITEMS = [{"PK": {"S": "USER#u"}, "SK": {"S": f"NOTE#{name}"}, "title": {"S": name}} for name in "ab"]


def test_a_sample_becomes_a_mapping_that_check_explains(empty: CommandLine) -> None:
    """Write it, look at it, ask what an event would do: three commands."""
    (empty.home / "items.json").write_text(json.dumps({"Items": ITEMS}))

    written = empty("mapping", "new", "items.json", "--output", "mine.yaml")
    told = empty("mapping", "check", "mine.yaml", "first.json")

    assert (0, "mine.yaml: 1 rules for notes, from 2 items; read it, and correct what was guessed wrong") == (
        written.code,
        written.out.splitlines()[0],
    )
    assert 0 == told.code
    assert "  rule note (line 14): user=u, note=a" in told.out


def test_without_a_file_it_is_printed(empty: CommandLine) -> None:
    """To standard output, from standard input; for programs as JSON."""
    printed = empty("mapping", "new", "-", stdin=json.dumps(ITEMS))
    asked = empty(
        "mapping", "new", "-", "--json", "--name", "letters", "--key", "PK", "--key", "SK", stdin=json.dumps(ITEMS)
    )

    assert "mapping: 1" in printed.out.splitlines()
    assert "  letters: USER#{user}#NOTE#{note}" in asked.json["mapping"].splitlines()


def test_wrong_samples_are_told(empty: CommandLine) -> None:
    """A mapping that is there is never replaced; what cannot be read, or holds no items, is named."""
    (empty.home / "items.json").write_text(json.dumps(ITEMS))
    before = (empty.home / "notes.yaml").read_bytes()

    assert "is there already" in empty("mapping", "new", "items.json", "-o", "notes.yaml").err
    assert before == (empty.home / "notes.yaml").read_bytes()
    assert "nowhere.json cannot be read" in empty("mapping", "new", "nowhere.json").err
    assert "torn.json cannot be read" in empty("mapping", "new", "torn.json").err
    assert "no text or number in its key attribute 'id'" in empty("mapping", "new", "items.json", "--key", "id").err
    assert "name one of these: note" in empty("mapping", "new", "items.json", "--records", "notes").err
