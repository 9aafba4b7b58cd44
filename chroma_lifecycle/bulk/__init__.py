"""Bulk work: a collection made from a data set of deltas, or cut into other shards, by tasks that an engine runs.

========  ==================================================================================
`job`     what is to be built; written once, so that whoever starts again goes on with it
`work`    where tasks leave what the next ones need: a directory, or a prefix of a bucket
`split`   a task for each input: checked, and its records laid down by shard
`build`   a task for each shard: its records become version 1
`shards`  how many records each must have, which are built, and the layout at the end
`tasks`   the tasks by their names, as JSON: for Step Functions, and for this machine
`local`   the engine on this machine: processes
`here`    what a task is told by its machine, and by its event
========  ==================================================================================

Another number of shards:

===============  ===========================================================================
`resharding`     how it is decided: begun, closed, put in force, or given up
`brought`        what a shard that comes is made of, and whether it is that already
`bring`          a task for each shard that comes: made what the shards in force hold of it
`reshard_tasks`  the tasks by their names
`local_reshard`  all of it on this machine
`leftovers`      what it leaves behind, and when that can go
===============  ===========================================================================
"""
