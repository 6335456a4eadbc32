#!/usr/bin/env bash
# Runs a command under the thread sanitizer's settings; any report ends the process that made it with exit code 66.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export TSAN_OPTIONS="suppressions=$here/tsan.supp exitcode=66 history_size=4 ${TSAN_OPTIONS:-}"
exec "$@"
