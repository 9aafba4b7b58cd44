#!/usr/bin/env bash
# streams.sh: the pipeline on real streams (tests/e2e), with what DynamoDB Local needs installed where it is missing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# have PROGRAM PACKAGE: the program, from Debian's package if need be.
have() {
    command -v "$1" >/dev/null && return
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || unavailable "streams: no $1, and no right to install it"
    say "installing $2 from Debian"
    apt-get update -qq >/dev/null 2>&1 || true # an old list may still do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >"$WORK/apt-$1.log" 2>&1 \
        || unavailable "streams: $2 cannot be installed (see $WORK/apt-$1.log)"
}

cd "$ROOT"
have java default-jre-headless
have npm npm
"$ROOT/.venv/bin/python" -c 'from pathlib import Path; from dev.dynamodb_local import install; install(Path(".work/dev"))' \
    2>"$WORK/fetch.log" || unavailable "streams: DynamoDB Local cannot be fetched: $(tail -1 "$WORK/fetch.log")"
"$ROOT/.venv/bin/pytest" -q -n 0 -m e2e -rp "$ROOT/tests/e2e" | tee "$WORK/pytest.log"
sed -n 's|^PASSED tests/e2e/|streams |p' "$WORK/pytest.log" >>"$WORK/ran"
