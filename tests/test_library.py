"""The library's stable names: cheap to import, typed, and on the pages that are made of them."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import chroma_lifecycle
from chroma_lifecycle import errors
from scripts import reference

HEAVY = ("chromadb", "boto3", "pyarrow", "numpy", "structlog", "yaml")


def test_importing_the_package_imports_nothing_else() -> None:
    """What a program does not use costs it nothing; `dir` tells the names without loading them."""
    program = f"""
import sys, chroma_lifecycle
assert {{'SnapshotReader', 'close_client'}} <= set(dir(chroma_lifecycle))
from chroma_lifecycle import BadInput
print(sorted(name for name in sys.modules if name.split('.')[0] in {HEAVY} or name.startswith('chroma_lifecycle.')))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "['chroma_lifecycle.errors']" == ended.stdout.strip()


def test_a_reader_does_without_what_reads_deltas() -> None:
    """40 MB of each function that queries."""
    program = "import sys; from chroma_lifecycle import SnapshotReader; print('pyarrow' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "False" == ended.stdout.strip()


@pytest.mark.parametrize("name", chroma_lifecycle.__all__)
def test_a_name_is_what_the_type_checker_takes_it_for(name: str) -> None:
    """The imports for the type checker and those that are made at run time are the same."""
    tree = ast.parse(Path(chroma_lifecycle.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    typed = {each.name: node.module for node in imports for each in node.names}

    assert typed[name] == f"chroma_lifecycle.{chroma_lifecycle._HOMES[name]}"
    assert getattr(chroma_lifecycle, name).__name__ == name
    assert getattr(sys.modules[str(typed[name])], name) is getattr(chroma_lifecycle, name)


def test_every_error_of_the_tree_is_a_stable_name() -> None:
    """Whoever catches one needs no deeper module."""
    tree = {name for name, each in vars(errors).items() if inspect.isclass(each) and each.__module__ == errors.__name__}

    assert tree <= set(chroma_lifecycle.__all__)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'Snapshot'"):
        _ = chroma_lifecycle.Snapshot  # type: ignore[attr-defined]


def test_the_pages_are_what_the_docstrings_say() -> None:
    """`python -m scripts.reference` writes them anew after a change."""
    assert reference.library() == reference.LIBRARY.read_text("utf-8")
    assert reference.settings() == reference.SETTINGS.read_text("utf-8")


def test_every_stable_name_is_on_the_page() -> None:
    """Nothing is promised that nobody can look up."""
    page = reference.LIBRARY.read_text("utf-8")

    assert [] == [name for name in chroma_lifecycle.__all__ if f"\n### `{name}`\n" not in page]
