"""The run's status in its table item: a :class:`chroma_lifecycle.publishing.status.RunStatus` on DynamoDB.

Each write is one UpdateItem that names the attributes of one collection alone, so that two
collections which complete at once do not overwrite each other, and whose condition is judged
by DynamoDB, so that it never answers for an item that has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore import exceptions as boto

from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.errors import aws_errors, code_of
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.intake.changes import AttributeValue
from chroma_lifecycle.intake.rules import COMPLETED, PENDING, MergeTarget
from chroma_lifecycle.values import ItemKey

_PERMISSIONS = "dynamodb:UpdateItem and dynamodb:DescribeTable on the table"
# Far more than a person reads, and far less than would fill an item.
_LONGEST_ERROR = 2_000


class DynamoRunStatus:
    """Run status in one table."""

    def __init__(self, table: str, client: Any) -> None:
        self._table = table
        self._client = client

    @classmethod
    def open(cls, table: str) -> DynamoRunStatus:
        """Return the run status in the table of this name.

        Raises:
            BadInput: The SDK's settings do not make a client.
        """
        return cls(table, make_client("dynamodb"))

    def completed(self, item: ItemKey, target: MergeTarget, address: str, count: int, at: datetime) -> bool:
        written: dict[str, AttributeValue] = {target.state: {"S": COMPLETED}}
        if target.count:
            written[target.count] = {"N": str(count)}
        same = dict(written)
        if target.finished_at:
            written[target.finished_at] = {"S": f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        update = _Update(item)
        update.only_if(target.delta, {"S": address})
        update.unless_all(same)
        update.sets(written)
        if target.error:
            update.removes(target.error)  # of an attempt that failed before
        return self._send(update)

    def failed(self, item: ItemKey, target: MergeTarget, address: str, error: str) -> bool:
        if not target.error:
            return False
        written: dict[str, AttributeValue] = {target.error: {"S": error[:_LONGEST_ERROR]}}
        update = _Update(item)
        update.only_if(target.delta, {"S": address})
        update.unless_all({target.state: {"S": COMPLETED}})
        update.unless_all(written)
        update.sets(written)
        return self._send(update)

    def announce(self, item: ItemKey, target: MergeTarget, address: str) -> bool:
        """Put the run's delta and PENDING into its item, which is made if it is not there.

        Returns:
            False if the item says so already, or that this delta is merged: the same announced again begins nothing.
        """
        update, delta = _Update(item), {target.delta: {"S": address}}
        update.unless_all(delta | {target.state: {"S": PENDING}})
        update.unless_all(delta | {target.state: {"S": COMPLETED}})
        update.sets(delta | {target.state: {"S": PENDING}})
        for old in (target.count, target.error, target.finished_at):
            if old:
                update.removes(old)  # of a delta before
        return self._send(update)

    def _send(self, update: _Update) -> bool:
        with self._errors(f"item {update.item.partition!r}, {update.item.sort!r} of table {self._table}"):
            try:
                self._client.update_item(TableName=self._table, **update.request(self._key_types))
            except self._client.exceptions.ConditionalCheckFailedException:
                # The item is gone, has another address, or says so already: all of them are ordinary.
                return False
        return True

    @cached_property
    def _key_types(self) -> Mapping[str, str]:
        """The key attributes of the table, the partition key first, each with its type ("S" or "N").

        An item's key is plain text here, as patterns match it; only the table knows which of its
        parts DynamoDB wants as a number. It never changes, so it is asked for once.
        """
        with self._errors(f"table {self._table}"):
            table = self._client.describe_table(TableName=self._table)["Table"]
        types = {attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]}
        keys = sorted(table["KeySchema"], key=lambda key: str(key["KeyType"] != "HASH"))
        return {key["AttributeName"]: types[key["AttributeName"]] for key in keys}

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        with aws_errors(what, permissions=_PERMISSIONS):
            try:
                yield
            except boto.ClientError as problem:
                if code_of(problem) != "ResourceNotFoundException":
                    raise
                raise StoreUnavailable(
                    f"there is no table {self._table}", hint="check CHROMA_LIFECYCLE_TABLE, and the region"
                ) from problem


class _Update:
    """One UpdateItem, being put together: names and values get placeholders, since any name may be a reserved word."""

    def __init__(self, item: ItemKey) -> None:
        self.item = item
        self._names: dict[str, str] = {}
        self._values: dict[str, AttributeValue] = {}
        self._sets: list[str] = []
        self._removes: list[str] = []
        self._conditions: list[str] = []

    def _name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#a{len(self._names)}")

    def _value(self, value: AttributeValue) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return placeholder

    def only_if(self, attribute: str, value: AttributeValue) -> None:
        """Write only if the item has this value; so an item that is not there is not made."""
        self._conditions.append(f"{self._name(attribute)} = {self._value(value)}")

    def unless_all(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Write nothing if the item has all of these values."""
        differ = [
            f"attribute_not_exists({self._name(attribute)}) OR {self._name(attribute)} <> {self._value(value)}"
            for attribute, value in attributes.items()
        ]
        self._conditions.append(f"({' OR '.join(differ)})")

    def sets(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Write these values."""
        self._sets += [f"{self._name(attribute)} = {self._value(value)}" for attribute, value in attributes.items()]

    def removes(self, attribute: str) -> None:
        """Take an attribute away."""
        self._removes.append(self._name(attribute))

    def request(self, key_types: Mapping[str, str]) -> Mapping[str, object]:
        """Return the arguments of UpdateItem, but for the table."""
        texts = (self.item.partition, self.item.sort)
        actions = [("SET", self._sets), ("REMOVE", self._removes)]
        return {
            "Key": {name: {kind: text} for (name, kind), text in zip(key_types.items(), texts, strict=False)},
            "UpdateExpression": " ".join(f"{verb} {', '.join(what)}" for verb, what in actions if what),
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ExpressionAttributeValues": dict(self._values),
        }
