"""Reading a table's stream to its end, shard by shard, as Lambda and EventBridge Pipes do."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from dev.cloud import Cloud

Record = dict[str, Any]

_CASES = {"Type": "type", "PrincipalId": "principalId"}


class StreamReader:
    """Reads each record of a stream once, from the oldest on; a shard after its parent."""

    def __init__(self, cloud: Cloud, arn: str) -> None:
        self._client = cloud.client("dynamodbstreams")
        self._arn = arn
        self._iterators: dict[str, str | None] = {}
        self._ended = True  # a shard has, so that others may follow

    def read(self, limit: int = 1_000) -> list[Record]:
        """Return what came since the last call, at most *limit* of each shard, in the stream's order."""
        if self._ended or not any(self._iterators.values()):
            self._find_shards()
        found = []
        for shard, iterator in self._iterators.items():
            if iterator is not None:
                answer = self._client.get_records(ShardIterator=iterator, Limit=limit)
                self._iterators[shard] = answer.get("NextShardIterator")  # none: the shard is closed and read
                self._ended |= self._iterators[shard] is None
                found += [lambda_record(record, self._arn) for record in answer["Records"]]
        return found

    def _find_shards(self) -> None:
        """Take up the shards whose parent was read to its end, or is forgotten."""
        self._ended = False
        shards = {shard["ShardId"]: shard for shard in self._describe()}
        for name, shard in shards.items():
            parent = str(shard.get("ParentShardId"))
            if name not in self._iterators and (parent not in shards or self._iterators.get(parent, "") is None):
                found = self._client.get_shard_iterator(
                    StreamArn=self._arn, ShardId=name, ShardIteratorType="TRIM_HORIZON"
                )
                self._iterators[name] = found["ShardIterator"]

    def _describe(self) -> Iterator[Mapping[str, Any]]:
        start: dict[str, str] = {}
        while True:
            told = self._client.describe_stream(StreamArn=self._arn, **start)["StreamDescription"]
            yield from told["Shards"]
            if "LastEvaluatedShardId" not in told:
                return
            start = {"ExclusiveStartShardId": told["LastEvaluatedShardId"]}


def lambda_record(record: Mapping[str, Any], arn: str) -> Record:
    """Return a record of GetRecords as functions and pipes receive it: plain JSON, and the stream's ARN with it."""
    made = {**record, "eventSource": "aws:dynamodb", "eventSourceARN": arn}
    if "userIdentity" in made:
        made["userIdentity"] = {_CASES.get(name, name): value for name, value in made["userIdentity"].items()}
    return {name: _json(value) for name, value in made.items()}


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return {name: _json(each) for name, each in value.items()}
        case Sequence() if not isinstance(value, str):
            return [_json(each) for each in value]
        case _:
            return value
