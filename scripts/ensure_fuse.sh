#!/usr/bin/env bash
# Exit 0 where tests can mount: a FUSE library, installed from Debian's packages if need be, its device, and the right to
# mount; otherwise say why not, and exit 1.
set -u
has_fuse() { command -v fusermount3 >/dev/null && ldconfig -p | grep -q libfuse3; }
unavailable() {
    echo "fuse: unavailable: $1; mounts that fail, hang or are full are not tested" >&2
    exit 1
}
can_mount() {
    local place status
    place=$(mktemp -d)
    mount -t tmpfs none "$place" 2>/dev/null && umount -l "$place"
    status=$?
    rmdir "$place"
    return $status
}
[ -r /dev/fuse ] && [ -w /dev/fuse ] || unavailable "/dev/fuse cannot be opened"
can_mount || unavailable "mounting needs root"
has_fuse && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get install -y -q fuse3 || { apt-get update -q && apt-get install -y -q fuse3; }; } >/dev/null 2>&1
fi
has_fuse || unavailable "no libfuse3 here, and Debian's package cannot be installed"
