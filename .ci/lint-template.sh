#!/usr/bin/env bash
# Checks template.yaml as SAM and CloudFormation will read it. Usage: .ci/lint-template.sh VENV_DIR
#
# VENV_DIR is for sam-environment.sh, which says what the linters are, and for checkov beside them. What no linter
# knows, as how the template and the code fit, is checked by `cargo run -p tests --bin lint-template`.
set -euo pipefail

die() {
  printf 'lint-template: %s\n' "$1" >&2
  exit 1
}

[[ $# -eq 1 && -n $1 ]] || die "usage: $0 VENV_DIR"
"$(dirname "${BASH_SOURCE[0]}")/sam-environment.sh" "$1" || die "the linters are not installed"
venv=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# checkov has an environment of its own: it wants other versions of what SAM's command line needs.
checkov_version=3.3.30

# The linters need no network and no account; SAM asks for a region where it expands the template.
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1

has_checkov() {
  [[ -x $venv/checkov/bin/checkov ]] && [[ $("$venv/checkov/bin/checkov" --version) == "$checkov_version" ]]
}

if ! has_checkov 2>/dev/null; then
  printf 'lint-template: installing checkov into %s\n' "$venv/checkov"
  python3 -m venv --clear "$venv/checkov" || die "cannot make a Python environment in $venv/checkov"
  "$venv/checkov/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov_version" ||
    die "cannot install checkov"
  has_checkov || die "the installed checkov is not the pinned one"
fi

lint() {
  "$venv/bin/cfn-lint" --include-checks I -- "$1"
}

# Its exceptions stand in the template, each at its resource and with its reason.
scan() {
  "$venv/checkov/bin/checkov" --file "$1" --framework cloudformation --compact --quiet --skip-download
}

# Checks that a linter finds what is wrong with a copy, and names it. Usage: finds LINTER WHAT PATTERN SED_SCRIPT
finds() {
  local broken=$scratch/broken.yaml output
  sed "$4" template.yaml >"$broken"
  ! cmp --silent template.yaml "$broken" || die "$2: the script for it changes nothing"
  if output=$("$1" "$broken" 2>&1); then die "$2 is not found by $1"; fi
  grep --quiet -- "$3" <<<"$output" || die "$2 is not what $1 found: $output"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
"$venv/bin/sam" validate --lint --template-file template.yaml || failed=1
lint template.yaml || failed=1
scan template.yaml || failed=1
[[ $failed -eq 0 ]] || die "template.yaml has findings"

# A linter that has gone blind, as cfn-lint did to SAM templates with 1.54, would pass everything.
finds lint 'a dangling reference' EventQueue 's/EVENTS_QUEUE_URL: !Ref EventsQueue/EVENTS_QUEUE_URL: !Ref EventQueue/'
finds lint 'a misspelt property of a function' MemorySise 's/MemorySize: 512/MemorySise: 512/'
finds lint 'a misspelt property of an event' BatchSise 's/BatchSize: 1$/BatchSise: 1/'
finds lint 'a misspelt property of an alarm' TreatMissingDate 's/TreatMissingData:/TreatMissingDate:/'
finds scan 'a table without backups' CKV_AWS_28 's/PointInTimeRecoveryEnabled: true/PointInTimeRecoveryEnabled: false/'
printf 'lint-template: template.yaml is clean\n'
