"""docs/cli.md and the help say what is so: every command, every option, every example."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chroma_lifecycle import errors
from chroma_lifecycle.cli import output
from chroma_lifecycle.cli.output import exit_code
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.mapping_file import parse_mapping
from tests.support.command_line import MAPPING, CommandLine
from tests.support.commands import COMMANDS, options
from tests.support.pages import ROOT, blocks, examples, settled

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NO_COMMANDS = {"Exit codes", "Options and their variables"}


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    """A command without a section cannot be found, a section without a command is not true."""
    assert COMMANDS.keys() | NO_COMMANDS == SECTIONS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    """One line for the command, one for each option and argument."""
    command = COMMANDS[name]

    assert (command.help or "").strip()
    assert [] == [each.name for each in command.params if not getattr(each, "help", None)]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_names_every_option_and_no_other(name: str) -> None:
    """What a command takes stands in its section."""
    told = set(re.findall(r"`(--[a-z0-9-]+)", re.sub(r"```.*?```", "", SECTIONS[name], flags=re.DOTALL)))

    assert {each.opts[0] for each in options(COMMANDS[name])} == told


def test_every_variable_stands_beside_its_option() -> None:
    """The table of variables is that of the code."""
    told = dict(re.findall(r"^\| `(--[a-z0-9-]+)`[^|]*\| `([A-Z0-9_]+)` \|", PAGE, re.MULTILINE))
    known = {each.opts[0]: each.envvar for command in COMMANDS.values() for each in options(command) if each.envvar}

    assert known == told


def test_the_examples_print_what_they_say(empty: CommandLine) -> None:
    """Every console block is run in the order of the page; what is printed is what stands there."""
    empty.monkeypatch.setattr("chroma_lifecycle.cli.output._width", lambda: 80)

    for line, expected in examples(PAGE):
        program, *arguments = shlex.split(line)
        if program == "export":
            empty.monkeypatch.setenv(*arguments[0].split("=", 1))
            continue
        ended = empty(*arguments)
        assert ("chroma-lifecycle", settled(expected)) == (program, settled(ended.out + ended.err)), line


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Each once, and each error of the tree has one of them."""
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", SECTIONS["Exit codes"], re.MULTILINE)]
    known = [value for name, value in vars(output).items() if name.startswith("EXIT_")]
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, LifecycleError)]

    assert sorted(told) == sorted([0, *known])
    assert {exit_code(kind("x", hint="y")) for kind in kinds} <= set(told)


def test_the_mapping_of_the_examples_is_that_of_the_readme() -> None:
    """As the page says."""
    [shown] = [block.text for block in blocks(ROOT / "README.md") if block.language == "yaml"]

    assert parse_mapping(shown, "README.md").digest == parse_mapping(MAPPING, "notes.yaml").digest


def test_hints_name_commands_that_exist() -> None:
    """A way out that is no command leads nowhere; what later releases bring is listed here until it exists."""
    not_built: set[str] = set()
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "chroma_lifecycle").rglob("*.py"))
    named = set(re.findall(r"`chroma-lifecycle ([a-z]+)", source))

    assert set() == named - {name.split()[0] for name in COMMANDS} - not_built
    assert set() == not_built & {name.split()[0] for name in COMMANDS}
