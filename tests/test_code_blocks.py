"""Every code block of every document is held to something: run, read by what it is for, or made by a program."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.commands import COMMANDS, command_of
from tests.support.pages import ROOT, Block, blocks, pages

BLOCKS = [block for page in pages() for block in blocks(page)]

HELD_BY = {
    ("console", "docs/cli.md"): "tests/cli/test_docs.py",
    ("console", "docs/errors.md"): "tests/tour/page.py",
    ("console", "docs/tutorial.md"): "tests/e2e/test_tutorial.py",
    ("json", "docs/bulk.md"): "tests/template/test_bulk.py",
    ("json", "docs/shards.md"): "tests/template/test_bulk.py",
    ("json", "docs/mapping.md"): "tests/intake/mapping/test_docs.py",
    ("json", "docs/tutorial.md"): "tests/cli/test_tutorial.py",
    ("python", "docs/tutorial.md"): "tests/e2e/test_tutorial.py",
    ("text", "docs/errors.md"): "tests/tour/page.py",
    ("text", "docs/library.md"): "scripts/reference.py",
    ("text", "docs/mapping.md"): "tests/intake/mapping/test_docs.py",
    ("yaml", "README.md"): "tests/cli/test_docs.py",
    ("yaml", "docs/mapping.md"): "tests/intake/mapping/test_docs.py",
    ("yaml", "docs/tutorial.md"): "tests/cli/test_tutorial.py",
}
"""What runs the blocks of a language on a page, or makes them."""

DRAWINGS = {"docs/design.md": "the flow of the data, drawn"}
"""Pages whose ``text`` is a picture, and of what."""

PROGRAMS: dict[str, Callable[[list[str]], bool]] = {
    "chroma-lifecycle": lambda words: _is_command(words),
    "make": lambda words: all(_is_target(word) for word in words if "=" not in word),
    "python": lambda words: words[0] == "-m" or (ROOT / words[0]).is_file(),
    "pytest": lambda words: all((ROOT / word).exists() for word in words if word.startswith("tests")),
    "source": lambda words: words in (["activate"], [".venv/bin/activate"], [".work/dev/env"]),
    "export": lambda words: all(re.fullmatch(r"(AWS|CHROMA_LIFECYCLE)_[A-Z0-9_]+=\S*", word) for word in words),
    "sam": lambda words: words[0] in ("build", "deploy"),
    "aws": lambda words: words[0] in ("sqs", "dynamodb", "lambda", "pipes", "s3", "cloudformation", "stepfunctions"),
    "git": lambda words: words[0] == "clone",
    "cd": bool,
    "mkdir": bool,
}
"""What is typed in ``sh`` blocks, and whether it is there; parts that need an account are looked at only."""


def test_every_block_is_held_to_something() -> None:
    """A fence has a language; what no test runs, parses or makes is not published.

    What is typed is looked at below; Python without a file's name is run by tests/cli/test_python_blocks.py.
    """
    loose = [
        f"{block}: {block.language or 'no language'}; run it in a test and say so in HELD_BY, or give `sh` or a drawing"
        for block in BLOCKS
        if block.language != "sh"
        and not (block.language == "python" and not block.title)
        and (block.language, block.page) not in HELD_BY
        and not (block.language == "text" and block.page in DRAWINGS)
    ]

    assert [] == loose


@pytest.mark.parametrize(("what", "where"), HELD_BY.items(), ids=str)
def test_whatever_holds_a_page_names_it(what: tuple[str, str], where: str) -> None:
    """The list is no promise: there is such a block, and the file reads that page."""
    language, page = what

    assert [block for block in BLOCKS if (block.language, block.page) == what], f"no {language} on {page} any more"
    assert Path(page).name in (ROOT / where).read_text("utf-8")


def test_every_data_block_can_be_read() -> None:
    """JSON is JSON, YAML is YAML, and Python compiles."""
    read: dict[str, Callable[[str], object]] = {"json": json.loads, "yaml": yaml.safe_load, "python": ast.parse}
    for block in BLOCKS:
        if block.language in read and not block.refused:
            read[block.language](block.text)


def lines(block: Block) -> list[str]:
    """Return the commands of a block, each on one line."""
    joined = block.text.replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in re.split(r" (?:&&|\|) ", line.split(" #")[0])]
    return [part.strip() for part in parts if part.strip() and not part.startswith("#")]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_what_is_to_be_typed_is_there(block: Block) -> None:
    """A shell reads it, and every command, option, target, file and variable in it exists."""
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert (0, "") == (checked.returncode, checked.stderr)

    for line in lines(block):
        words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z]+=\w+", word)]
        program, *rest = [word for word in words if word not in (">", ">>")]
        assert program in PROGRAMS, f"{block}: {line}: what runs {program}?"
        assert PROGRAMS[program](rest), f"{block}: {line}"


def _is_command(words: list[str]) -> bool:
    name = command_of(words)
    known = {option for each in COMMANDS[name].params for option in each.opts} if name else set()
    return name is not None and {word.split("=")[0] for word in words if word.startswith("-")} <= known


def _is_target(word: str) -> bool:
    return bool(re.search(rf"^{word}:.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_the_checks_can_fail(tmp_path: Path) -> None:
    """A misspelt command, option, target, script; a fence without a language has none."""
    page = tmp_path / "page.md"
    page.write_text("```\nx\n```\n\n- in a list\n  ```json\n  {}\n  ```\n")

    first, second = blocks(page)
    assert ("", "json", "{}\n", 6) == (first.language, second.language, second.text, second.line)
    assert not _is_command(["lgo"])
    assert not _is_command(["log", "--limits", "3"])
    assert _is_command(["mapping", "check", "x"])
    assert not PROGRAMS["make"](["tset"])
    assert not PROGRAMS["python"](["scripts/nothing.py"])
