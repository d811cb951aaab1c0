#!/usr/bin/env bash
# Makes a stand-in for AWS's image of the runtime provided.al2023, for machines that cannot reach AWS's registry.
# Usage: .ci/lambda-image.sh NAME. It needs Debian's busybox-static and a Docker engine, and takes a second.
#
# `sam local` adds the emulator of Lambda's interface by itself. For that it needs `sh`, `mv` and `chmod`, and a function of
# ours needs the C library and certificates. They are this machine's own, newer than those of Amazon Linux 2023: whether a
# function runs there is checked by sam-build.sh.
set -euo pipefail

[[ $# -eq 1 && -n $1 ]] || { printf 'usage: %s NAME\n' "$0" >&2; exit 1; }

case $(uname -m) in
  x86_64) triplet=x86_64-linux-gnu loader=/lib64/ld-linux-x86-64.so.2 ;;
  aarch64) triplet=aarch64-linux-gnu loader=/lib/ld-linux-aarch64.so.1 ;;
  *) printf 'lambda-image: Lambda has no %s\n' "$(uname -m)" >&2; exit 1 ;;
esac

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc/ssl/certs,lib/"$triplet",opt,proc,sys,tmp,var/rapid,var/runtime,var/task} "$root$(dirname "$loader")"
chmod 1777 "$root/tmp"
cp /bin/busybox "$root/bin/"
for command in sh mv chmod ls cat env; do
  ln -s busybox "$root/bin/$command"
done
for library in c m dl pthread rt resolv gcc_s nss_dns nss_files; do
  cp --dereference "/lib/$triplet/lib$library".so.[0-9] "$root/lib/$triplet/"
done
cp --dereference "$loader" "$root$loader"
cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0:root:/:/bin/sh\n' >"$root/etc/passwd"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
tar -C "$root" -c . | docker import \
  --change 'ENV PATH=/bin LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=en_US.UTF-8 TZ=UTC' \
  --change 'WORKDIR /var/task' \
  - "$1" >/dev/null
