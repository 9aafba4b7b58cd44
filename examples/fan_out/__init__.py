"""Query functions that hold a part of the shards each, and one that asks them all."""
