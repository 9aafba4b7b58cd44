"""Clients of AWS: what all of a process share, and what each reads for itself."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

from chroma_lifecycle.aws.clients import make_client


def test_the_sdks_description_of_a_service_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is most of what making a client takes, and a function makes three."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    make_client("s3")
    read = []
    load_file = JSONFileLoader.load_file

    def watched(loader: JSONFileLoader, path: str) -> Any:
        read.append(path)
        return load_file(loader, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", watched)
    make_client("s3")
    assert [] == read
    make_client("sns")  # which nobody else makes: what is read is seen
    assert read


def test_each_client_has_the_settings_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although they share what describes the service."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    before = make_client("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")

    assert "http://127.0.0.1:2" == make_client("s3").meta.endpoint_url
    assert "http://127.0.0.1:1" == before.meta.endpoint_url
