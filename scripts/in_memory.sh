#!/usr/bin/env bash
# Run tests whose files lie in memory, where there is room: they make, sync and remove files by the thousand, and would wait
# for the disk most of their time. What failed tests leave stays, and is told; with a TMPDIR of one's own, all is as there.
#
#   scripts/in_memory.sh .venv/bin/pytest -q -n auto
set -euo pipefail

room() { # MB that the files may take: of the directory, and of memory that is free
    local disk memory
    disk=$(df --output=avail -m /dev/shm 2>/dev/null | tail -1) || disk=0
    memory=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo 2>/dev/null) || memory=0
    echo $((disk < memory ? disk : memory))
}

if [ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || [ "$(room)" -lt 8000 ]; then
    exec "$@"
fi
TMPDIR=$(mktemp -d /dev/shm/chroma-lifecycle-XXXXXX)
export TMPDIR
status=0
"$@" || status=$?
if [ "$status" -eq 0 ]; then
    rm -rf "$TMPDIR"
else
    echo "what the failed tests left is in $TMPDIR (in memory: remove it when you have seen it)"
fi
exit "$status"
