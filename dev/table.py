"""The table and its stream, as the mapping knows its keys."""

from __future__ import annotations

from typing import Any

from chroma_lifecycle.intake.mapping import TableMapping
from dev.cloud import Cloud


def create_table(cloud: Cloud, name: str, mapping: TableMapping) -> str:
    """Make the table with a stream of new and old images; return the stream's ARN.

    Args:
        cloud: Where.
        name: Of the table.
        mapping: Names the keys; both are text here.
    """
    keys = [(mapping.partition_key, "HASH"), *([(mapping.sort_key, "RANGE")] if mapping.sort_key else [])]
    client = cloud.client("dynamodb")
    made = client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return str(made["TableDescription"]["LatestStreamArn"])


def items(cloud: Cloud, table: str) -> list[dict[str, Any]]:
    """Return every item, read consistently, in DynamoDB's own JSON."""
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]
