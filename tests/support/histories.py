"""Histories of any length, without a store."""

from __future__ import annotations

from datetime import timedelta

from chroma_lifecycle.page.history import History, MirrorSeen, Row
from tests.support.heads import head_spec
from tests.support.versions import NOON, manifest_spec


def history_spec(versions: int, *, mirror: MirrorSeen | None = None, broken: str | None = None) -> History:
    """A history that grows, with a base at the first version, packs, deletions, and one slow cycle."""
    rows = tuple(
        Row(
            version=number,
            written_at=NOON + timedelta(minutes=number),
            action="compact" if number > 1 else "init",
            added=number % 7 * 10,
            changed=number % 5 * 20,
            removed=number % 11,
            records=number * 25,
            withheld=0,
            size_bytes=90_000_000 + 20_000 * number,
            stored_bytes=60_000_000 if number == 1 else 20_000 + 1_000 * (number % 13),
            packs=(number - 1) % 32,
            tail=number * 10 % 500,
            verified=number % 50 == 1,
            milliseconds={} if number == 1 else {"restore": 2, "plan": 5, "apply": 150 + number % 40, "seal": 12},
        )
        for number in range(1, versions + 1)
    )
    return History(
        address="s3://bucket/snapshots",
        head=head_spec(),
        newest=manifest_spec(),
        rows=rows,
        broken=broken,
        mirror=mirror,
        read_at=NOON + timedelta(minutes=versions + 5),
    )
