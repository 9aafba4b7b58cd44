"""Stream records as functions receive them, and shards in their order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chroma_lifecycle.intake.mapping_file import load_mapping
from dev.cloud import Cloud
from dev.stream import StreamReader, lambda_record
from dev.table import create_table, items
from tests.support.s3 import moto_url


def test_a_record_becomes_plain_json() -> None:
    """As Lambda writes it: seconds, binary as text, and who removed an item in lower case."""
    record = {
        "eventName": "REMOVE",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2026, 1, 1, tzinfo=UTC),
            "OldImage": {"b": {"B": b"\x00\xff"}, "l": {"L": [{"BS": [b"a"]}]}, "s": {"S": "text"}},
        },
        "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
    }

    made = lambda_record(record, "arn:x")

    assert 1_767_225_600.0 == made["dynamodb"]["ApproximateCreationDateTime"]
    assert {"b": {"B": "AP8="}, "l": {"L": [{"BS": ["YQ=="]}]}, "s": {"S": "text"}} == made["dynamodb"]["OldImage"]
    assert {"type": "Service", "principalId": "dynamodb.amazonaws.com"} == made["userIdentity"]
    assert ("aws:dynamodb", "arn:x") == (made["eventSource"], made["eventSourceARN"])


def test_a_table_is_read_as_it_was_written() -> None:
    """Each record once, in order; the table has the mapping's keys."""
    cloud = Cloud(moto_url(), moto_url())
    reader = StreamReader(cloud, create_table(cloud, "a-table", load_mapping("receipts")))
    for number in (1, 2):
        cloud.client("dynamodb").put_item(TableName="a-table", Item={"PK": {"S": "a"}, "SK": {"S": str(number)}})

    read = [record["dynamodb"]["Keys"]["SK"]["S"] for record in reader.read()]

    assert (["1", "2"], []) == (read, reader.read())
    assert {"1", "2"} == {item["SK"]["S"] for item in items(cloud, "a-table")}


class Shards:
    """A stream whose first shard ends, and has a child; each holds one record, of its own name."""

    def describe_stream(self, **asked: str) -> Any:
        child = {"ShardId": "child", "ParentShardId": "parent"}
        return {"StreamDescription": {"Shards": [child, {"ShardId": "parent", "ParentShardId": "forgotten"}]}}

    def get_shard_iterator(self, **asked: str) -> Any:
        return {"ShardIterator": asked["ShardId"]}

    def get_records(self, **asked: Any) -> Any:
        return {"Records": [{"eventID": asked["ShardIterator"]}]}


def test_a_shard_is_read_after_its_parent() -> None:
    """An item's older changes come first."""
    reader = StreamReader(Cloud("http://x", "http://x"), "arn:x")
    reader._client = Shards()

    read = [[record["eventID"] for record in reader.read()] for _ in range(3)]

    assert [["parent"], ["child"], []] == read
