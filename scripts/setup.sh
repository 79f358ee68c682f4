#!/usr/bin/env bash
# Installs what a Debian or Ubuntu machine with Rust lacks to build and test rmr: a C compiler and libclang, with which
# redis-module is built, a Redis server, and cloudpickle for the Python that runs functions. Does nothing where all of it
# is there. Called by every make target; with the argument test by those that test: then also Python with a Redis client,
# for the tests with real programs, Prometheus with its exporter for Redis, faketime, and what checks the Python of this tree; with the argument bench by the one that
# measures: then also valgrind, which counts what no clock can tell; with the argument pictures also Graphviz.
#
# RMR_PYTHON=/path/to/python3 chooses another interpreter for functions than the system's.
set -eu

cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# bindgen wants libclang and the headers of clang; packages with both are called libclang-dev or libclang-14-dev.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    if has dpkg-query; then
        dpkg-query -W -f '${db:Status-Status}\n' 'libclang*-dev' 2>/dev/null | grep -qx installed
    else
        has clang || has llvm-config
    fi
}

# The package starts a server on the usual port. This keeps it from doing so, unless the machine has a policy already.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    local status=0
    "$@" || status=$?
    as_root rm -f "$policy"
    return "$status"
}

install_packages() {
    if ! has apt-get; then
        echo "setup: please install these, or what your system calls them: $*" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ] && ! has sudo; then
        echo "setup: please install as root: apt-get install $*" >&2
        exit 1
    fi
    echo "setup: installing $*"
    as_root apt-get update -qq
    without_services as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# Functions run in this interpreter, as rmr.python tells the servers of tests, demo and benchmarks. That of the system is
# the one that every user may read: a server of root gives its workers to another user.
python=${RMR_PYTHON:-/usr/bin/python3}

# can module ...: whether that interpreter has these.
can() {
    has "$python" && "$python" -I -c "import $(IFS=,; echo "$*")" 2>/dev/null
}

# Debian's packages serve the interpreter of the system only; another one has pip of its own.
is_of_the_system() {
    [ "$python" = /usr/bin/python3 ]
}

if ! has cargo; then
    echo "setup: there is no cargo; install Rust first (rust-version in Cargo.toml says which)" >&2
    exit 1
fi

packages=()
has cc || packages+=(gcc libc6-dev)
has_libclang || packages+=(libclang-dev)
has "${REDIS_SERVER:-redis-server}" || packages+=(redis-server)
has redis-cli || packages+=(redis-tools)
if is_of_the_system; then
    can cloudpickle || packages+=(python3 python3-cloudpickle)
fi
if [ "${1:-}" = test ]; then
    # The server installs what functions require by pip.
    if is_of_the_system && ! can pip; then packages+=(python3-pip); fi
    has python3 || packages+=(python3)
    # It reads what rmr-proxy and the module count, with the dashboard and the alerts of deploy/.
    has prometheus || packages+=(prometheus)
    has prometheus-redis-exporter || packages+=(prometheus-redis-exporter)
    # It has a proxy take the time for another one.
    has faketime || packages+=(faketime)
    # Debian has the one without the other.
    python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
fi
if [ "${1:-}" = bench ]; then
    has valgrind || packages+=(valgrind)
    # What rmr-proxy is compared with.
    has nutcracker || packages+=(nutcracker)
fi
if [ "${1:-}" = pictures ]; then
    has dot || packages+=(graphviz fonts-dejavu-core)
fi
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"
if ! can cloudpickle; then
    echo "setup: installing cloudpickle for $python"
    "$python" -m pip install --quiet 'cloudpickle>=2' || {
        echo "setup: $python has no cloudpickle 2.0 or newer, which functions in Python need" >&2
        exit 1
    }
fi

# A minimal toolchain comes without these two.
if has rustup; then
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
fi

if [ "${1:-}" = test ]; then
    # The same as tests/common/python.rs asks for.
    scripts/python.sh "${CARGO_TARGET_DIR:-target}/python"
    scripts/python.sh "${CARGO_TARGET_DIR:-target}/python-rb" rb==1.10.0 redis==4.6.0
    PYTHON=$python scripts/python.sh "${CARGO_TARGET_DIR:-target}/python-redgrease" 'redgrease[client]==0.3.30'
    # The same as the Makefile runs.
    scripts/python.sh "${CARGO_TARGET_DIR:-target}/python-lint" mypy==2.4.1 ruff==0.17.6 cloudpickle==2.2.0
fi
