#!/bin/sh
# Checks the system for what `make` needs; installs what is missing only for root, through apt.
set -eu
python=$1

install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -qy --no-install-recommends "$@"
    else
        echo "missing on this system: $*" >&2
        exit 1
    fi
}

command -v cc >/dev/null || install gcc libc6-dev
command -v "$python" >/dev/null || install python3
"$python" -c 'import ensurepip, venv' 2>/dev/null || install python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "Python 3.10 or newer is needed; name one with PYTHON=..." >&2
    exit 1
}
command -v cargo >/dev/null || {
    echo "a Rust toolchain is needed (cargo 1.89 or newer)" >&2
    exit 1
}
