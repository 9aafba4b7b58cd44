"""Reading what is published: the newest sound version, local, swapped beneath whoever queries.

::

    from chroma_lifecycle import SnapshotReader

    reader = SnapshotReader.open("s3://bucket/snapshots", "words")
    with reader.collection() as words:  # the first use restores; later ones are local
        words.query(query_embeddings=[vector], n_results=10)

=============  ======================================================================
`reader`       the reader: looks at HEAD, prepares a version, swaps, tells its status
`shelf`        which version is served, who reads it, and which older ones are still read
`serving`      one version, open in a copy of its own, and the probe that it has to pass
`collection`   what the user holds: a collection, and a client, for reading alone
`status`       what a reader says about itself
`sharded`      the reader of a collection in shards: a reader of each, asked side by side
`fanning`      which shards a call concerns, and one answer of their answers
=============  ======================================================================

``docs/reading.md`` has the figures and the recipes.
"""

from __future__ import annotations

from chroma_lifecycle.reader.collection import ReadClient, ReadCollection
from chroma_lifecycle.reader.reader import SnapshotReader
from chroma_lifecycle.reader.sharded import ShardedReader, ShardedStatus
from chroma_lifecycle.reader.status import ReaderStatus

__all__ = ["ReadClient", "ReadCollection", "ReaderStatus", "ShardedReader", "ShardedStatus", "SnapshotReader"]
