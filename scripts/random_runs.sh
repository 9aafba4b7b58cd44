#!/usr/bin/env bash
# The tests in random orders, one run after the other; ends with the first that fails. Each run's seed is printed.
#   RUNS=20  how many;  TESTS="tests/planning tests/stores"  which ones: all by default;  WORKERS=auto  as pytest -n takes it
#   SEED=n   one run in the order of this seed
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-20}
[ -z "${SEED:-}" ] || runs=1
read -ra tests <<< "${TESTS:-}"
for run in $(seq "$runs"); do
  seed=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  echo "run $run of $runs, SEED=$seed"
  scripts/in_memory.sh .venv/bin/pytest -q -n "${WORKERS:-auto}" "--randomly-seed=$seed" "${tests[@]}"
done
