#!/bin/sh
# Install packages into a virtual environment: install.sh FOLDER [uv pip install arguments...]
# uv does not read pip's settings, where a machine may name its own package index and certificates.
set -eu

bin=$(dirname "$0")/../.venv/bin
venv=$1
shift

pip_setting() {
    for scope in :env: global install site user; do
        "$bin/pip" config get "$scope.$1" 2>/dev/null && return
    done
    true
}

adopt() { # adopt UV_VARIABLE PIP_SETTING: export the setting, unless the variable is set
    eval "value=\${$1:-}"
    [ -n "$value" ] || value=$(pip_setting "$2")
    [ -z "$value" ] || export "$1=$value"
}

adopt UV_DEFAULT_INDEX index-url
adopt UV_INDEX extra-index-url
adopt UV_FIND_LINKS find-links
adopt SSL_CERT_FILE cert

[ -x "$venv/bin/python" ] || "$bin/uv" venv --quiet --python "$bin/python" "$venv"
exec "$bin/uv" pip install --quiet --python "$venv/bin/python" "$@"
