"""The YAML of a mapping: a tree of texts, numbers, booleans, lists and tables, each with its line.

PyYAML's parser is used up to its nodes; plain scalars are resolved here by the rules of YAML 1.2,
where ``NO`` and ``on`` are text. Anchors, aliases and tags are refused: a line says what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import isfinite
from operator import attrgetter
from typing import Protocol, TypeAlias

import yaml

from chroma_lifecycle.intake.attributes import INTEGERS, is_text
from chroma_lifecycle.intake.problems import Problems, allowed
from chroma_lifecycle.values import Scalar

_DEEPEST = 16
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_WORDS: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "~": None,
    "": None,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text, number, boolean or null.

    Attributes:
        text: As it is written, without quotes.
        value: What YAML 1.2 makes of it; ``None`` is null.
    """

    line: int
    text: str
    value: Scalar | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Nodes in their order."""

    line: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Keys, each with its node."""

    line: int
    entries: tuple[tuple[Leaf, Node], ...]


Node: TypeAlias = Leaf | Listing | Table


class _Mark(Protocol):
    line: int  # counted from 0


def read_tree(text: str, problems: Problems) -> Node | None:
    """Return the tree of *text*, or ``None`` after noting why there is none."""
    try:
        if not _plain_structure(text, problems):
            return None
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as problem:
        line = _line(problem.problem_mark or problem.context_mark)
        problems.add(line, f"not YAML: {problem.problem}; quote texts that hold '{{', ': ' or ' #'")
        return None
    except yaml.reader.ReaderError as problem:
        problems.add(text[: problem.position].count("\n") + 1, f"not YAML: {problem.reason}")
        return None
    if root is None:
        problems.add(1, "the file is empty; begin it with 'mapping: 1'")
        return None
    return _node(root, problems)


def _plain_structure(text: str, problems: Problems) -> bool:
    """Note anchors, aliases and tags; return whether the nodes below can be walked."""
    depth, walkable = 0, True
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            problems.add(line, f"alias '*{event.anchor}': write it out, so that each line says what it says")
            walkable = False
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            problems.add(line, f"anchor '&{event.anchor}': leave it out; aliases are not taken")
        if (tag := getattr(event, "tag", None)) is not None:
            problems.add(line, f"tag '{tag}': leave it out; quotes make a text of anything")
        if depth > _DEEPEST:
            problems.add(line, f"more than {_DEEPEST} levels; a mapping has no such depth")
            return False
    return walkable


def _line(mark: _Mark | None) -> int:
    return 1 if mark is None else mark.line + 1


def _node(node: yaml.Node, problems: Problems) -> Node:
    line = _line(node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return Listing(line, tuple(_node(each, problems) for each in node.value))
    if isinstance(node, yaml.MappingNode):
        keys = ((_key(key, problems), value) for key, value in node.value)
        return Table(line, tuple((key, _node(value, problems)) for key, value in keys if key))
    assert isinstance(node, yaml.ScalarNode)
    if not is_text(node.value):
        problems.add(line, "a text with half a character in it (a lone surrogate), which nothing can store")
    return Leaf(line, node.value, node.value if node.style else _scalar(node.value))


def _key(node: yaml.Node, problems: Problems) -> Leaf | None:
    leaf = _node(node, problems)
    if isinstance(leaf, Leaf):
        return leaf
    problems.add(leaf.line, "a key must be text; quote a text that begins with '{' or '['")
    return None


def _scalar(text: str) -> Scalar | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


class Reader:
    """Asks the tree for what must be there; every other answer becomes a problem.

    The argument *what* names the thing asked for, to begin the problem's text.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def entries(
        self, node: Node, what: str, identity: Callable[[Leaf], object] = attrgetter("text")
    ) -> list[tuple[Leaf, Node]]:
        """Return the entries of a table that has some, each key once; *identity* makes two keys the same."""
        if not isinstance(node, Table) or not node.entries:
            self.problems.add(node.line, f"{what} must be a table (key: value) that is not empty")
            return []
        first: dict[object, Leaf] = {}
        for key, _ in node.entries:
            if (known := first.setdefault(identity(key), key)) is not key:
                self.problems.add(
                    key.line, f"repeated key '{key.text}' in {what}; it stands in line {known.line} already"
                )
        return [(key, value) for key, value in node.entries if key is first[identity(key)]]

    def fields(
        self, node: Node, what: str, required: Collection[str], optional: Collection[str] = ()
    ) -> dict[str, Node]:
        """Return the values of a table whose keys are given by the language."""
        found: dict[str, Node] = {}
        choices = [*required, *optional]
        for key, value in self.entries(node, what):
            if key.text in choices:
                found[key.text] = value
            else:
                self.problems.add(key.line, f"unknown key '{key.text}' in {what}; {allowed(choices, key.text)}")
        if missing := [name for name in required if name not in found and isinstance(node, Table) and node.entries]:
            self.problems.add(node.line, f"{what} lacks {' and '.join(map(repr, missing))}; {allowed(choices)}")
        return found

    def nodes(self, node: Node, what: str) -> tuple[Node, ...]:
        """Return the nodes of a list that has some."""
        if isinstance(node, Listing) and node.nodes:
            return node.nodes
        self.problems.add(node.line, f"{what} must be a list ([a, b]) that is not empty")
        return ()

    def text(self, node: Node, what: str) -> str | None:
        """Return a text that is not empty."""
        if isinstance(node, Leaf) and isinstance(node.value, str) and node.value:
            return node.value
        self.problems.add(node.line, f"{what} must be a text; put a number, 'true', 'false' or 'null' in quotes")
        return None

    def texts(self, node: Node, what: str) -> list[tuple[Node, str]]:
        """Return the texts of a list, each once, beside their nodes."""
        read = [(each, self.text(each, f"each of {what}")) for each in self.nodes(node, what)]
        found: dict[str, Node] = {}
        for each, text in read:
            if text is not None and found.setdefault(text, each) is not each:
                self.problems.add(each.line, f"{what} lists '{text}' twice")
        return [(each, text) for text, each in found.items()]

    def one_of(self, node: Node, what: str, choices: Collection[str]) -> str | None:
        """Return a text that is one of *choices*."""
        text = self.text(node, what)
        if text is None or text in choices:
            return text
        self.problems.add(node.line, f"{what} cannot be '{text}'; {allowed(choices, text)}")
        return None

    def constant(self, node: Node, what: str) -> Scalar | None:
        """Return a value that the metadata of a record can hold."""
        value = node.value if isinstance(node, Leaf) else None
        if value is None:
            self.problems.add(
                node.line, f"{what} must be a text, a number, true or false; leave it out to give nothing"
            )
        elif (isinstance(value, int) and value not in INTEGERS) or (isinstance(value, float) and not isfinite(value)):
            self.problems.add(node.line, f"{what} must be a finite number, and within 64 bits if it is whole")
            return None
        return value
