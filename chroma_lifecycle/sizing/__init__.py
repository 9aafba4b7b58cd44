"""How many shards, how much memory, disk, time and money a collection takes: a model with measured constants."""
