#!/usr/bin/env bash
# e2e.sh: run everything that can be run here without an account, in containers and by SAM.
#
# Ends with "e2e: N run, M unavailable (why)". What cannot be had on this machine is named and is no failure;
# where Docker starts, everything must pass.
source "$(dirname "${BASH_SOURCE[0]}")/e2e/lib.sh"

[[ -x $ROOT/.venv/bin/chroma-lifecycle ]] || { say "run 'make install' first"; exit 2; }

RUN=0
WHY=()

# part NAME COMMAND...: run a part; 77 means that it cannot be had here.
part() {
    local name=$1 code=0
    shift
    "$@" 2> >(tee "$WORK/last-message" >&2) || code=$?
    case $code in
    0) ;;
    77) WHY+=("$name: $(sed -n 's/^e2e: unavailable: //p' "$WORK/last-message" | tail -1)") ;;
    *) say "$name failed"; exit 1 ;;
    esac
    return "$code"
}

closing() {
    local why=""
    ((${#WHY[@]} == 0)) || why=" ($(IFS=';'; echo "${WHY[*]}"))"
    say "$RUN run, ${#WHY[@]} unavailable$why"
}

if part template "$ROOT/scripts/e2e/lint.sh"; then RUN=$((RUN + 1)); fi
if part image "$ROOT/scripts/e2e/build.sh"; then
    RUN=$((RUN + 2)) # docker build, sam build
    part containers "$ROOT/.venv/bin/python" "$ROOT/scripts/e2e/run.py" | tee "$WORK/run.log"
    RUN=$((RUN + $(sed -n 's/^e2e: \([0-9]*\) run$/\1/p' "$WORK/run.log")))
fi
closing
