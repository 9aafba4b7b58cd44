"""Objects that a lifecycle rule of the bucket has moved to an archive: listed, and not to be read for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import copy_versions
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.recover import recover
from chroma_lifecycle.publishing.sweep import reached
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.s3 import client
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny

pytestmark = pytest.mark.parametrize("kind", ["s3"])


def archive(store: Store, name: str) -> None:
    """Do what a lifecycle rule does after its time."""
    bucket, _, prefix = store.address.removeprefix("s3://").partition("/")
    key = f"{prefix}/{name}" if prefix else name
    client().copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}", StorageClass="GLACIER")


def test_archived_objects_are_damage_that_a_mirror_mends(tiny: Tiny, tmp_path: Path) -> None:
    """L13: `verify` names each of them, and `recover` writes them again where they can be read."""
    tiny.initialise()
    tiny.publish(1)
    (tmp_path / "mirror").mkdir()
    mirror = DirectoryStore(tmp_path / "mirror", mirror_only=True)
    copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline(), whole_history=True)
    objects = {
        name
        for name in reached(tiny.store, read_head(tiny.store, COLLECTION).head)
        if Names(COLLECTION).parse_object_name(name)
    }
    for name in objects:
        archive(tiny.store, name)

    damage = verify_store(read_published(tiny.store, COLLECTION), tiny.store, every_version=True).damage
    assert objects == set(damage)
    assert all("archive" in problem for problem in damage.values())

    assert len(objects) == recover(tiny.store, mirror, COLLECTION, writer="test").brought
    assert {} == dict(verify_store(read_published(tiny.store, COLLECTION), tiny.store, every_version=True).damage)


def test_an_archived_head_is_not_a_missing_one(tiny: Tiny) -> None:
    """C3: nobody may take the collection for one that was not begun, or recover an older HEAD over it."""
    tiny.initialise()
    archive(tiny.store, Names(COLLECTION).head)

    with pytest.raises(StoreUnavailable, match=r"HEAD .*archive.*restore-object.*doctor"):
        read_head(tiny.store, COLLECTION)
