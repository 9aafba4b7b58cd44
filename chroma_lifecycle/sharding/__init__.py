"""Compacting a collection that is in shards: which of them a batch concerns, and when a message is done in all.

==========  =========================================================================
`works`     what each shard has to do for a batch
`statuses`  the status of runs that several shards merge, each its portion
==========  =========================================================================

The slots are in :mod:`chroma_lifecycle.slots`, the layout in :mod:`chroma_lifecycle.publishing.layout`.
"""
