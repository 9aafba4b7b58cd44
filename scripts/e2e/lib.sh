# shellcheck shell=bash disable=SC2034
# Shared by the scripts of this directory; source it.
#
# Exit codes of all of them: 0 done, 77 a part cannot be had on this machine (the message says which and why),
# anything else a failure. Everything is kept below .work/e2e, so that a second run is quick.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=$ROOT/.work/e2e
SAM_ENV=$ROOT/.work/sam/.venv
BASE_IMAGE=${BASE_IMAGE:-chroma-lifecycle-base:local}
IMAGE=${IMAGE:-chroma-lifecycle:local}
mkdir -p "$WORK"

# Debian's Docker and `sam build` have the classic builder; a client without buildx has no other.
export DOCKER_BUILDKIT=0 SAM_CLI_TELEMETRY=0

say() { printf 'e2e: %s\n' "$*"; }

unavailable() {
    printf 'e2e: unavailable: %s\n' "$*" >&2
    exit 77
}

# wait_for SECONDS COMMAND...: ask again until the command succeeds or the time is over.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

# digest FILE...: one digest over the contents, to see whether something must be made again.
digest() { cat "$@" | sha256sum | cut -c1-16; }
