"""Clients of AWS services, with time-outs and retries set on purpose.

Region, endpoint and credentials come from the SDK's own variables and files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from chroma_lifecycle.aws.errors import NOT_SENT, SETTINGS_HINT
from chroma_lifecycle.errors import BadInput

Checksums = Literal["when_supported", "when_required"]
"""``when_required`` for compatible stores that do not know the newer checksums."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits before it calls a service unavailable.

    Attributes:
        connect_seconds: Within a region a connection takes milliseconds; what takes seconds is a
            network without a route (a function in a VPC without a gateway endpoint). It also
            bounds the sending of each piece of a body.
        read_seconds: S3 begins to answer within a second or so; this is the silence in an answer,
            not its length. Longer than a slow PUT of a large block, shorter than a batch can spare.
        attempts: Requests in all, of which all but the first are retries with growing pauses of
            at most 1, 2 and 4 s (the SDK's standard mode): so a server that accepts and never
            answers costs at most 47 s, and one that says 503 SlowDown gets a rest. In a long outage
            the SDK's quota of retries runs out, and each call then costs 10 s.
    """

    connect_seconds: float = 3.0
    read_seconds: float = 10.0
    attempts: int = 4


PATIENT = Patience()
# As many as transfers run in parallel, with some left; a smaller pool would discard connections.
_CONNECTIONS = 32


@cache
def _loader() -> Any:
    """Return what reads the SDK's descriptions of services and keeps them: most of what making a client takes."""
    import botocore.session  # as below

    return botocore.session.get_session().get_component("data_loader")


def make_client(service: str, *, patience: Patience = PATIENT, checksums: Checksums | None = None) -> Any:
    """Return a boto3 client of *service*.

    Args:
        service: ``s3`` or ``dynamodb``.
        patience: Its time-outs and retries.
        checksums: When S3's own checksums are added and checked; by default what the SDK's
            variables say. Ours are checked in any case.

    Raises:
        BadInput: The SDK's settings do not make a client.
    """
    # Here, because boto3 takes longer to import than most commands take to run.
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.handlers import add_expect_header

    config = Config(
        connect_timeout=patience.connect_seconds,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=_CONNECTIONS,
        # Lambda freezes a container between invocations; a dead connection must show at once.
        tcp_keepalive=True,
    )
    if checksums is not None:
        config = config.merge(Config(request_checksum_calculation=checksums, response_checksum_validation=checksums))
    try:
        # A session of its own each time: settings are read when one is made.
        session = botocore.session.get_session()
        session.register_component("data_loader", _loader())
        client = boto3.session.Session(botocore_session=session).client(service, config=config)
    except (*NOT_SENT, ValueError) as problem:  # ValueError: an endpoint that is no URL
        raise BadInput(f"no client of {service} can be made: {problem}", hint=SETTINGS_HINT) from problem
    # It asks first whether a body is welcome: a round trip for each PUT, where most bodies take less.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client
