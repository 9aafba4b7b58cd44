"""The whole table, read consistently, page by page and not too fast: a :class:`TableScan` on DynamoDB."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto

from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.errors import aws_errors, code_of
from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, pause
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.logs import Log

log = Log(__name__)

_THROTTLED = {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}
# After the SDK's own retries, which take some seconds: a table that others read too has its moments.
_PAUSES_SECONDS = (2.0, 10.0, 30.0, 60.0)
_PERMISSIONS = "dynamodb:Scan and dynamodb:DescribeTable on the table"


class DynamoScan:
    """A scan of one table.

    Args:
        keys: The names of its key attributes, the partition key first.
        units_per_second: Read units that are used up, on the average.
    """

    def __init__(
        self, table: str, client: Any, keys: tuple[str, ...], units_per_second: float, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._table = table
        self._client = client
        self._keys = keys
        self._rate = units_per_second
        self._clock = clock

    @classmethod
    def open(cls, table: str, keys: tuple[str, ...], units_per_second: float) -> DynamoScan:
        """Return the scan of the table of this name.

        Raises:
            BadInput: The SDK's settings do not make a client.
        """
        return cls(table, make_client("dynamodb"), keys, units_per_second)

    def pages(self) -> Iterator[Page]:
        # A page is read after the answer before it: that answer's time is the table's own, and safe.
        as_of, start = self._described(), dict[str, Any]()
        began, units = self._clock.monotonic(), 0.0
        while True:
            answer = self._scanned(start)
            yield Page([_as_json(item) for item in answer["Items"]], as_of)
            if "LastEvaluatedKey" not in answer:
                return
            as_of, start = _time_of(answer), {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
            units += answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
            pause(began + units / self._rate - self._clock.monotonic())

    def _scanned(self, start: Mapping[str, Any]) -> Any:
        """Read one page; one that the table has no capacity for is asked for again: the pages before took long."""
        for seconds in (*_PAUSES_SECONDS, None):
            with self._errors():
                try:
                    return self._client.scan(
                        TableName=self._table, ConsistentRead=True, ReturnConsumedCapacity="TOTAL", **start
                    )
                except boto.ClientError as problem:
                    if code_of(problem) not in _THROTTLED:
                        raise
                    if seconds is None:
                        raise StoreUnavailable(
                            f"table {self._table} has no capacity left to be read ({code_of(problem)})",
                            hint=f"run the same command again with a lower --rate than {self._rate:g}, "
                            "or give the table more capacity",
                        ) from problem
            log.info("table throttles", table=self._table, pause_seconds=seconds)
            pause(seconds)
        raise AssertionError("the last attempt returns or raises")

    def _described(self) -> int:
        """Check that the table has the mapping's keys; return the time by its clock."""
        with self._errors():
            answer = self._client.describe_table(TableName=self._table)
        schema = sorted(answer["Table"]["KeySchema"], key=lambda key: str(key["KeyType"] != "HASH"))
        names = tuple(key["AttributeName"] for key in schema)
        if names != self._keys:
            raise BadInput(
                f"table {self._table} has the key {', '.join(names)}, and the mapping's has {', '.join(self._keys)}",
                hint="name the mapping's table with --table, or mend 'table' in the mapping",
            )
        return _time_of(answer)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with aws_errors(f"table {self._table}", permissions=_PERMISSIONS):
            try:
                yield
            except boto.ParamValidationError as problem:
                raise BadInput(
                    f"{self._table!r} is no name of a table", hint="give the name of the DynamoDB table with --table"
                ) from problem
            except boto.ClientError as problem:
                if code_of(problem) != "ResourceNotFoundException":
                    raise
                raise StoreUnavailable(
                    f"there is no table {self._table}", hint="check --table, and the region"
                ) from problem


def _time_of(answer: Mapping[str, Any]) -> int:
    return int(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp())


def _as_json(value: Any) -> Any:
    """Return a value as a stream record spells it: the SDK makes bytes of binary, JSON has base64."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _as_json(each) for name, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
        case _:
            return value
