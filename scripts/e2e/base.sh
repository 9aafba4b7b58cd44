#!/usr/bin/env bash
# base.sh: have a base image that behaves as public.ecr.aws/lambda/python:3.13 does, made on this machine.
#
# A registry that can be reached is not needed: the root file system is Debian trixie's (Python 3.13) by
# debootstrap, the runtime client is PyPI's awslambdaric, the Runtime Interface Emulator is the one inside
# PyPI's aws-sam-cli. The certificates that this machine trusts go into this base, and so never into the Dockerfile.
# The real base is Amazon Linux: what links against its libraries is not tested by this.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HERE=$ROOT/scripts/e2e/base
SUITE=trixie
ROOTFS=chroma-lifecycle-rootfs:$SUITE
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

rootfs() {
    docker image inspect "$ROOTFS" >/dev/null 2>&1 && return
    command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        debootstrap >"$WORK/apt.log" 2>&1 || unavailable "base image: no debootstrap (see $WORK/apt.log)"
    say "making a root file system of Debian $SUITE (about a minute)"
    local made=$WORK/rootfs
    rm -rf --one-file-system "$made"
    debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates "$SUITE" "$made" >"$WORK/debootstrap.log" 2>&1 \
        || unavailable "base image: debootstrap of $SUITE failed: $(tail -1 "$WORK/debootstrap.log")"
    rm -rf "$made"/var/cache/apt "$made"/var/lib/apt/lists "$made"/usr/share/{doc,man,locale} \
        "$made"/usr/lib/python3*/EXTERNALLY-MANAGED
    tar -C "$made" --one-file-system -c . | docker import - "$ROOTFS" >/dev/null
    rm -rf --one-file-system "$made"
}

main() {
    "$ROOT/scripts/e2e/sam-env.sh"
    local context=$WORK/base mark
    mark=$(digest "$HERE"/* "$CERTIFICATES" "${BASH_SOURCE[0]}")
    [[ $(docker image inspect -f '{{index .Config.Labels "made-from"}}' "$BASE_IMAGE" 2>/dev/null) == "$mark" ]] && return
    rootfs
    rm -rf "$context" && cp -r "$HERE" "$context"
    cp "$CERTIFICATES" "$context/ca-certificates.crt"
    cp "$("$SAM_ENV/bin/python" -c 'import samcli, pathlib; print(pathlib.Path(samcli.__file__).parent)')"/local/rapid/aws-lambda-rie-x86_64 \
        "$context/aws-lambda-rie"
    say "building $BASE_IMAGE"
    docker build --build-arg ROOTFS="$ROOTFS" --label made-from="$mark" --tag "$BASE_IMAGE" "$context" \
        >"$WORK/base.log" 2>&1 || { tail -30 "$WORK/base.log" >&2; exit 1; }
}

main
