#!/usr/bin/env bash
# Runs the tests' Python with tests/ on its path: python.sh -m support.selftest
set -euo pipefail
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${UPTAKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/uptake}/venv/bin/python
if [ ! -x "$python" ]; then
    echo "python.sh: no $python; run $tests/support/install.sh" >&2
    exit 69
fi
export PYTHONPATH="$tests${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
exec "$python" "$@"
