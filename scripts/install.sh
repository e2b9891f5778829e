#!/bin/sh
# Fills a virtual environment from a pinned list: install.sh FOLDER [uv pip install arguments...]
# uv does not read pip's settings; a machine that has an index or certificates of its own has told pip.
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

adopt() { # adopt UV_VARIABLE PIP_SETTING: what uv was told itself goes first
    eval "told=\${$1:-}"
    [ -n "$told" ] || told=$(pip_setting "$2")
    [ -z "$told" ] || export "$1=$told"
}

adopt UV_DEFAULT_INDEX index-url
adopt UV_INDEX extra-index-url
adopt UV_FIND_LINKS find-links
adopt SSL_CERT_FILE cert

[ -x "$venv/bin/python" ] || "$bin/uv" venv --quiet --python "$bin/python" "$venv"
exec "$bin/uv" pip install --quiet --python "$venv/bin/python" "$@"
