#!/usr/bin/env bash
# Builds the `sluice` command (qemu/) and hands it every word: ./run.sh --help says which.
# Only what building that command needs is looked for here; the command looks for the rest.
set -euo pipefail
# Whatever link it is called by, and wherever `cd` would look otherwise.
root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)

missing() { # WHAT COMMAND
    echo "sluice: missing: $1; install with: $2" >&2
    exit 3
}

# rustup's cargo before a distribution's, which may be too old.
cargo_bin=${CARGO_HOME:-${HOME:-}/.cargo}/bin
[ -x "$cargo_bin/cargo" ] && PATH=$cargo_bin:$PATH
install_rust="curl -sSf https://sh.rustup.rs | sh -s -- -y"
if ! command -v curl >/dev/null; then
    if command -v wget >/dev/null; then
        install_rust="wget -qO- https://sh.rustup.rs | sh -s -- -y"
    else
        install_rust="sudo apt-get update && sudo apt-get install -y curl && $install_rust"
    fi
fi
command -v cargo >/dev/null || missing "cargo (stable Rust 1.95 or newer)" "$install_rust"

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
        "rustup update stable, or $install_rust"
    echo "sluice: building the command (a minute or two the first time; it needs the network)" >&2
    quiet=
fi
# From the top of the checkout, where cargo finds its settings; the command runs where the caller is.
(cd "$root" && cargo build $quiet -p qemu --bin sluice) >&2 || exit 1
exec "$target/debug/sluice" "$@"
