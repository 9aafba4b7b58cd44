"""From a stream record to changes: what the mapping makes of it, in each collection it concerns."""

from __future__ import annotations

from collections.abc import Iterator

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import (
    Change,
    ContributeFields,
    DeleteRecords,
    Image,
    MergeDelta,
    Origin,
    RefusedFields,
    WithdrawFields,
)
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.intake.mapping import Match, MergeTarget, TableMapping
from chroma_lifecycle.intake.problems import allowed
from chroma_lifecycle.intake.records import StreamRecord
from chroma_lifecycle.values import ItemKey

_VIEW_HINT = "give the stream the view type NEW_AND_OLD_IMAGES"


def changes_of(record: StreamRecord, mapping: TableMapping) -> tuple[Change, ...]:
    """Return what *record* asks for; nothing if no rule takes its item, or the event does nothing.

    What is wrong in one collection alone is a refused change there, so that the others get theirs.

    Raises:
        BadInput: The item is not one of the mapping's table, or the message names an unknown collection.
    """
    if record.collection is not None and record.collection not in mapping.collections:
        raise BadInput(
            f"the message is for collection {shorten(record.collection)}, which the mapping lacks; "
            f"{allowed(mapping.collections, record.collection)}",
            hint="mend the producer, or add the collection to the mapping",
        )
    item = mapping.item_key(record.keys)
    match = None if item is None else mapping.match(item)
    if item is None or match is None:
        return ()
    decoder = _Decoder(record, mapping, match, item)
    changes: list[Change] = []
    for collection in mapping.collections:
        if collection in match.rule.collections and record.collection in (None, collection):
            changes += decoder.changes(collection)
    return tuple(changes)


class _Decoder:
    """One record, seen by the rule that takes its item."""

    def __init__(self, record: StreamRecord, mapping: TableMapping, match: Match, item: ItemKey) -> None:
        self._record = record
        self._mapping = mapping
        self._match = match
        self._item = item

    def changes(self, collection: str) -> Iterator[Change]:
        """Yield what the record asks for in *collection*, which the rule touches."""
        rule, record = self._match.rule, self._record
        origin = Origin(record.source, collection, rule.name, self._item, record.position)
        if collection in rule.merges and record.event_name != "REMOVE":
            yield from self._run(origin, rule.merges[collection])
        if collection in rule.sets:
            yield self._fields(origin)
        if collection in rule.removal_deletes and record.event_name == "REMOVE":
            yield DeleteRecords(origin, self._mapping.reach(self._match, collection))

    def _run(self, origin: Origin, target: MergeTarget) -> Iterator[MergeDelta | RefusedFields]:
        """Yield the run that the event begins, if it begins one."""
        try:
            address = self._begun(target)
        except BadInput as problem:
            # A run reaches what its delta holds, which nobody has read: no reach, and nothing supersedes it.
            yield RefusedFields(origin, "", self._named(problem))
        else:
            if address is not None:
                yield MergeDelta(origin, address, self._mapping.below(self._match))

    def _begun(self, target: MergeTarget) -> str | None:
        old = self._record.old_image
        address = target.begun(self._new_image(), old)
        if address is not None and old is None and self._record.event_name == "MODIFY":
            raise BadInput(
                "the MODIFY of a pending run has no old image, so it does not tell whether it begins the run",
                hint=_VIEW_HINT,
            )
        return address

    def _fields(self, origin: Origin) -> ContributeFields | WithdrawFields | RefusedFields:
        reach = self._mapping.reach(self._match, origin.collection)
        if self._record.event_name == "REMOVE":
            return WithdrawFields(origin, reach)
        try:
            reads = self._mapping.reads(self._match.rule, origin.collection)
            image = {name: value for name, value in self._new_image().items() if name in reads}
            fails = not self._record.partial and not self._match.rule.holds(image)
        except BadInput as problem:
            return RefusedFields(origin, reach, self._named(problem))
        try:
            self._check(origin.collection, image)
        except BadInput as problem:
            # An item that fails the rule's conditions may hold anything, but a fact may not: it
            # would fail whoever makes the conditions true.
            return WithdrawFields(origin, reach) if fails else RefusedFields(origin, reach, self._named(problem))
        return ContributeFields(origin, reach, image, self._record.partial)

    def _check(self, collection: str, image: Image) -> None:
        """Refuse values that no record can take, whether or not the rule's conditions hold."""
        for key in self._match.rule.sets[collection]:
            key.source.give(image)

    def _new_image(self) -> Image:
        if self._record.new_image is None:
            raise BadInput(f"the {self._record.event_name} has no new image", hint=_VIEW_HINT)
        return self._record.new_image

    def _named(self, problem: BadInput) -> BadInput:
        where = f"rule {self._match.rule.name!r}, item {self._mapping.spell(self._item)}"
        return BadInput(f"{where}: {problem.message}", hint=problem.hint)
