"""What boto3 raises, in our words: all of it, or it stands in the list of what is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore import exceptions as boto

from chroma_lifecycle.aws.errors import NO_ANSWER, NOT_SENT, aws_errors
from chroma_lifecycle.errors import LifecycleError, ObjectMissing, StoreUnavailable

NOT_MAPPED = {
    "programming errors: botocore refuses the call before it sends anything": {
        "ParamValidationError", "ValidationError", "UnknownKeyError", "RangeError", "UnknownParameterError",
        "AliasConflictParameterError", "MissingParametersError", "DataNotFoundError", "UnknownServiceError",
        "ApiVersionNotFoundError", "UnknownServiceStyle", "UnknownClientMethodError", "UnseekableStreamError",
        "InvalidExpressionError", "UnsupportedServiceProtocolsError", "MD5UnavailableError", "AwsChunkedWrapperError",
    },
    "of parts of the SDK that are not used here": {
        "PaginationError", "OperationNotPageableError", "WaiterError", "WaiterConfigError", "StubResponseError",
        "StubAssertionError", "UnStubbedResponseError", "CapacityNotAvailableError",
        "InvalidEndpointDiscoveryConfigurationError", "ServiceNotInRegionError", "UnsupportedS3ArnError",
        "UnsupportedS3ControlArnError", "UnsupportedOutpostResourceError", "UnsupportedS3ConfigurationError",
        "UnsupportedS3AccesspointConfigurationError", "UnsupportedS3ControlConfigurationError", "InvalidHostLabelError",
        "InvalidDNSNameError", "UnknownSignatureVersionError", "UnsupportedSignatureVersionError",
    },
}  # fmt: skip


def all_kinds(kind: type[Exception]) -> Iterator[type[Exception]]:
    for below in kind.__subclasses__():
        if below.__module__ == boto.__name__:
            yield below
            yield from all_kinds(below)


def test_every_error_of_the_sdk_is_mapped_or_listed() -> None:
    """A new botocore with a new error makes this red: somebody decides what it means."""
    mapped = (*NO_ANSWER, *NOT_SENT)
    unmapped = {kind.__name__ for kind in all_kinds(boto.BotoCoreError) if not issubclass(kind, mapped)}

    assert set().union(*NOT_MAPPED.values()) == unmapped


def refusal(code: str, status: int) -> boto.ClientError:
    return boto.ClientError(
        {"Error": {"Code": code, "Message": "because"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
    )


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("NoSuchKey", 404, ObjectMissing, "the thing is not there"),
        ("404", 404, ObjectMissing, "the thing is not there"),
        ("NoSuchBucket", 404, StoreUnavailable, "check the address"),
        ("AccessDenied", 403, StoreUnavailable, "s3:ListBucket"),
        ("AccessDenied", 403, StoreUnavailable, r"\(AccessDenied: because\).*what the message names"),
        ("403", 403, StoreUnavailable, "s3:ListBucket"),
        ("RequestTimeTooSkewed", 403, StoreUnavailable, "RequestTimeTooSkewed.*the clock"),
        ("InvalidSignatureException", 400, StoreUnavailable, "InvalidSignatureException.*the clock"),
        ("InvalidObjectState", 403, StoreUnavailable, "the thing is in an archive.*restore-object.*doctor"),
        ("KMS.DisabledException", 400, StoreUnavailable, "KMS.DisabledException about the thing: because.*the key"),
        ("ExpiredToken", 400, StoreUnavailable, "expired"),
        ("SlowDown", 503, StoreUnavailable, "SlowDown about the thing: because"),
        ("SomethingNew", 418, StoreUnavailable, "SomethingNew about the thing: because"),
    ],
)
def test_a_refusal_says_what_and_what_to_do(code: str, status: int, kind: type[LifecycleError], words: str) -> None:
    """The name of the object and the service's own word are in every message."""
    with pytest.raises(kind, match=words), aws_errors("the thing"):
        raise refusal(code, status)


def test_a_programming_error_is_left_alone() -> None:
    """It must be seen, not retried."""
    with pytest.raises(boto.ParamValidationError), aws_errors("the thing"):
        raise boto.ParamValidationError(report="x")
