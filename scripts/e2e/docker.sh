#!/usr/bin/env bash
# docker.sh [start | stop]: have a Docker daemon. One that already runs is used as it is; `stop` ends only
# the one that `start` started.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PID=$WORK/dockerd.pid

install_docker() {
    [[ $(id -u) == 0 ]] || unavailable "Docker: no daemon answers, and installing one needs root"
    command -v apt-get >/dev/null || unavailable "Docker: no daemon answers, and this is not a Debian machine"
    say "installing docker.io from Debian"
    apt-get update -qq >/dev/null 2>&1 || true # an old list may still do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables \
        >"$WORK/apt.log" 2>&1 || unavailable "Docker: docker.io cannot be installed (see $WORK/apt.log)"
}

start_with() { # storage driver
    : >"$WORK/dockerd.log"
    setsid dockerd --storage-driver "$1" >>"$WORK/dockerd.log" 2>&1 </dev/null &
    echo $! >"$PID"
    wait_for 40 docker info && return
    kill "$(cat "$PID")" 2>/dev/null || true
    rm -f "$PID"
    return 1
}

start() {
    docker info >/dev/null 2>&1 && return
    command -v dockerd >/dev/null || install_docker
    for driver in overlay2 vfs; do
        if start_with "$driver"; then
            say "started dockerd ($driver)"
            return
        fi
    done
    unavailable "Docker: dockerd does not start here: $(grep -o 'msg=.*' "$WORK/dockerd.log" | tail -1)"
}

stop() {
    [[ -f $PID ]] || return 0
    kill "$(cat "$PID")" 2>/dev/null || true
    rm -f "$PID"
    say "stopped dockerd"
}

"${1:-start}"
