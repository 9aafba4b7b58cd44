"""The mappings that a ledger's facts were made under: what each said, and when the table was read for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from chroma_lifecycle.planning.ledger_file import LedgerFile
from chroma_lifecycle.planning.ledger_rows import to_json
from chroma_lifecycle.values import Digest


class LedgerMappings:
    """The mappings of an open ledger."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def meaning_of(self, mapping: Digest) -> dict[str, object] | None:
        """Return what the mapping of this digest says, if facts here were made under it."""
        row = self._file.connection.execute("SELECT meaning FROM mappings WHERE digest = ?", (mapping,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def read_at(self) -> int:
        """Return when the table was read for the mapping in force, in seconds of the Unix epoch; 0 if it was not.

        Of an item that no field fact speaks of, nothing counts that was created before: it was not in the table.
        """
        (as_of,) = self._file.connection.execute("SELECT max(as_of) FROM mappings").fetchone()
        return int(as_of or 0)

    def remember(self, digest: Digest, meaning: Mapping[str, object], *, as_of: int = 0) -> None:
        """Note under which mapping facts are made, so that a changed one can be told from it in words.

        Args:
            as_of: When the table was read, if the mapping comes into force by a reading; see :meth:`read_at`.
        """
        with self._file.transaction() as cursor:
            cursor.execute(
                "INSERT INTO mappings VALUES (?,?,?) ON CONFLICT (digest) DO UPDATE SET as_of = excluded.as_of "
                "WHERE excluded.as_of > as_of",
                (digest, to_json(meaning), as_of),
            )

    def remember_those_of(self, newer: LedgerMappings) -> None:
        """Note what *newer* knows: its facts are to be understood here too."""
        query = "SELECT digest, meaning, as_of FROM mappings"
        for digest, meaning, as_of in newer._file.connection.execute(query):
            self.remember(Digest(digest), json.loads(meaning), as_of=as_of)
