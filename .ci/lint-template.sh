#!/usr/bin/env bash
# Checks template.yaml as SAM and CloudFormation will read it. Usage: .ci/lint-template.sh VENV_DIR
#
# VENV_DIR holds the linters' own Python environment; it is made if it is missing or has other versions.
set -euo pipefail

die() {
  printf 'lint-template: %s\n' "$1" >&2
  exit 1
}

[[ $# -eq 1 && -n $1 ]] || die "usage: $0 VENV_DIR"
# The environment is made from nothing, so a directory that is there but is no environment must not be taken for one.
[[ ! -e $1 || -f $1/pyvenv.cfg ]] || die "$1 exists and is not a Python environment"
mkdir -p "$1"
venv=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# From 1.54 on, cfn-lint reads a SAM template without expanding it, and lets through references to resources that do not
# exist and misspelt properties of functions and their events.
sam_version=1.170.0
requirements=("aws-sam-cli==$sam_version" "cfn-lint[sam]>=1.52,<1.54")

# The linters need no network and no account; SAM asks for a region where it expands the template.
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1

is_right() {
  [[ -x $venv/bin/sam && -x $venv/bin/cfn-lint ]] && "$venv/bin/python" - "$sam_version" <<'PYTHON'
import sys
from importlib.metadata import version

minor = tuple(int(part) for part in version("cfn-lint").split(".")[:2])
sys.exit(not (version("aws-sam-cli") == sys.argv[1] and (1, 52) <= minor < (1, 54)))
PYTHON
}

if ! is_right 2>/dev/null; then
  printf 'lint-template: installing the linters into %s\n' "$venv"
  python3 -m venv --clear "$venv" || die "cannot make a Python environment in $venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]}" || die "cannot install the linters"
  is_right || die "the installed linters are not the pinned ones"
fi

failed=0
"$venv/bin/sam" validate --lint --template-file template.yaml || failed=1
"$venv/bin/cfn-lint" --include-checks I -- template.yaml || failed=1
[[ $failed -eq 0 ]] || die "template.yaml has findings"
printf 'lint-template: template.yaml is clean\n'
