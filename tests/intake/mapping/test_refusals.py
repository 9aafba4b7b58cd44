"""Every mapping that is refused: with its line, its reason, and what is allowed.

The mappings stand in ``refused/*.txt``. A case begins with ``=== its name``; a problem follows
the line that it names, after ``#!``. Where a case does not say ``mapping:``, the head of
:mod:`tests.support.mappings` is put before it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from tests.support.mappings import HEAD

MARK = "#! "


def _cases() -> dict[str, str]:
    found = {}
    for file in sorted((Path(__file__).parent / "refused").glob("*.txt")):
        for part in file.read_text().split("=== ")[1:]:
            name, text = part.split("\n", 1)
            found[f"{file.stem}: {name}"] = text if "mapping:" in text else HEAD + text
    return found


CASES = _cases()


def expected(text: str) -> list[str]:
    """Return what the marks in *text* announce."""
    lines = text.split("\n")
    problems, line = [], 1
    for number, each in enumerate(lines, 1):
        if each.startswith(MARK):
            problems.append(f"test.yaml:{line}: {each.removeprefix(MARK)}")
        else:
            line = number
    return problems


def problems(text: str) -> list[str]:
    """Return the problems of a mapping that must be refused, as they are told."""
    with pytest.raises(BadInput) as refused:
        parse_mapping(text, "test.yaml")
    first, *lines, last = refused.value.message.split("\n")
    assert (first, last) == ("the mapping cannot be used:", "")
    assert refused.value.hint == "mend these lines, then run 'chroma-lifecycle mapping check test.yaml'"
    return lines


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_mapping_is_refused_with_its_lines(case: str) -> None:
    """A wrong mapping is refused, each problem with file, line, reason and choices, all at once."""
    assert expected(CASES[case]) == problems(CASES[case])


def test_every_case_announces_a_problem() -> None:
    """No case passes by announcing nothing."""
    assert [] == [name for name, text in CASES.items() if MARK not in text]
    assert len(CASES) > 100


def test_what_yaml_cannot_hold_is_refused() -> None:
    """A file without content, and one with a control character, are told as such."""
    assert ["test.yaml:1: the file is empty; begin it with 'mapping: 1'"] == problems("# a comment\n")
    assert ["test.yaml:2: not YAML: special characters are not allowed"] == problems("mapping: 1\n\x07")


def test_a_missing_mapping_names_the_shipped_ones() -> None:
    """A path that does not exist may be a shipped name misspelt."""
    with pytest.raises(BadInput) as refused:
        load_mapping("recipts")

    assert refused.value.message == "cannot read the mapping 'recipts': No such file or directory"
    assert "did you mean 'receipts'? allowed: receipts" in refused.value.hint


def test_a_mapping_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A file in another encoding is told by its name."""
    file = tmp_path / "mapping.yaml"
    file.write_bytes("mapping: 1 # für".encode("latin-1"))

    with pytest.raises(BadInput, match=r"mapping\.yaml' is not UTF-8 text"):
        load_mapping(str(file))
