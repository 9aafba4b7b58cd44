"""A directory that another system reads from: an :class:`chroma_lifecycle.publishing.export.ExportTarget`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.snapshot.disk import sync
from chroma_lifecycle.stores.folders import os_errors


@dataclass(frozen=True, slots=True)
class DirectoryTarget:
    """A directory, usually on a mount; it is made if it is not there."""

    root: Path

    @property
    def address(self) -> str:
        return str(self.root)

    def holds(self, below: str) -> bool:
        return (self.root / below).exists()

    def put(self, name: str, file: Path) -> None:
        to = self.root / name
        with os_errors(str(to)):
            to.parent.mkdir(parents=True, exist_ok=True)
            unfinished = to.with_name(f".{to.name}-{new_id()}")
            shutil.copyfile(file, unfinished)  # from a local disk to a mount: the kernel alone may not do it
            sync(unfinished)
            unfinished.replace(to)
            sync(to.parent)
