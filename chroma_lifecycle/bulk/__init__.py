"""Bulk work: a collection made from a data set of deltas, by tasks that an engine runs.

========  ==================================================================================
`job`     what is to be built; written once, so that whoever starts again goes on with it
`work`    where tasks leave what the next ones need: a directory, or a prefix of a bucket
`split`   a task for each input: checked, and its records laid down by shard
`build`   a task for each shard: its records become version 1
`shards`  how many records each must have, which are built, and the layout at the end
`tasks`   the tasks by their names, as JSON: for Step Functions, and for this machine
`local`   the engine on this machine: processes
========  ==================================================================================
"""
