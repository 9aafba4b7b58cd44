"""Versions of a few bytes, published by the real code: for what is about names and HEADs, not about bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import publish as publishing
from chroma_lifecycle.publishing import rebase as rebasing
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.snapshot.details import Details
from chroma_lifecycle.snapshot.files import content_digest
from chroma_lifecycle.snapshot.image import Image, read_image
from chroma_lifecycle.snapshot.pristine import LocalVersion
from tests.support.snapshots import details
from tests.support.versions import COLLECTION

_REBASING = "workspace", "store", "deadline", "clock", "writer"

on_every_store = pytest.mark.parametrize("kind", ["memory", "directory", "s3"])
"""For a test of what could differ between them."""


@dataclass(frozen=True)
class TinySealed:
    """Stands for a sealed snapshot: its image is read, and its pack is made up."""

    files: dict[str, Path]
    root: Path = Path()

    @property
    def image(self) -> Image:
        return read_image(self.files, Path(), {}, frozenset())


@dataclass(frozen=True)
class _TinyPristine:
    """Stands for the local copy, which is not there; it hands the made-up pack on."""

    pack: bytes | None
    root: Any = Path()
    local: LocalVersion | None = None

    def relabel(self, version: LocalVersion) -> None:
        """Nothing is on the disk."""


@dataclass(frozen=True)
class _TinyWorkspace:
    pristine: _TinyPristine


@contextmanager
def tiny_publishing() -> Iterator[None]:
    """Let `publish` and `rebase` take a :class:`TinySealed`, and leave no local copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_compare", lambda sealed, pristine, parent: (sealed.image, pristine.pack))
        patch.setattr(publishing, "_follow", lambda *given: None)
        patch.setattr(rebasing, "_proven_copy", lambda workspace, manifest: workspace.pristine.local)
        patch.setattr(rebasing, "seal", lambda root, full: root)
        yield


@dataclass
class Tiny:
    """A compactor of contents that are known by a number.

    Attributes:
        folder: Where the files of the contents lie; they are written once.
    """

    store: Store
    folder: Path
    clock: Clock
    writer: str = "tiny"
    files: dict[int, dict[str, Path]] = field(default_factory=dict)

    def content(self, number: int) -> dict[str, Path]:
        """Return the files of content *number*: a ledger of its own, and Chroma's, which three share."""
        if number not in self.files:
            ledger, chroma = self.folder / f"ledger-{number}", self.folder / f"chroma-{number // 3}"
            ledger.write_bytes(b"ledger %d" % number)
            chroma.write_bytes(b"chroma %d" % (number // 3))
            self.files[number] = {"chroma/chroma.sqlite3": chroma, "ledger.sqlite3": ledger}
        return self.files[number]

    def initialise(self, number: int = 0) -> Published:
        sealed: Any = TinySealed(self.content(number))
        return publishing.initialise(sealed, **self._given("init"))

    def publish(
        self, number: int, *, pack: bytes | None = None, parent: Published | None = None, **given: Any
    ) -> Published:
        """Publish content *number*, as a base or as a *pack* that nobody will apply."""
        sealed: Any = TinySealed(self.content(number))
        parent = parent or read_published(self.store, COLLECTION)
        given |= self._given("compact", pack)
        del given["collection"]
        return publishing.publish(sealed, parent=parent, **given)

    def rebase(self) -> Published:
        """Give the newest version a new base, as one who holds it and has looked at every page."""
        newest = read_published(self.store, COLLECTION)
        images = map(TinySealed, self.files.values())
        sealed = next(each for each in images if content_digest(each.image.entries) == newest.manifest.content)
        local = LocalVersion.of(newest.manifest, sealed.image.after)
        workspace: Any = _TinyWorkspace(_TinyPristine(None, sealed, local))
        given = self._given("rebase") | {"workspace": workspace}
        return rebasing.rebase(published=newest, **{name: given[name] for name in _REBASING})

    def _given(self, action: str, pack: bytes | None = None) -> dict[str, Any]:
        told: Details = details(action)
        return {
            "collection": COLLECTION,
            "details": told,
            "workspace": _TinyWorkspace(_TinyPristine(pack)),
            "store": self.store,
            "deadline": Deadline(),
            "clock": self.clock,
            "writer": self.writer,
        }
