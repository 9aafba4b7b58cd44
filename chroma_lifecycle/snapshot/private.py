"""A directory of one's own where every user of the machine may make one."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from chroma_lifecycle.errors import BadInput

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def require_private(directory: Path) -> None:
    """Make *directory* for this user alone, or make sure that what is there was made by this user, for no other.

    Where temporary files lie anybody can be the first to make a directory, or a link to another one, and put files
    there that this process would take for its own. What only this user can write into stays this user's: the directory
    above keeps others from renaming it.

    Raises:
        BadInput: Another user has it, or can write into it, or it is no directory.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(directory, "is no directory")
    if found.st_uid != os.geteuid():
        raise _refused(directory, f"belongs to user {found.st_uid}, and this is user {os.geteuid()}")
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise _refused(directory, f"can be written by other users ({stat.filemode(found.st_mode)})")


def _refused(directory: Path, why: str) -> BadInput:
    return BadInput(
        f"{directory} {why}: what lies there may be anybody's",
        hint="name a directory of this user (CHROMA_LIFECYCLE_WORKSPACE, --workspace, or workspace= of a reader), "
        "or remove this one",
    )
