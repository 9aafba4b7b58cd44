#!/usr/bin/env bash
# lint.sh: what can be said of the templates without an account: cfn-lint, `sam validate --lint`, checkov's rules.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/e2e/sam-env.sh"
export AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-eu-central-1}
"$SAM_ENV/bin/cfn-lint" --template "$ROOT/template.yaml" "$ROOT/bulk.yaml"
"$SAM_ENV/bin/sam" validate --lint --template-file "$ROOT/template.yaml" >"$WORK/validate.log" 2>&1 \
    || { cat "$WORK/validate.log" >&2; exit 1; }
"$ROOT/scripts/checkov.sh" >"$WORK/checkov.log" || { cat "$WORK/checkov.log" >&2; exit 1; }
say "template.yaml, bulk.yaml: cfn-lint, sam validate --lint and checkov have nothing to say"
echo "template lint" >>"$WORK/ran"
