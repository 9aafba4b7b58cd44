"""What no line of a mapping shows by itself: whether its rules agree with each other and with the ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

from chroma_lifecycle.intake.contributions import FOLDS, Fold, Key
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.problems import Problems, allowed
from chroma_lifecycle.intake.rules import Rule
from chroma_lifecycle.intake.witness import common_text
from chroma_lifecycle.values import ItemKey, Ordering, Scalar

# A shard's name is the collection's, a dot and two numbers of up to nine digits.
_LONGEST_SHARDED = 480


def check(mapping: TableMapping, problems: Problems) -> None:
    """Note every way in which the rules disagree; parts that could not be read are not there."""
    for one, other in combinations(mapping.rules.values(), 2):
        _one_rule_an_item(mapping, one, other, problems)
    for rule in mapping.rules.values():
        _names_from_the_key(rule, problems)
        for collection in [name for name in mapping.ids if name in rule.collections]:
            if _reaches(mapping, rule, collection, problems):
                _ordered(mapping, rule, collection, problems)
                _removes_alone(mapping, rule, collection, problems)
                _folds(mapping, rule, collection, problems)
    for collection in mapping.ids:
        _one_owner_a_key(mapping, collection, problems)


def _one_rule_an_item(mapping: TableMapping, one: Rule, other: Rule, problems: Problems) -> None:
    if len(one.partition.segments) != len(other.partition.segments):
        return
    text = common_text(one.key, other.key)
    if text is not None:
        parts = text.split("#")
        size = len(one.partition.segments)
        item = mapping.spell(ItemKey("#".join(parts[:size]), "#".join(parts[size:])))
        problems.add(
            other.line,
            f"rules '{one.name}' and '{other.name}' both take the item {item}; "
            "an item has one rule: make the keys differ, or join the rules",
        )


def _names_from_the_key(rule: Rule, problems: Problems) -> None:
    for keys in rule.sets.values():
        for key in keys:
            for name in key.name.names:
                if name not in rule.key.names:
                    problems.add(
                        key.line,
                        f"rule '{rule.name}', key '{key.name}': {{{name}}} is not in the item's key; names come "
                        "from the key alone, or a changed attribute would leave its old name behind; list the values "
                        f"('members: [...]') or make each an item of its own; {allowed(rule.key.names, name)}",
                    )


def _reaches(mapping: TableMapping, rule: Rule, collection: str, problems: Problems) -> bool:
    """Return whether the rule's key reaches one id, or all below a prefix; a run reaches what its delta holds."""
    if collection not in rule.removal_deletes.union(rule.sets):
        return True
    names = mapping.ids[collection].names
    missing = [name for name in names if name not in rule.key.names]
    if not missing:
        return True
    first = names.index(missing[0])
    if first == 0 and len(missing) == len(names):
        problems.add(
            rule.line,
            f"rule '{rule.name}' reaches every record of '{collection}': its key has no {{{missing[0]}}}, with which "
            f"the ids begin; make an item for each {{{missing[0]}}}: put them in its key",
        )
    elif later := [name for name in names[first:] if name in rule.key.names]:
        problems.add(
            rule.line,
            f"rule '{rule.name}' knows {{{later[0]}}} but not {{{missing[0]}}}, which stands before it in the ids of "
            f"'{collection}'; a rule reaches one id or all below a prefix",
        )
    else:
        return True
    return False


def _ordered(mapping: TableMapping, rule: Rule, collection: str, problems: Problems) -> None:
    size = len(rule.partition.segments)
    if mapping.ordering is Ordering.EXACT and mapping.ids[collection].segments[:size] != rule.partition.segments:
        problems.add(
            rule.line,
            f"rule '{rule.name}': ids of '{collection}' do not begin with the item's partition key '{rule.partition}', "
            "so changes of two items cannot be ordered exactly; begin the ids with it, keep the item in the records' "
            "partition, or write 'ordering: to_the_second'",
        )


def _removes_alone(mapping: TableMapping, rule: Rule, collection: str, problems: Problems) -> None:
    sharing = [name for name in rule.key.names if name not in mapping.ids[collection].names]
    if collection in rule.removal_deletes and sharing:
        problems.add(
            rule.line,
            f"rule '{rule.name}': several items (one for each {_spelt(sharing)}) share a record of '{collection}'; "
            "removing one of them would delete it",
        )


def _folds(mapping: TableMapping, rule: Rule, collection: str, problems: Problems) -> None:
    for key in rule.sets.get(collection, ()):
        if not set(key.name.names) <= set(rule.key.names):
            continue  # told already, and who feeds it is not known
        what = f"rule '{rule.name}', {collection}, key '{key.name}'"
        feeders = mapping.feeders(rule, collection, key)
        across = bool(set(feeders) & set(rule.partition.names))
        choices = [name for name in FOLDS if not (across and name == "newest")]
        if key.fold is None and feeders:
            problems.add(
                key.line,
                f"{what}: several items feed it (one for each {_spelt(feeders)}); "
                f"say how they become one with 'fold'; {allowed(choices)}",
            )
        elif key.fold is not None and not feeders:
            problems.add(key.line, f"{what}: only one item feeds it; leave 'fold' out")
        elif key.fold is not None and key.fold.kind == "newest" and across:
            problems.add(
                key.line,
                f"{what}: items of different partition keys feed it, and which is newest is not exact; "
                f"{allowed(choices)}",
            )
        elif key.fold is not None:
            for text in _unsuited(key, key.fold):
                problems.add(key.line, f"{what}: {text}")


def _unsuited(key: Key, fold: Fold) -> Iterator[str]:
    """Yield why the values that items can give do not suit the fold."""
    possible = key.source.possible()
    if fold.kind not in ("any", "first"):
        return
    if possible is None:
        yield (
            f"'fold: {fold.kind}' needs listed values, but attribute '{key.source.attribute}' can hold any; "
            "list them with 'values'"
        )
    elif fold.kind == "any":
        if others := [value for value in possible if not isinstance(value, bool)]:
            yield f"'fold: any' needs true and false, not {_literal(others[0])}"
    elif {_typed(value) for value in possible} != {_typed(value) for value in fold.order}:
        listed = dict.fromkeys(map(_literal, possible))
        yield f"'first' must list exactly the values that items can give; {allowed(listed)}"
    elif len(set(fold.order)) < len(fold.order):
        yield "'first' lists a value twice (1, 1.0 and true are one here); each has one rank"


def check_shards(mapping: TableMapping, lines: Mapping[str, int], problems: Problems) -> None:
    """Note collections that cannot be in shards; everything else of the mapping is sound.

    Args:
        mapping: As it was read.
        lines: Of each collection in 'shards'.
        problems: Where they are noted.
    """
    for collection, line in lines.items():
        routing = mapping.routing(collection)
        if not routing.names:
            problems.add(
                line,
                f"'shards' of '{collection}': every id begins with '{routing}', by which shards are told apart, so all "
                "records would be in one; leave it out, or let ids and partition keys begin with what differs",
            )
        for other in mapping.ids:
            if re.fullmatch(rf"{re.escape(collection)}\.[0-9]+-[0-9]+", other):
                problems.add(line, f"collection '{other}' has the name of a shard of '{collection}'; rename it")
        if len(collection) > _LONGEST_SHARDED:
            problems.add(line, f"the name of a collection in shards can have at most {_LONGEST_SHARDED} characters")


def _one_owner_a_key(mapping: TableMapping, collection: str, problems: Problems) -> None:
    keys = sorted(
        (key for rule in mapping.rules.values() for key in rule.sets.get(collection, ())), key=lambda key: key.line
    )
    for one, other in combinations(keys, 2):
        alike = bool(one.name.names) is bool(other.name.names)  # a fixed name beats a templated one
        if alike and common_text(one.name, other.name) is not None:
            problems.add(
                other.line,
                f"key '{other.name}' of '{collection}' is set here and in line {one.line} ('{one.name}'); "
                "a key has one owner, or the later message would win: rename one",
            )


def _spelt(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _literal(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _typed(value: Scalar) -> tuple[type, Scalar]:
    return (type(value), value)
