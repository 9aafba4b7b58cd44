#!/usr/bin/env bash
# sam-env.sh: have SAM CLI and cfn-lint in an environment of their own (they bring older boto3 and click).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -x $SAM_ENV/bin/sam && -x $SAM_ENV/bin/cfn-lint ]] && exit
say "installing aws-sam-cli and cfn-lint into ${SAM_ENV#"$ROOT"/}"
[[ -x $SAM_ENV/bin/python ]] || python3 -m venv "$SAM_ENV"
installer=("$SAM_ENV/bin/python" -m pip install --quiet --disable-pip-version-check)
if [[ -x $ROOT/.venv/bin/uv ]]; then
    installer=("$ROOT/.venv/bin/uv" pip install --quiet --python "$SAM_ENV/bin/python")
fi
"${installer[@]}" 'aws-sam-cli==1.170.0' 'cfn-lint==1.58.0' \
    || unavailable "SAM CLI: aws-sam-cli cannot be installed from PyPI"
