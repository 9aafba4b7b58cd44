"""Erasing records from everything that a store keeps: the newest version, every older one, the mirror."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.erasing import Remains, begin_anew, erase_older
from chroma_lifecycle.publishing.mirror import MirrorOutcome, MirrorState
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.upkeep import Site


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done.

    Attributes:
        published: The version that holds nothing of the records, and before which nothing lives.
        records: How many of them were still in the version before.
        removed: By address, what was removed there, and what else is there that nothing reaches.
        mirror: What became of the mirror; where it was not brought forward, nothing was removed from it.
    """

    published: Published
    records: int
    removed: dict[str, Remains]
    mirror: MirrorOutcome | None

    @property
    def done(self) -> bool:
        """Whether nothing of the records is left where this could look."""
        states = (MirrorState.UP_TO_DATE, MirrorState.BROUGHT_FORWARD)
        return self.mirror is None or self.mirror.state in states


def check_erasable(site: Site, ids: Collection[str], *, unknown: bool = False) -> Published:
    """Bring the workspace to the newest version, and return it; nothing is erased.

    Args:
        site: The collection.
        ids: Of the records.
        unknown: Ids that the newest version has no trace of are no mistake.

    Raises:
        BadInput: Pins hold older versions, or an id is unknown.
    """
    newest = site.restored(Deadline())
    begin_anew(newest.head)
    with Ledger.open(site.workspace.pristine.root / LEDGER, read_only=True) as ledger:
        strangers = [] if unknown else [id_ for id_ in ids if not ledger.knows(id_)]
    if strangers:
        raise BadInput(
            f"version {newest.manifest.version.number} of {site.collection} has no trace of "
            f"{', '.join(map(repr, strangers[:5]))}{f' and {len(strangers) - 5} more' if len(strangers) > 5 else ''}",
            hint="check the id; if the record is long gone, and only older versions hold it, give --unknown",
        )
    return newest


def erase(site: Site, ids: Collection[str], *, tail_budget: int, unknown: bool = False) -> Erased:
    """Publish a version without these records, end every older version, and remove what was stored for them.

    The collection is rebuilt, since freed pages, the queue and the ledger hold what was deleted. The
    swap that publishes it raises the floor to it and begins a new era; behind that fence every older
    name goes, every version of it that the store keeps, and from the mirror too. A writer that sleeps
    may bring objects back that nobody names: the next sweep, or erasing again, finds them.

    Args:
        site: The collection.
        ids: Of the records; those that are still there are removed.
        tail_budget: Vector operations that a reader may have to replay.
        unknown: Ids that the newest version has no trace of are no mistake.

    Raises:
        BadInput: As :func:`check_erasable`.
        LifecycleError: As a rebuild. When HEAD has moved, what is left is removed by a sweep as well.
    """
    check_erasable(site, ids, unknown=unknown)
    rebuilt = rebuild(site, without=ids, action="erase", tail_budget=tail_budget, amend=begin_anew)
    published = rebuilt.published
    erased = Erased(published, published.manifest.details.summary.removed, {}, rebuilt.mirror)
    mirror = site.mirror if erased.done else None
    erased.removed.update(erase_older(site.store, site.collection, mirror))
    return erased
