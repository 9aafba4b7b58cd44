"""A query function that holds a part of a collection's shards: of PARTS functions, that with this PART, from 0 on."""

import os

from chroma_lifecycle.reader import ShardedReader

PART, PARTS = int(os.environ["PART"]), int(os.environ["PARTS"])
reader = ShardedReader.open(
    os.environ["STORE"],
    "words",
    part=(PART, PARTS),
    mirror=os.environ.get("MIRROR"),
    workspace=os.environ.get("WORKSPACE", "/tmp/reader"),
    check_seconds=60,
)


def lambda_handler(event, _context):
    """Return the nearest records of this part, which part it is, and of which layout."""
    if event.get("again"):  # another part follows a newer layout already
        reader.refresh()
    with reader.collection() as words:
        found = words.query(query_embeddings=[event["vector"]], n_results=event.get("limit", 10))
        nearest = {field: found[field][0] for field in ("distances", "ids", "documents")}
        return {"part": [PART, PARTS], "layout": words.layout, **nearest}
