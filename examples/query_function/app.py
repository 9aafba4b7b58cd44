"""A query function: it answers from the newest version, which stays on its disk between invocations."""

import os

from chroma_lifecycle.reader import SnapshotReader

reader = SnapshotReader.open(
    os.environ["STORE"],
    "words",
    mirror=os.environ.get("MIRROR"),
    workspace=os.environ.get("WORKSPACE", "/tmp/reader"),
    check_seconds=60,
)


def lambda_handler(event, _context):
    """Return the records nearest to the vector of the event, and the version that they are of."""
    with reader.collection() as words:
        found = words.query(query_embeddings=[event["vector"]], n_results=event.get("limit", 10))
        return {"version": words.version, "ids": found["ids"][0], "documents": found["documents"][0]}
