#!/usr/bin/env bash
# checkov.sh: checkov's rules for the templates. Exceptions stand in them, with their reasons.
#
# It has an environment of its own, because it pins older boto3. What it would fetch from its makers is not asked for.
set -euo pipefail
cd "$(dirname "$0")/.."
made=.work/checkov/.venv
if [[ ! -x $made/bin/checkov ]]; then
    mkdir -p "${made%/*}"
    [[ -x $made/bin/python ]] || python3 -m venv "$made"
    .venv/bin/uv pip install --quiet --python "$made/bin/python" 'checkov==3.3.30'
fi
"$made/bin/checkov" --file template.yaml bulk.yaml --framework cloudformation --compact --quiet --skip-download 2>"${made%/*}/log" \
    || { code=$?; cat "${made%/*}/log" >&2; exit "$code"; }
