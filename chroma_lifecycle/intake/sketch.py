"""A first mapping for a table, with comments, from a sample of its items; a start for people to correct.

Whatever the sample is, what comes out is a mapping that can be used: a rule that the language
refuses is left in as a comment, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import Value
from chroma_lifecycle.intake.mapping_file import parse_mapping
from chroma_lifecycle.intake.sample import SampleItem
from chroma_lifecycle.intake.shapes import Shape, shapes_of
from chroma_lifecycle.values import Ordering

_STATES = {"PENDING", "COMPLETED"}
_ADDRESS = re.compile(r"s3://.+|.*\.(parquet|jsonl|tar\.gz)|.*[^/]/[^/].*")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_MOST_MEMBERS = 12
_RUN = """\
# No item of the sample announces vectors: an embedding job does it by an item like this one, whose state is
# PENDING and whose delta is the address of its file.
#  run:
#    item: {{{keys}}}
#    merge:
#      {collection}: {{delta: delta, state: state, count: merged, error: error}}"""


@dataclass
class _Block:
    """The lines of one rule.

    Attributes:
        begins: What it is, and which items it takes.
        sets: What stands before its keys.
        keys: A line for each metadata key.
        ends: What else it does.
        refused: Why it cannot stay, once that is known; ``refused_keys`` likewise, by place.
    """

    begins: list[str]
    sets: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    refused: str = ""
    refused_keys: dict[int, str] = field(default_factory=dict)

    def lines(self) -> list[tuple[str, int | None]]:
        """Return the lines, each with the place of its key if it is one that stands."""
        standing = [at for at, key in enumerate(self.keys) if at not in self.refused_keys and not _is_comment(key)]
        lines: list[tuple[str, int | None]] = [(line, None) for line in self.begins]
        if standing:
            lines += [(line, None) for line in self.sets]
        for at, key in enumerate(self.keys):
            if at in standing:
                lines.append((key, at))
            else:
                lines.append((_as_comment(key, self.refused_keys.get(at, "")), None))
        lines += [(line, None) for line in self.ends]
        if self.refused or not (standing or self.ends):
            told = [(f"  # left out: {self.refused}", None)] if self.refused else []
            return [*told, *((_as_comment(line), None) for line, _ in lines)]
        return lines

    def refuse(self, at: int | None, problem: str) -> bool:
        """Take a key, or the whole rule, out; return whether that is something new."""
        if at is not None:
            self.refused_keys[at] = problem
        elif self.refused:
            return False
        else:
            self.refused = problem
        return True


def sketch_mapping(
    items: Sequence[SampleItem], keys: Sequence[str], *, records: str | None = None, collection: str | None = None
) -> str:
    """Return the text of a mapping for the table that *items* come from.

    Args:
        items: Some items of every kind.
        keys: Names of the key attributes, the partition key first.
        records: The rule whose items stand for the records; by default the one with most items.
        collection: Name of the collection; by default made from the name of that rule.

    Raises:
        BadInput: No shape is called *records* or could be one, or the collection cannot have this name.
    """
    shapes = shapes_of(items, keys)
    runs = [shape for shape in shapes if _run_attributes(shape)]
    others = [shape for shape in shapes if shape not in runs]
    record = _record([shape for shape in others if shape.names], records)
    sketch = _Sketch(tuple(keys), record, collection or _collection_name(record, keys))
    return sketch.text([*runs, *others], with_run=bool(runs))


def _record(shapes: Sequence[Shape], name: str | None) -> Shape:
    for shape in shapes:
        if name in (None, shape.name):
            return shape
    if not shapes:
        raise BadInput(
            "no item of the sample could stand for a record: no key has a part that tells one item from another",
            hint="add items of the kind that the records stand for, with keys like USER#42",
        )
    names = ", ".join(shape.name for shape in shapes)
    raise BadInput(f"no items of the sample are called {name!r}", hint=f"name one of these: {names}")


def _collection_name(record: Shape, keys: Sequence[str]) -> str:
    if record.name in map(str.lower, keys):
        return "records"
    return f"{record.name}s" if len(record.name) > 1 else f"{record.name}_records"


@dataclass(frozen=True)
class _Sketch:
    keys: tuple[str, ...]
    record: Shape
    collection: str
    taken: set[str] = field(default_factory=set)

    @property
    def ids(self) -> str:
        """The record's id: the whole key, so that it begins with the partition key."""
        return "#".join(self.record.keys)

    def text(self, shapes: Sequence[Shape], *, with_run: bool) -> str:
        exact = all(shape.keys[0] == self.record.keys[0] for shape in shapes if self._is_run(shape))
        ordering = Ordering.EXACT if exact else Ordering.TO_THE_SECOND
        head = self._head(ordering)
        if not with_run:
            head += _RUN.format(keys=self._item(self._run_keys()), collection=self.collection).splitlines()
        blocks = [self._rule(shape) for shape in shapes]
        while True:
            owned = [(block, *line) for block in blocks for line in block.lines()]
            text = "\n".join([*head, *(line for _, line, _ in owned)]) + "\n"
            try:
                parse_mapping(text, "mapping")
            except BadInput as refused:
                found = re.findall(r"^mapping:(\d+): (.*)$", refused.message, re.MULTILINE)
                inside = [(int(line) - len(head) - 1, _comment(problem, 400)) for line, problem in found]
                new = [owned[at][0].refuse(owned[at][2], problem) for at, problem in inside if at >= 0]
                if not any(new):
                    raise
            else:
                return text

    def _head(self, ordering: Ordering) -> list[str]:
        table = ", ".join(
            f"{part}: {_quoted(key)}" for part, key in zip(("partition_key", "sort_key"), self.keys, strict=False)
        )
        return [
            "# A first guess from a sample of the table. Read it, correct it, then ask what an event would do:",
            "#   chroma-lifecycle mapping check mapping.yaml event.json",
            "mapping: 1",
            *(
                ["ordering: to_the_second   # runs lie in other partitions than the records"]
                if ordering is Ordering.TO_THE_SECOND
                else []
            ),
            f"table: {{{table}}}",
            "collections:   # the id of each record; a delta must hold ids like this",
            f"  {_quoted(self.collection)}: {_quoted(self.ids, value=True)}",
            "rules:",
        ]

    def _rule(self, shape: Shape) -> _Block:
        example = _comment(", ".join(f"{key}={shape.items[0][key]!s}" for key in self.keys))
        begins = [
            f"  {shape.name}:   # {_count(shape)} of the sample, like {example}",
            f"    item: {{{self._item(shape.keys)}}}",
        ]
        if self._is_run(shape):
            return _Block(begins, ends=self._merge(shape))
        if not (reach := self._reach(shape)):
            return _Block(begins, refused="its key does not say which records it reaches")
        attributes = [name for name in dict.fromkeys(n for i in shape.items for n in i) if name not in self.keys]
        return _Block(
            begins,
            [f"    set:   # reaches {reach}", f"      {_quoted(self.collection)}:"],
            [self._key(shape, name, alone=len(attributes) == 1) for name in attributes],
            self._removal(shape),
        )

    def _item(self, patterns: Sequence[str]) -> str:
        pairs = zip(self.keys, patterns, strict=True)
        return ", ".join(f"{_quoted(key)}: {_in_quotes(pattern)}" for key, pattern in pairs)

    def _run_keys(self) -> tuple[str, ...]:
        return (self.record.keys[0], "RUN#{run}") if len(self.keys) > 1 else ("RUN#{run}",)

    def _is_run(self, shape: Shape) -> bool:
        return _run_attributes(shape) is not None

    def _merge(self, shape: Shape) -> list[str]:
        found = _run_attributes(shape)
        assert found is not None
        delta, state = found
        return [
            "    merge:   # state PENDING begins it, and COMPLETED is written when it is published",
            f"      {_quoted(self.collection)}: {{delta: {_quoted(delta)}, state: {_quoted(state)}}}",
        ]

    def _extra(self, shape: Shape) -> list[str]:
        return [name for name in shape.names if name not in self.record.names]

    def _reach(self, shape: Shape) -> str:
        """Return in words which records an item of *shape* reaches; empty for none."""
        known = [name in shape.names for name in self.record.names]
        if not known or not known[0] or sorted(known, reverse=True) != known:
            return ""
        return "one record" if all(known) else "every record below its key"

    def _key(self, shape: Shape, attribute: str, *, alone: bool) -> str:
        values = [item[attribute] for item in shape.items if item.get(attribute) is not None]
        if not attribute.isprintable():
            return f"        # {_comment(attribute)}: its name cannot be written here"
        key = self._free(shape, attribute, alone=alone)
        if all(isinstance(value, (str, bool, Decimal)) for value in values):
            return f"        {_quoted(key)}: {_quoted(attribute)}"
        if (members := _members(values)) and not self._extra(shape):
            listed = f"{{from: {_quoted(attribute)}, members: [{', '.join(map(_quoted, members))}]}}"
            return f"        {_quoted(key + '_{member}')}: {listed}   # a key for each; list those wanted"
        return f"        # {_comment(attribute)}: a record can hold text, numbers and booleans only"

    def _free(self, shape: Shape, attribute: str, *, alone: bool) -> str:
        """Return a name that no other rule owns; it carries what tells the items of a record apart."""
        extra = "_".join(f"{{{name}}}" for name in self._extra(shape))
        name = re.sub(r"[{}#]", "_", attribute)
        wanted = (f"{shape.name}_{extra}" if alone else f"{name}_of_{extra}") if extra else name
        if wanted in self.taken:
            wanted = f"{shape.name}_{wanted}"
        self.taken.add(wanted)
        return wanted

    def _removal(self, shape: Shape) -> list[str]:
        """Records go with the items whose key their id begins with; what others take away, people decide."""
        if self.ids.startswith("#".join(shape.keys)):
            goes = "its record goes too" if self._reach(shape) == "one record" else "every record below it goes too"
            return [f"    removal_deletes: [{_quoted(self.collection)}]   # when the item goes, {goes}"]
        return []


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _as_comment(line: str, why: str = "") -> str:
    text = line.lstrip()
    indent = line[: len(line) - len(text)]
    return f"{indent}{'' if _is_comment(line) else '# '}{text}{f'   # left out: {why}' if why else ''}"


def _run_attributes(shape: Shape) -> tuple[str, str] | None:
    """Return the attributes that hold a run's address and its state, if items of *shape* have both."""
    texts: dict[str, list[str]] = {}
    for item in shape.items:
        for name, value in item.items():
            if isinstance(value, str):
                texts.setdefault(name, []).append(value)
    states = [name for name, found in texts.items() if _STATES & set(found)]
    addresses = [
        name for name, found in texts.items() if "delta" in name.lower() and all(map(_ADDRESS.fullmatch, found))
    ]
    for delta in addresses:
        beginning = delta.partition("_")[0]
        for state in sorted(states, key=lambda name: not name.startswith(beginning)):
            return delta, state
    return None


def _members(values: Sequence[Value]) -> list[str]:
    found = {each for value in values if isinstance(value, (list, frozenset)) for each in value}
    texts = sorted(each for each in found if isinstance(each, str) and each)
    sound = len(texts) == len(found) and 0 < len(texts) <= _MOST_MEMBERS
    return texts if sound and all(isinstance(value, (list, frozenset)) for value in values) else []


def _quoted(text: str, *, value: bool = False) -> str:
    """Return *text* as YAML: as it is where that is read back as the same text, else in quotes."""
    plain = _PLAIN.fullmatch(text) and text not in ("true", "false", "null", "True", "False", "Null", "TRUE", "FALSE")
    if plain or (value and re.fullmatch(r"[A-Za-z][A-Za-z0-9_#{}:.-]*[A-Za-z0-9}]", text)):
        return text
    return _in_quotes(text)


def _in_quotes(text: str) -> str:
    """Return *text* in double quotes, with YAML's escapes for what is not shown."""
    shown = (each if each.isprintable() and each not in '"\\' else f"\\U{ord(each):08x}" for each in text)
    return f'"{"".join(shown)}"'


def _count(shape: Shape) -> str:
    return "1 item" if len(shape.items) == 1 else f"{len(shape.items):,} items"


def _comment(text: str, longest: int = 100) -> str:
    line = "".join(each if each.isprintable() else "?" for each in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
