"""Reading the rules of a mapping: items, conditions, merges and deletions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chroma_lifecycle.intake.contributions import Among, Condition, Key, Present
from chroma_lifecycle.intake.mapping_keys import KeysReader, compared
from chroma_lifecycle.intake.mapping_yaml import Leaf, Listing, Node, Reader, Table
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.intake.problems import Problems, allowed
from chroma_lifecycle.intake.rules import MergeTarget, Rule
from chroma_lifecycle.values import Scalar


class RulesReader:
    """Reads one rule after the other.

    Args:
        table: Names of the table's key attributes; empty if they could not be read.
        collections: Names of the collections.
    """

    def __init__(self, reader: Reader, keys: KeysReader, table: tuple[str, ...], collections: tuple[str, ...]) -> None:
        self._reader = reader
        self._problems = reader.problems
        self._keys = keys
        self._table = table
        self._collections = collections

    def rule(self, name: Leaf, node: Node) -> Rule | None:
        """Return the rule, without its unsound parts; ``None`` if it has no sound item."""
        what = f"rule '{name.text}'"
        parts = self._reader.fields(node, what, ("item",), ("set", "when", "merge", "removal_deletes"))
        self._effect(name, parts, what)
        item = self._item(parts["item"], what) if "item" in parts else ()
        sets = self._sets(parts["set"], what) if "set" in parts else {}
        when = tuple(self._conditions(parts["when"], what)) if "when" in parts else ()
        merges = self._merges(parts["merge"], what) if "merge" in parts else {}
        deletes = self._listed_collections(parts["removal_deletes"], what) if "removal_deletes" in parts else ()
        if not item:
            return None
        sort = item[1] if len(item) > 1 else None
        return Rule(name.text, item[0], sort, sets, when, merges, frozenset(deletes), name.line)

    def _effect(self, name: Leaf, parts: Mapping[str, Node], what: str) -> None:
        if parts and not {"set", "merge", "removal_deletes"} & parts.keys():
            self._problems.add(name.line, f"{what} has no effect; allowed: set, merge, removal_deletes")
        elif "when" in parts and "set" not in parts:
            self._problems.add(
                parts["when"].line,
                f"{what}: 'when' decides about 'set' alone; merging begins with PENDING, deleting with REMOVE",
            )

    def _item(self, node: Node, what: str) -> tuple[Pattern, ...]:
        if not self._table:
            return ()
        where = f"'item' of {what}"
        parts = self._reader.fields(node, where, self._table)
        read = [
            self._keys.pattern(parts[name].line, self._reader.text(parts[name], f"'{name}' of {where}"), what)
            for name in self._table
            if name in parts
        ]
        patterns = tuple(pattern for pattern in read if pattern is not None)
        return patterns if len(patterns) == len(self._table) else ()

    def _sets(self, node: Node, what: str) -> dict[str, tuple[Key, ...]]:
        sets: dict[str, tuple[Key, ...]] = {}
        for group, body in self._reader.entries(node, f"'set' of {what}"):
            names = [name.strip() for name in group.text.split(",")]
            if len(set(names)) < len(names):
                self._problems.add(group.line, f"{what}: '{group.text}' names a collection twice")
            keys = self._keys.keys(body, f"{what}, {group.text}")
            for name in dict.fromkeys(names):
                if self._is_collection(group.line, name, what):
                    sets[name] = sets.get(name, ()) + keys
        return sets

    def _is_collection(self, line: int, name: str, what: str) -> bool:
        if name in self._collections:
            return True
        self._problems.add(line, f"{what}: unknown collection '{name}'; {allowed(self._collections, name)}")
        return False

    def _conditions(self, node: Node, what: str) -> Iterator[Condition]:
        for name, body in self._reader.entries(node, f"'when' of {what}"):
            where = f"'{name.text}' in 'when' of {what}"
            if not self._keys.is_seen(name.line, name.text, f"an attribute in 'when' of {what}"):
                continue
            if isinstance(body, Table):
                yield from self._special_condition(name.text, body, where)
            elif values := self._compared(body if isinstance(body, Listing) else Listing(body.line, (body,)), where):
                yield Among(name.text, values)

    def _special_condition(self, attribute: str, node: Table, what: str) -> Iterator[Condition]:
        parts = self._reader.fields(node, what, (), ("not", "present"))
        if len(parts) > 1:
            self._problems.add(node.line, f"{what}: 'not' and 'present' exclude each other")
        if "not" in parts and (values := self._compared(parts["not"], f"'not' of {what}")):
            yield Among(attribute, values, inverted=True)
        if "present" in parts:
            if not (isinstance(parts["present"], Leaf) and parts["present"].value is True):
                self._problems.add(parts["present"].line, f"'present' of {what}; allowed: true")
            yield Present(attribute)

    def _compared(self, node: Node, what: str) -> tuple[Scalar, ...]:
        values = (self._reader.constant(each, f"a value of {what}") for each in self._reader.nodes(node, what))
        return tuple(compared(value) for value in values if value is not None)

    def _merges(self, node: Node, what: str) -> dict[str, MergeTarget]:
        merges: dict[str, MergeTarget] = {}
        roles = _Roles(self._problems, what, self._table)
        for name, body in self._reader.entries(node, f"'merge' of {what}"):
            target = self._merge_target(name.text, body, what, roles)
            if self._is_collection(name.line, name.text, what) and target is not None:
                merges[name.text] = target
        return merges

    def _merge_target(self, collection: str, node: Node, what: str, roles: _Roles) -> MergeTarget | None:
        where = f"'merge' of {what}, {collection}"
        parts = self._reader.fields(node, where, ("delta", "state"), ("count", "error", "finished_at"))
        names = {role: self._keys.attribute(part, f"'{role}' of {where}") for role, part in parts.items()}
        for role, name in names.items():
            if name is not None:
                roles.take(parts[role].line, role, collection, name)
        delta, state = names.pop("delta", None), names.pop("state", None)
        return MergeTarget(delta, state, **names) if delta and state else None

    def _listed_collections(self, node: Node, what: str) -> Iterator[str]:
        for each, name in self._reader.texts(node, f"'removal_deletes' of {what}"):
            if self._is_collection(each.line, name, what):
                yield name


class _Roles:
    """What each attribute of a run item is for; one that is written serves one purpose."""

    def __init__(self, problems: Problems, what: str, table: tuple[str, ...]) -> None:
        self._problems = problems
        self._what = what
        self._taken: dict[str, tuple[str, str]] = {}
        self._table = table

    def take(self, line: int, role: str, collection: str, attribute: str) -> None:
        if role == "delta" and "/" in attribute:
            self._problems.add(
                line,
                f"'{attribute}' is an address; 'delta' names the attribute that holds it, "
                "and where deltas may lie is the setting CHROMA_LIFECYCLE_DELTAS",
            )
        if attribute in self._table and role != "delta":
            self._clash(line, role, collection, attribute, "the table's key")
        writer, holder = (role, collection), self._taken.setdefault(attribute, (role, collection))
        if holder == writer or {role, holder[0]} == {"delta"}:
            return
        if role == "delta":
            writer, holder = holder, writer
        self._clash(line, *writer, attribute, f"'{holder[0]}' of {holder[1]}")

    def _clash(self, line: int, role: str, collection: str, attribute: str, holder: str) -> None:
        self._problems.add(
            line,
            f"{self._what}: '{role}' of {collection} writes '{attribute}', which {holder} holds; "
            "give it an attribute of its own",
        )
