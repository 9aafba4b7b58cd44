from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chroma_lifecycle.aws import s3
from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.ports import Store
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.memory_store import FakeClock, MemoryStore
from tests.support.s3 import new_bucket, s3_client

STORES = ["directory", "mirror-only", "s3", "s3-plain", "memory"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind; those in S3 list and delete a few names at a time."""
    monkeypatch.setattr(s3, "_KEYS_IN_A_PAGE", 3)
    monkeypatch.setattr(s3, "_KEYS_IN_A_DELETE", 2)
    match request.param:
        case "s3":
            return s3.S3Store(S3Address(new_bucket(), "a prefix/of ours"), s3_client())
        case "s3-plain":
            return s3.S3Store(S3Address(new_bucket(), ""), s3_client("when_required"))
        case "memory":
            return MemoryStore(FakeClock(datetime.now(UTC)))
        case kind:
            return DirectoryStore(tmp_path, mirror_only=kind == "mirror-only")
