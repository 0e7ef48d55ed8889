#!/usr/bin/env bash
# Make a virtual environment with pip: scripts/venv.sh FOLDER PYTHON. Works with pythons that lack ensurepip, too.
set -euo pipefail
folder=$1 python=$2

fail() {
    echo "error: $1" >&2
    exit 2
}

command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11 or later (or name one: make PYTHON=…)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$("$python" --version) is too old: 3.11 is needed"
if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$folder"
elif "$python" -m virtualenv --version >/dev/null 2>&1; then
    "$python" -m virtualenv --quiet "$folder"
elif "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip "$folder"
    "$python" -m pip --quiet --python "$folder/bin/python" install pip
else
    fail "$python has neither ensurepip nor pip: install python3-venv"
fi
