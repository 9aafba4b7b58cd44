#!/usr/bin/env bash
# e2e.sh [quick]: run everything that can be run here without an account: real streams, and the image in containers.
#
# Ends with "e2e: N run, M unavailable (why)". What cannot be had on this machine is named and is no failure; of the
# other parts everything that e2e/parts.txt names must run, nothing else may, and all of it must pass. `quick` is what CI runs: the same,
# with a thousand writes instead of ten thousand.
source "$(dirname "${BASH_SOURCE[0]}")/e2e/lib.sh"

[[ -x $ROOT/.venv/bin/chroma-lifecycle ]] || { say "run 'make install' first"; exit 2; }
[[ ${1:-} != quick ]] || export WRITES=${WRITES:-1000}

WHY=()
AWAY=() # parts that cannot be had here, and those that need them
: >"$WORK/ran"

# part NAME COMMAND...: run a part, its words also in $WORK/NAME.log; 77 means that it cannot be had here.
part() {
    local name=$1 code=0
    shift
    "$@" > >(tee "$WORK/$name.log") 2> >(tee "$WORK/$name.err" >&2) || code=$?
    judge "$name" "$code"
}

judge() { # name, exit code
    case $2 in
    0) ;;
    77)
        WHY+=("$1: $(sed -n 's/^e2e: unavailable: //p' "$WORK/$1.err" | tail -1)")
        AWAY+=("$1")
        ;;
    *) say "$1 failed"; exit 1 ;;
    esac
    return "$2"
}

# What ran is what parts.txt says, but for the parts that cannot be had here: nothing is left out unseen.
compare() {
    local expected
    expected=$(grep -v '^#' "$ROOT/scripts/e2e/parts.txt" | grep -vE "^($(IFS='|'; echo "${AWAY[*]:-none}")) " | sort)
    diff <(echo "$expected") <(sort "$WORK/ran") >"$WORK/difference" && return
    say "what ran (>) is not what scripts/e2e/parts.txt says (<):"
    grep '^[<>]' "$WORK/difference"
    exit 1
}

# The daemon that was started for this is ended, unless somebody else uses it by now.
finish() {
    [[ -z ${STREAMS:-} ]] || kill -- "-$STREAMS" 2>/dev/null || true
    [[ -n $HAD_DOCKER || -n $(docker ps -q 2>/dev/null) ]] || "$ROOT/scripts/e2e/docker.sh" stop
}
HAD_DOCKER=$(docker info >/dev/null 2>&1 && echo yes || true)
trap finish EXIT

closing() {
    local why=""
    ((${#WHY[@]} == 0)) || why=" ($(IFS=';'; echo "${WHY[*]}"))"
    say "$(wc -l <"$WORK/ran") run, ${#WHY[@]} unavailable$why"
}

# The streams beside the building of the image, which mostly waits for the network and the disk.
setsid "$ROOT/scripts/e2e/streams.sh" >"$WORK/streams.log" 2>"$WORK/streams.err" &
STREAMS=$!

part template "$ROOT/scripts/e2e/lint.sh" || true
if part docker "$ROOT/scripts/e2e/docker.sh" start; then
    part image "$ROOT/scripts/e2e/build.sh" || { say "Docker starts, so the image must be built"; exit 1; }
    part containers "$ROOT/.venv/bin/python" "$ROOT/scripts/e2e/run.py"
else
    AWAY+=(image containers)
fi

CODE=0
wait "$STREAMS" || CODE=$?
STREAMS=""
tail -40 "$WORK/streams.log"
judge streams "$CODE" || cat "$WORK/streams.err" >&2
compare
closing
