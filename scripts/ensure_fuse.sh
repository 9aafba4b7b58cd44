#!/usr/bin/env bash
# Exit 0 with a FUSE library on the machine, installed from Debian's packages if need be; otherwise say why not, and exit 1.
set -u
has_fuse() { command -v fusermount3 >/dev/null && ldconfig -p | grep -q libfuse3; }
has_fuse && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get install -y -q fuse3 || { apt-get update -q && apt-get install -y -q fuse3; }; } >/dev/null 2>&1
fi
has_fuse && exit 0
echo "fuse: unavailable: no libfuse3 here, and Debian's package cannot be installed; mounts that fail are not tested" >&2
exit 1
