"""What boto3 raises, in this library's words; the only place that translates it.

A programming error (a parameter that botocore refuses before it sends anything) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from chroma_lifecycle.errors import GONE, LifecycleError, ObjectMissing, StoreUnavailable

NO_ANSWER = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    boto.ChecksumError,
    HTTPError,  # botocore lets some of urllib3's through while a body is read
)
"""The request may have been carried out: no answer came, or a part of one."""

NOT_SENT = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.UnknownTokenProviderError,
    boto.UnknownCredentialError,
    boto.SSOError,
    boto.LoginError,
    boto.RefreshWithMFAUnsupportedError,
    boto.InfiniteLoopConfigError,
    boto.InvalidIMDSEndpointError,
    boto.InvalidIMDSEndpointModeError,
    boto.ProfileNotFound,
    boto.ConfigParseError,
    boto.ConfigNotFound,
    boto.InvalidConfigError,
    boto.InvalidRetryConfigurationError,
    boto.InvalidChecksumConfigError,
    boto.InvalidDefaultsMode,
    boto.InvalidProxiesConfigError,
    boto.InvalidRegionError,
    boto.InvalidEndpointConfigurationError,
    boto.InvalidSTSRegionalEndpointsConfigError,
    boto.InvalidS3UsEast1RegionalEndpointConfigError,
    boto.InvalidS3AddressingStyleError,
    boto.BaseEndpointResolverError,
    boto.EndpointProviderError,
    boto.UnknownRegionError,
    boto.MissingDependencyException,
)
"""The SDK's own settings or credentials do not do; no request went out."""

MISSING = {"NoSuchKey", "NoSuchVersion", "404"}
"""Codes that say that there is no object of this name."""

FORBIDDEN = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
"""Codes of a refusal of this request; the credentials as such are good."""

ARCHIVED = "InvalidObjectState"
"""Code that says that an object lies where it cannot be read at once."""

_NOT_RECOGNISED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidSignatureException",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
SETTINGS_HINT = (
    "set the AWS SDK's own variables (AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...); "
    "`aws sts get-caller-identity` shows whether they do"
)
"""How to mend what `NOT_SENT` tells."""

NO_BUCKET_HINT = "check the address, and the region of the bucket"
NO_ANSWER_HINT = "run the same again; if it stays, check the network, the region and AWS_ENDPOINT_URL"

_KEY_HINT = "see that the key of the bucket is there and enabled, and run the same again"
_ARCHIVED_HINT = (
    "`aws s3api restore-object` brings it back in hours, `chroma-lifecycle recover --mirror DIRECTORY` at once from a "
    "mirror; take away the lifecycle rule that `chroma-lifecycle doctor` names"
)

STORE_PERMISSIONS = (
    "s3:GetObject, s3:PutObject and s3:ListBucket on the store (without ListBucket, S3 says 403 for a key "
    "that is not there)"
)


@contextmanager
def aws_errors(what: str, *, permissions: str = STORE_PERMISSIONS) -> Iterator[None]:
    """Translate boto3's errors about *what*, for which *permissions* are needed.

    Raises:
        ObjectMissing: There is no object of this name.
        StoreUnavailable: Anything else that the service, the network or the SDK's settings refuse.
    """
    try:
        yield
    except boto.ClientError as problem:
        raise translated(problem, what, permissions) from problem
    except NO_ANSWER as problem:
        raise StoreUnavailable(f"no answer about {what}: {problem}", hint=NO_ANSWER_HINT) from problem
    except NOT_SENT as problem:
        raise StoreUnavailable(f"could not ask for {what}: {problem}", hint=SETTINGS_HINT) from problem


def translated(problem: boto.ClientError, what: str, permissions: str = STORE_PERMISSIONS) -> LifecycleError:
    """Return the error for an answer that is a refusal."""
    code, message = code_of(problem), message_of(problem)
    if code in MISSING:
        return ObjectMissing(f"{what} is not there", hint=GONE)
    if code == "NoSuchBucket":
        return StoreUnavailable(f"there is no bucket for {what}", hint=NO_BUCKET_HINT)
    if code == ARCHIVED:
        return StoreUnavailable(f"{what} is in an archive, where it cannot be read at once", hint=_ARCHIVED_HINT)
    if code in FORBIDDEN | _NOT_RECOGNISED:
        # AWS names in its message the right that is missing: often that of a key, or what a policy denies.
        checks = "check that the credentials have not expired, and the clock"
        hint = f"allow {permissions}, and what the message names; {checks}"
        return StoreUnavailable(f"not allowed to use {what} ({code}: {message})", hint=hint)
    hint = _KEY_HINT if code.startswith("KMS.") else "run the same again"
    return StoreUnavailable(f"{code} about {what}: {message}", hint=hint)


def is_archived(problem: StoreUnavailable) -> bool:
    """Return whether a translated refusal was that of an object in an archive."""
    return isinstance(problem.__cause__, boto.ClientError) and code_of(problem.__cause__) == ARCHIVED


def code_of(problem: boto.ClientError) -> str:
    """Return the service's own word for a refusal; of an answer without a body, its HTTP status."""
    return str(problem.response.get("Error", {}).get("Code", "unknown"))


def message_of(problem: boto.ClientError) -> str:
    """Return what the service says about a refusal, beside its code."""
    return str(problem.response.get("Error", {}).get("Message", "no message"))


def status_of(problem: boto.ClientError) -> int:
    """Return the HTTP status of a refusal."""
    return int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def was_asked_once(problem: boto.ClientError) -> bool:
    """Return whether the SDK sent the request only once, so that nobody can have carried out an earlier one."""
    return bool(problem.response.get("ResponseMetadata", {}).get("RetryAttempts", 1) == 0)
