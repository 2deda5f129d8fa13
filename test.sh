#!/usr/bin/env bash
# Passes all tests: installs missing services where apt may, then formatting, lints, tests.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
has() { command -v "$1" >/dev/null 2>&1 || compgen -G "$2" >/dev/null; }
has redis-server /nowhere || missing+=(redis-server)
has nginx /usr/sbin/nginx || missing+=(nginx-light)
has initdb '/usr/lib/postgresql/*/bin/initdb' || missing+=(postgresql)
has mariadbd /usr/sbin/mariadbd || missing+=(mariadb-server)

if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        echo "test.sh: the tests need ${missing[*]}: install them with your package manager" >&2
        exit 2
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo test --workspace --locked
