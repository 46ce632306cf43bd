#!/usr/bin/env bash
# Builds the `sluice` command (qemu/) and hands it every word: ./run.sh --help says which.
# Only what building that command needs is looked for here; the command looks for the rest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

missing() { # WHAT COMMAND
    echo "sluice: missing: $1; install with: $2" >&2
    exit 3
}

[ -x "${HOME:-}/.cargo/bin/cargo" ] && PATH=$PATH:$HOME/.cargo/bin
command -v cargo >/dev/null || missing "cargo (stable Rust 1.95 or newer)" \
    "curl -sSf https://sh.rustup.rs | sh -s -- -y"

if ! command -v cc >/dev/null; then
    apt="apt-get install -y --no-install-recommends gcc libc6-dev"
    case $(id -u) in 0) do= ;; *) do="sudo -n" ;; esac
    echo "sluice: installing gcc, libc6-dev (apt-get)" >&2
    { $do $apt || { $do apt-get update && $do $apt; }; } >&2 ||
        missing cc "sudo apt-get update && sudo $apt"
fi

target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR=$target
quiet=--quiet
if [ ! -x "$target/debug/sluice" ]; then
    cargo=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
    [ "${cargo:-0}" -ge 95 ] || missing "cargo 1.95 or newer (here: $(cargo --version 2>&1))" \
        "rustup update stable, or curl -sSf https://sh.rustup.rs | sh -s -- -y"
    echo "sluice: building the command (about a minute the first time)" >&2
    quiet=
fi
# From the top of the checkout, where cargo finds its settings; the command runs where the caller is.
(cd "$root" && cargo build $quiet -p qemu --bin sluice) >&2 || exit 1
exec "$target/debug/sluice" "$@"
