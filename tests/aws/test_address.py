"""Addresses in S3: what is one, and what becomes of names below it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.errors import BadInput


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://my.bucket-1/a", "my.bucket-1", "a"),
        ("s3://bucket/a/b c/", "bucket", "a/b c"),
        ("s3://" + "b" * 63 + "/ä", "b" * 63, "ä"),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(text: str, bucket: str, prefix: str) -> None:
    """One slash at the end makes no difference."""
    address = S3Address.parse(text)

    assert (bucket, prefix) == (address.bucket, address.prefix)
    assert address == S3Address.parse(str(address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bucket",
        "/mnt/store",
        "S3://bucket",
        "http://bucket",
        "s3:/bucket",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://" + "b" * 64,
        "s3://Bucket",
        "s3://buc_ket",
        "s3://-bucket",
        "s3://bucket-",
        "s3://bu..cket",
        "s3://192.168.0.1",
        "s3://xn--bucket",
        "s3://bucket-s3alias",
        "s3://bucket@host/x",
        "s3://bucket?x",
        "s3://bucket//x",
        "s3://bucket/x//",
        "s3://bucket/../x",
        "s3://bucket/x/./y",
        "s3://bucket/x\ny",
        "s3://bucket/" + "x" * 301,
    ],
)
def test_anything_else_is_refused_with_what_it_should_be(text: str) -> None:
    """L25: a typing error in a setting is told before anything is written elsewhere."""
    with pytest.raises(BadInput, match="s3://bucket/prefix"):
        S3Address.parse(text)


@pytest.mark.parametrize("prefix", ["", "a", "a/b c"])
@given(name=st.text(min_size=1, max_size=30))
def test_names_become_keys_and_names_again(prefix: str, name: str) -> None:
    """Whatever is listed below a prefix has the name by which it was written."""
    address = S3Address("bucket", prefix)

    assert name == address.name(address.key(name))
