#!/bin/sh
# Makes the virtual environment with the locked dependencies. On Debian as root it installs python3-venv if needed.
set -eu
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Planwatch needs Python 3.11 or newer as $PYTHON (set PYTHON=… to name another)." >&2
    exit 1
fi
if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv
    else
        echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2
        exit 1
    fi
fi
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
