#!/usr/bin/env bash
# Run the recipes with LangChain, LlamaIndex and FastAPI, in an environment of their own below .work/:
# what they bring (some forty packages) is none of this library's.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.work/recipes
[ -x "$environment/bin/python" ] || .venv/bin/uv venv --quiet --python .venv/bin/python "$environment"
.venv/bin/uv pip install --quiet --python "$environment/bin/python" --constraint constraints.txt \
    --editable '.[dev]' --requirement examples/recipes/requirements.txt
"$environment/bin/python" -m pytest -q -n 0 -m recipes tests/recipes
