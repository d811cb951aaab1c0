#!/usr/bin/env bash
# Builds the functions as they are deployed, and checks that they can run on Lambda.
# Usage: .ci/sam-build.sh VENV_DIR ARCHITECTURE...
#
# VENV_DIR is for sam-environment.sh. An architecture is `arm64`, which the template says, or `x86_64`, for machines that
# are to run the functions themselves. What is built lies in .aws-sam/ARCHITECTURE.
set -euo pipefail

# The C library of Amazon Linux 2023, on which provided.al2023 is based.
glibc_max=2.34
# What its base image has; anything else would be missing where the function runs.
libraries='ld-linux-aarch64.so.1 ld-linux-x86-64.so.2 libc.so.6 libdl.so.2 libgcc_s.so.1 libm.so.6 libpthread.so.0 librt.so.1'

die() {
  printf 'sam-build: %s\n' "$1" >&2
  exit 1
}

[[ $# -ge 2 && -n $1 ]] || die "usage: $0 VENV_DIR ARCHITECTURE..."
"$(dirname "${BASH_SOURCE[0]}")/sam-environment.sh" "$1" || die "the tools are not installed"
venv=$(cd "$1" && pwd)
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$venv/bin:$PATH SAM_CLI_TELEMETRY=0

# The template for an architecture, which is the only line in which it differs.
template_for() {
  local file=.aws-sam/template-$1.yaml
  mkdir -p .aws-sam
  sed "s/^    Architectures: \[arm64\]$/    Architectures: [$1]/" template.yaml >"$file"
  grep -q "^    Architectures: \[$1\]$" "$file" || die "template.yaml does not say 'Architectures: [arm64]'"
  printf '%s\n' "$file"
}

# Checks one executable. Usage: check FILE ARCHITECTURE
check() {
  local file=$1 machine header newest library zipped
  case $2 in
    arm64) machine=AArch64 ;;
    *) machine='Advanced Micro Devices X86-64' ;;
  esac
  header=$(readelf --file-header --wide "$file") || die "$file is no executable"
  [[ $header =~ Machine:\ +"$machine" ]] || die "$file is for another machine than $2"
  if readelf --sections --wide "$file" | grep -qE ' \.(symtab|debug_info) '; then die "$file is not stripped"; fi
  newest=$(readelf --dyn-syms --wide "$file" | grep -oE 'GLIBC_[0-9.]+' | sort --version-sort --unique | tail -n 1)
  newest=${newest#GLIBC_}
  [[ $(printf '%s\n' "$newest" "$glibc_max" | sort --version-sort | tail -n 1) == "$glibc_max" ]] ||
    die "$file needs glibc $newest, and Amazon Linux 2023 has $glibc_max"
  for library in $(readelf --dynamic --wide "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    [[ " $libraries " == *" $library "* ]] || die "$file needs $library, which Amazon Linux 2023 may not have"
  done
  zipped=$("$venv/bin/python" - "$file" <<'PYTHON'
import io, sys, zipfile

packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write(sys.argv[1], "bootstrap")
print(len(packed.getvalue()))
PYTHON
  )
  printf '%s: %s bytes, %s zipped, needs glibc %s\n' "$file" "$(stat --format %s "$file")" "$zipped" "$newest"
}

for architecture in "$@"; do
  case $architecture in
    x86_64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    *) die "Lambda has no architecture '$architecture'" ;;
  esac
  # Where rustup does not manage the toolchain, the target must be there already.
  if command -v rustup >/dev/null; then rustup --quiet target add "$target" || die "cannot install $target"; fi
  begun=$SECONDS
  # SAM's own cache compares a function's folder alone, and would not see a change in `shared`. Cargo sees every change.
  sam build --no-cached --template-file "$(template_for "$architecture")" --base-dir . \
    --build-dir ".aws-sam/$architecture" || die "cannot build for $architecture"
  printf 'sam-build: built for %s in %d s\n' "$architecture" $((SECONDS - begun))
  for function in IngestFunction ConsumeFunction ReceiptsFunction; do
    check ".aws-sam/$architecture/$function/bootstrap" "$architecture"
  done
done
