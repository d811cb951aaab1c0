#!/usr/bin/env bash
# Invokes the built functions in containers, with every sample of events/, through `sam local`.
# Usage: .ci/sam-local.sh VENV_DIR LOCAL CLIENT_DIR
#
# VENV_DIR is for sam-environment.sh; the functions must have been built for this machine by sam-build.sh. LOCAL is the
# program `local`. CLIENT_DIR gets a Python environment with Segment's library. It uses the Docker engine that runs; if none
# does, it starts one for itself, which needs root and Debian's docker.io, and takes it away again. Where that cannot be, it
# fails if CI is set, and is skipped otherwise.
set -euo pipefail

die() {
  printf 'sam-local: %s\n' "$1" >&2
  exit 1
}

skip() {
  [[ -z ${CI:-} ]] || die "$1"
  printf 'sam-local: SKIPPED, nothing was checked: %s\n' "$1" >&2
  exit 0
}

[[ $# -eq 3 ]] || die "usage: $0 VENV_DIR LOCAL CLIENT_DIR"
"$(dirname "${BASH_SOURCE[0]}")/sam-environment.sh" "$1" || die "the tools are not installed"
sam=$(cd "$1" && pwd)/bin/sam
local=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
client=$3
image=holdfast-lambda
export SAM_CLI_TELEMETRY=0

case $(uname -m) in
  x86_64) template=.aws-sam/x86_64/template.yaml ;;
  aarch64) template=.aws-sam/arm64/template.yaml ;;
  *) skip "Lambda has no $(uname -m)" ;;
esac
[[ -f $template ]] || die "$template is not there: sam-build.sh makes it"

scratch=$(mktemp -d)
engine=
had_bridge=no
if [[ -e /sys/class/net/docker0 ]]; then had_bridge=yes; fi

leave() {
  if [[ -n $engine ]]; then
    kill -TERM "$engine" 2>/dev/null || true
    for _ in {1..200}; do
      kill -0 "$engine" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$engine" 2>/dev/null || true
    if [[ $had_bridge == no ]]; then ip link delete docker0 2>/dev/null || true; fi
  else
    # SAM names what it makes of an image after it.
    docker images --format '{{.Repository}}:{{.Tag}}' | grep -E "^$image(-repo)?:" | xargs --no-run-if-empty \
      docker rmi --force >/dev/null 2>&1 || true
  fi
  rm -rf "$scratch"
}

# An engine of our own: on a socket and in a folder of its own, and without any change to the machine's routes and
# filters, since the functions talk to this machine only.
start_engine() {
  [[ $(id -u) -eq 0 ]] || skip "no Docker engine runs, and only root can start one"
  command -v dockerd >/dev/null || skip "no Docker engine runs, and dockerd is not installed"
  export DOCKER_HOST=unix://$scratch/docker.sock
  dockerd --host "$DOCKER_HOST" --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
    --iptables=false --ip-masq=false --ip-forward=false >"$scratch/log" 2>&1 &
  engine=$!
  for _ in {1..300}; do
    if docker info >/dev/null 2>&1; then return; fi
    if ! kill -0 "$engine" 2>/dev/null; then
      engine=
      skip "the Docker engine does not start here: $(tail -n 1 "$scratch/log")"
    fi
    sleep 0.1
  done
  skip "the Docker engine is not ready within 30 s"
}

trap leave EXIT
# As an exit, so that everything is ended.
trap 'exit 1' INT TERM
if ! docker info >/dev/null 2>&1; then start_engine; fi
.ci/lambda-image.sh "$image"

if [[ ! -x $client/bin/python ]]; then python3 -m venv --clear "$client"; fi
"$client/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt

python3 tests/sam/run.py --sam "$sam" --template "$template" --local "$local" --image "$image" \
  --client "$client/bin/python"
