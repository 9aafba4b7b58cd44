"""docs/tutorial.md up to the pipeline: what is typed there is typed here; the rest is in tests/e2e/test_tutorial.py."""

from __future__ import annotations

import shlex

from tests.support.command_line import CommandLine
from tests.support.pages import ROOT, blocks, examples, settled

PAGE = ROOT / "docs" / "tutorial.md"


def test_a_mapping_is_made_step_by_step(empty: CommandLine) -> None:
    """The files of the page, as it goes on; each command prints what stands there."""
    first = PAGE.read_text("utf-8").partition("\n## 4. ")[0]
    (empty.home / "mine").mkdir()
    for block in blocks(PAGE):
        if block.language == "json":
            (empty.home / str(block.title)).write_text(block.text)
    typed = [*examples(first)]
    assert 3 == len(typed)

    for line, shown in typed:
        ended = empty(*shlex.split(line)[1:])
        assert settled(shown) == settled(ended.out + ended.err), line
        for block in blocks(PAGE):
            if block.language == "yaml":
                (empty.home / str(block.title)).write_text(block.text)


def test_the_mapping_is_what_was_guessed_and_corrected(empty: CommandLine) -> None:
    """What stands on the page differs from the guess by the two attributes that it tells of."""
    files = {block.title: block.text for block in blocks(PAGE)}
    (empty.home / "items.json").write_text(files["mine/items.json"])
    guessed = empty("mapping", "new", "items.json").out

    (empty.home / "guessed.yaml").write_text(
        guessed.replace("state: state}", "state: state, count: merged, error: error}")
    )
    (empty.home / "mapping.yaml").write_text(files["mine/mapping.yaml"])
    digests = [empty("mapping", "check", name, "--json").json["digest"] for name in ("guessed.yaml", "mapping.yaml")]

    assert digests[0] == digests[1]
