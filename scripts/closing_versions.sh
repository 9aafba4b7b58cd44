#!/usr/bin/env bash
# Run the closing suite and the readers on several releases of chromadb, each in an environment of its own below .work/;
# and between each of them and the one in .venv: exports there and back, readers of what the other wrote.
#
#   scripts/closing_versions.sh                    all rounds, on the oldest, a middle and the newest release
#   ROUNDS=few scripts/closing_versions.sh 1.4.1   as many rounds as `make test` does, on the release named
#   ROUNDS=none scripts/closing_versions.sh        make the environments only, as `make bench` needs them
#
# 1.3.3 is the oldest that is supported; 1.5.1 the last without Client.close().
set -euo pipefail
cd "$(dirname "$0")/.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(1.3.3 1.5.1 newest)
uv=.venv/bin/uv
mkdir -p .work
# Everything else is what constraints.txt says; only chromadb differs.
grep -v '^chromadb==' constraints.txt > .work/closing-constraints.txt

failed=()
for version in "${versions[@]}"; do
    environment=.work/closing-$version
    wanted=chromadb==$version
    [ "$version" != newest ] || wanted='chromadb<2'
    [ -x "$environment/bin/python" ] || "$uv" venv --quiet --python .venv/bin/python "$environment"
    "$uv" pip install --quiet --python "$environment/bin/python" --constraint .work/closing-constraints.txt \
        --editable '.[dev]' "$wanted"
    "$environment/bin/python" -c 'from importlib.metadata import version; print("chromadb", version("chromadb"))'
    [ "${ROUNDS:-full}" != none ] || continue
    CHROMA_LIFECYCLE_ROUNDS=${ROUNDS:-full} scripts/in_memory.sh "$environment/bin/python" -m pytest -q -n auto tests/closing ||
        failed+=("$version")
    readers=(tests/reader tests/versions)
    if [ "${ROUNDS:-full}" = few ]; then
        readers=(tests/reader/test_01_serving.py)
        [ "$version" != 1.3.3 ] || readers+=(tests/versions)
    fi
    OTHER_CHROMA_PYTHON=$PWD/.venv/bin/python scripts/in_memory.sh "$environment/bin/python" -m pytest -q -n auto \
        -m 'versions or not (e2e or soak or browser or recipes)' "${readers[@]}" ||
        failed+=("$version")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed on: ${failed[*]}"
    exit 1
fi
