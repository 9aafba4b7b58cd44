"""Reading a mapping from its file: the grammar of the language, version 1."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import LANGUAGE, TableMapping
from chroma_lifecycle.intake.mapping_checks import check, check_shards
from chroma_lifecycle.intake.mapping_keys import KeysReader
from chroma_lifecycle.intake.mapping_rules import RulesReader
from chroma_lifecycle.intake.mapping_yaml import Leaf, Node, Reader, Table, read_tree
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.intake.problems import Problems, allowed
from chroma_lifecycle.intake.rules import FlatMessage, Rule
from chroma_lifecycle.slots import MOST_SHARDS
from chroma_lifecycle.values import Ordering, parse_collection

_IMAGE_PLACES = ("changes", "entity_data", "record_snapshot")
_SHIPPED = resources.files("chroma_lifecycle.intake") / "mappings"


def shipped() -> list[str]:
    """Return the names of the mappings that come with this package."""
    return sorted(each.name.removesuffix(".yaml") for each in _SHIPPED.iterdir() if each.name.endswith(".yaml"))


def load_mapping(name_or_path: str) -> TableMapping:
    """Return the shipped mapping of this name, or the one in the file at this path.

    Raises:
        BadInput: There is neither, or the mapping has problems; all of them are told.
    """
    names = shipped()
    if name_or_path in names:
        return parse_mapping((_SHIPPED / f"{name_or_path}.yaml").read_text("utf-8"), f"{name_or_path}.yaml")
    try:
        return parse_mapping(Path(name_or_path).read_bytes().decode("utf-8"), name_or_path)
    except OSError as problem:
        raise BadInput(
            f"cannot read the mapping {name_or_path!r}: {problem.strerror}",
            hint=f"give the path of a YAML file, or the name of a shipped mapping; {allowed(names, name_or_path)}",
        ) from problem
    except UnicodeDecodeError as problem:
        raise BadInput(f"the mapping {name_or_path!r} is not UTF-8 text", hint="store the file as UTF-8") from problem


@lru_cache(maxsize=8)  # a command, and a function that begins anew, asks for the same one several times
def parse_mapping(text: str, file: str) -> TableMapping:
    """Return the mapping that *text* writes.

    Args:
        text: The YAML.
        file: Its name, to begin the lines that tell its problems.

    Raises:
        BadInput: It has problems; all of them are told, as ``file:line: text``.
    """
    problems = Problems(file)
    tree = read_tree(text, problems)
    reader = _FileReader(problems)
    mapping = reader.mapping(tree) if tree is not None else None
    if mapping is not None:
        check(mapping, problems)
        if not problems:
            check_shards(mapping, reader.shard_lines, problems)
    if mapping is None or problems:
        raise problems.refuse()
    return mapping


class _FileReader:
    """Reads the tree from the top; what is unsound is left out, so that the rest is checked too."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._reader = Reader(problems)
        self._keys = KeysReader(self._reader)
        self.shard_lines: dict[str, int] = {}
        self._table: tuple[str, ...] = ()
        self._collections: tuple[str, ...] = ()
        self._rules: tuple[str, ...] = ()

    def mapping(self, root: Node) -> TableMapping | None:
        if not self._speaks(root):
            return None
        required, optional = ("table", "collections", "rules"), ("mapping", "ordering", "shards", "flat_messages")
        parts = self._reader.fields(root, "the file", required, optional)
        self._table = self._table_keys(parts["table"]) if "table" in parts else ()
        ids = self._ids(parts["collections"]) if "collections" in parts else {}
        rules = self._all_rules(parts["rules"]) if "rules" in parts else {}
        messages = self._messages(parts["flat_messages"], rules) if "flat_messages" in parts else {}
        shards = self._shards(parts["shards"]) if "shards" in parts else {}
        ordering = self._ordering(parts.get("ordering"))
        self._one_kind_each()
        if not self._table:
            return None
        sort_key = self._table[1] if len(self._table) > 1 else None
        return TableMapping(ordering, self._table[0], sort_key, ids, rules, messages, shards)

    def _speaks(self, root: Node) -> bool:
        """Return whether the file can be read on; it cannot if it is of another language."""
        if not isinstance(root, Table):
            return True
        versions = [node for key, node in root.entries if key.text == "mapping"]
        if not versions:
            self._problems.add(root.line, f"the file does not say its language; begin it with 'mapping: {LANGUAGE}'")
            return True
        if isinstance(versions[0], Leaf) and repr(versions[0].value) == str(LANGUAGE):
            return True
        found = versions[0].text if isinstance(versions[0], Leaf) else "(a list or table)"
        self._problems.add(
            versions[0].line,
            f"this is mapping language '{found}'; this release reads language {LANGUAGE}: 'mapping: 1'",
        )
        return False

    def _ordering(self, node: Node | None) -> Ordering:
        choice = self._reader.one_of(node, "'ordering'", list(Ordering)) if node is not None else None
        return Ordering(choice) if choice else Ordering.EXACT

    def _table_keys(self, node: Node) -> tuple[str, ...]:
        parts = self._reader.fields(node, "'table'", ("partition_key",), ("sort_key",))
        names = [self._keys.attribute(part, f"'{name}' of 'table'") for name, part in parts.items()]
        if None in names or "partition_key" not in parts:
            return ()
        keys = dict(zip(parts, (name for name in names if name is not None), strict=True))
        if len(set(keys.values())) < len(keys):
            self._problems.add(node.line, "'partition_key' and 'sort_key' of 'table' name one attribute")
        return tuple(keys[name] for name in ("partition_key", "sort_key") if name in keys)

    def _ids(self, node: Node) -> dict[str, Pattern]:
        entries = self._reader.entries(node, "'collections'")
        self._collections = tuple(name.text for name, _ in entries)
        for name, _ in entries:
            self._collection_name(name)
        read = {name.text: self._id(name.text, node) for name, node in entries}
        return {name: pattern for name, pattern in read.items() if pattern is not None}

    def _id(self, collection: str, node: Node) -> Pattern | None:
        what = f"the ids of '{collection}'"
        return self._keys.pattern(node.line, self._reader.text(node, what), what)

    def _collection_name(self, name: Leaf) -> None:
        if "{" in name.text:
            self._problems.add(
                name.line,
                f"collection '{name.text}': names are fixed, for each has its own snapshots; "
                "write one rule for each collection, or keep it as a key of the record",
            )
            return
        try:
            parse_collection(name.text)
        except ValueError:
            self._problems.add(
                name.line,
                f"collection '{name.text}'; allowed: 3 to 512 of a-z A-Z 0-9 . _ -, letter or digit first and last",
            )

    def _shards(self, node: Node) -> dict[str, int]:
        shards: dict[str, int] = {}
        for name, value in self._reader.entries(node, "'shards'"):
            known = self._reader.one_of(name, "each of 'shards'", self._collections)
            count = value.value if isinstance(value, Leaf) else None
            if type(count) is not int or not 2 <= count <= MOST_SHARDS:
                self._problems.add(
                    value.line,
                    f"'shards' of '{name.text}' must be a whole number from 2 to {MOST_SHARDS}; "
                    "leave a collection that is in one piece out",
                )
            elif known is not None:
                shards[known], self.shard_lines[known] = count, name.line
        return shards

    def _all_rules(self, node: Node) -> dict[str, Rule]:
        entries = self._reader.entries(node, "'rules'")
        self._rules = tuple(name.text for name, _ in entries)
        reader = RulesReader(self._reader, self._keys, self._table, self._collections)
        rules = [reader.rule(name, body) for name, body in entries]
        return {rule.name: rule for rule in rules if rule is not None}

    def _messages(self, node: Node, rules: Mapping[str, Rule]) -> dict[str, FlatMessage]:
        messages: dict[str, FlatMessage] = {}
        for kind, body in self._reader.entries(node, "'flat_messages'"):
            what = f"flat message '{kind.text}'"
            parts = self._reader.fields(body, what, ("rule",), ("delta_from", "image_from"))
            message = self._message(parts, what)
            if message is not None:
                messages[kind.text] = message
                if message.rule in rules:
                    self._message_serves(body, message, rules[message.rule], what)
        return messages

    def _message(self, parts: Mapping[str, Node], what: str) -> FlatMessage | None:
        rule = self._reader.one_of(parts["rule"], f"'rule' of {what}", self._rules) if "rule" in parts else None
        delta = self._reader.text(parts["delta_from"], f"'delta_from' of {what}") if "delta_from" in parts else None
        where = f"'image_from' of {what}"
        places = self._reader.texts(parts["image_from"], where) if "image_from" in parts else []
        known = [place for node, place in places if self._reader.one_of(node, f"each of {where}", _IMAGE_PLACES)]
        return FlatMessage(rule, delta, tuple(known)) if rule is not None else None

    def _message_serves(self, node: Node, message: FlatMessage, rule: Rule, what: str) -> None:
        if message.delta_from and not rule.merges:
            self._problems.add(node.line, f"{what}: rule '{rule.name}' merges nothing; leave 'delta_from' out")
        if message.image_from and not rule.merges and not rule.sets:
            self._problems.add(node.line, f"{what}: rule '{rule.name}' reads no attribute; leave 'image_from' out")
        if rule.sets and not message.image_from:
            self._problems.add(
                node.line,
                f"{what}: rule '{rule.name}' sets keys, which every message without an image would take away; "
                f"name the image's place with 'image_from'; {allowed(_IMAGE_PLACES)}",
            )
        elif rule.merges and not message.delta_from and not message.image_from:
            self._problems.add(
                node.line, f"{what}: no message could begin a run of rule '{rule.name}'; add 'delta_from'"
            )

    def _one_kind_each(self) -> None:
        """Note placeholders that are a number in one place and text in another."""
        first: dict[str, tuple[bool, str]] = {}
        for line, pattern in sorted(self._keys.patterns, key=lambda read: read[0]):
            for segment in pattern.segments:
                if segment.name is None:
                    continue
                kind, written = first.setdefault(segment.name, (segment.digits is None, segment.placeholder))
                if kind is not (segment.digits is None):
                    number = segment.placeholder if kind else written
                    self._problems.add(
                        line,
                        f"{{{segment.name}}} is a number in one place and text in another; write '{number}' in both",
                    )
