#!/usr/bin/env bash
# Installs what checks, builds and runs the template, pinned. Usage: .ci/sam-environment.sh VENV_DIR
#
# VENV_DIR gets a Python environment; it is made if it is missing or has other versions. With VENV_DIR/bin in PATH, `sam`
# finds cargo-lambda, and cargo-lambda finds Zig, with which it links for Lambda's C library and for arm64.
set -euo pipefail

die() {
  printf 'sam-environment: %s\n' "$1" >&2
  exit 1
}

[[ $# -eq 1 && -n $1 ]] || die "usage: $0 VENV_DIR"
# The environment is made from nothing, so a directory that is there but is no environment must not be taken for one.
[[ ! -e $1 || -f $1/pyvenv.cfg ]] || die "$1 exists and is not a Python environment"
mkdir -p "$1"
venv=$(cd "$1" && pwd)

exact=(aws-sam-cli==1.170.0 cargo-lambda==1.9.2 ziglang==0.17.1)
# From 1.54 on, cfn-lint reads a SAM template without expanding it, and lets through references to resources that do not
# exist and misspelt properties of functions and their events.
linter='cfn-lint[sam]>=1.52,<1.54'

is_right() {
  [[ -x $venv/bin/sam && -x $venv/bin/cfn-lint && -x $venv/bin/cargo-lambda ]] && "$venv/bin/python" - "${exact[@]}" <<'PYTHON'
import sys
from importlib.metadata import version

minor = tuple(int(part) for part in version("cfn-lint").split(".")[:2])
pins = dict(pin.split("==") for pin in sys.argv[1:])
sys.exit(not (all(version(name) == pin for name, pin in pins.items()) and (1, 52) <= minor < (1, 54)))
PYTHON
}

if ! is_right 2>/dev/null; then
  printf 'sam-environment: installing %s and %s into %s\n' "${exact[*]}" "$linter" "$venv"
  python3 -m venv --clear "$venv" || die "cannot make a Python environment in $venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${exact[@]}" "$linter" || die "cannot install them"
  is_right || die "what is installed is not what is pinned"
fi
