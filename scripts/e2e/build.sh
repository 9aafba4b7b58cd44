#!/usr/bin/env bash
# build.sh: build the image by `docker build`, and once more by `sam build` from template.yaml; print its size.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/e2e/docker.sh" start
[[ $BASE_IMAGE != chroma-lifecycle-base:local ]] || "$ROOT/scripts/e2e/base.sh"

# The template is the one that is deployed, but for the name of the base image, an absolute path, and a variable by
# which the AWS SDK finds moto's server (SAM hands on only the variables that the template names).
sam_template() {
    sed -e "s|BASE_IMAGE: .*|BASE_IMAGE: $BASE_IMAGE|" -e "s|DockerContext: \.$|DockerContext: $ROOT|" \
        -e '/^        Variables:$/a\          AWS_ENDPOINT_URL: ""' "$ROOT/template.yaml" >"$WORK/template.yaml"
    local changed
    for changed in "BASE_IMAGE: $BASE_IMAGE" "DockerContext: $ROOT" "AWS_ENDPOINT_URL:"; do
        grep -q "$changed" "$WORK/template.yaml" || { say "template.yaml is not laid out as build.sh expects"; exit 1; }
    done
}

# What the names stood for until now is removed at the end, or each edit of the code would leave 300 MB behind.
replaced() { docker image inspect -f '{{.Id}}' "$IMAGE" compactor:compactor compactor:rapid-x86_64 2>/dev/null || true; }
BEFORE=$(replaced)

say "building $IMAGE"
docker build --build-arg BASE_IMAGE="$BASE_IMAGE" --tag "$IMAGE" "$ROOT" >"$WORK/build.log" 2>&1 \
    || { tail -30 "$WORK/build.log" >&2; say "docker build failed (see $WORK/build.log)"; exit 1; }

echo "image docker build" >>"$WORK/ran"

sam_template
say "sam build"
(cd "$WORK" && "$SAM_ENV/bin/sam" build --template-file template.yaml --build-dir "$WORK/sam" >"$WORK/sam-build.log" 2>&1) \
    || { tail -30 "$WORK/sam-build.log" >&2; say "sam build failed (see $WORK/sam-build.log)"; exit 1; }
echo "image sam build" >>"$WORK/ran"

for old in $BEFORE; do
    [[ $(replaced) == *"$old"* ]] || docker image rm "$old" >/dev/null 2>&1 || true
done

megabytes() { echo $(($(docker image inspect -f '{{.Size}}' "$1") / 1000000)); }
say "image: $(megabytes "$IMAGE") MB, of which the base has $(megabytes "$BASE_IMAGE") MB"
