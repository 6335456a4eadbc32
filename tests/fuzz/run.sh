#!/usr/bin/env bash
# Runs the fuzzers side by side from the seeds and the golden records, built with the preset fuzz:
#   run.sh FOLDER RUNS_DECODE RUNS_SCHEMA     FOLDER holds the programs; what they find goes to FOLDER/found
# The same runs each time; SEED=… for others, SEED=0 for ones of chance. Exits 1 if a fuzzer found something.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
programs=$(cd "$1" && pwd)
seed=${SEED:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The golden records behind the bytes that choose schema and limits, or behind their schema and a NUL.
mkdir -p "$work/decode" "$work/schema" "$work/new-decode" "$work/new-schema" "$programs/found"
number=0
for type in UsageEvent UsageBatch; do
    for record in schemas/golden/uptake.v1."$type".*.bin; do
        name=$(basename "$record" .bin)
        { printf "\\x0$number\\0" && cat "$record"; } >"$work/decode/$name"
        { cat "schemas/uptake.v1.$type.avsc" && printf '\0' && cat "$record"; } >"$work/schema/$name"
    done
    number=$((number + 1))
done

fuzz() { # name, runs, greatest length
    local log=$programs/found/$1.log
    if ! "$programs/fuzz_$1" -runs="$2" -max_len="$3" -seed="$seed" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$programs/found/$1-" "$work/new-$1" "tests/fuzz/corpus/$1" "$work/$1" >"$log" 2>&1; then
        grep -vE '^#[0-9]+' "$log" | tail -n 60
        echo "fuzz_$1 found something: $programs/found/$1-*"
        return 1
    fi
    awk -v name="$1" '/cov:/ { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        /^Done/ { print "fuzz_" name ": " $2 " runs in " $5 " s, " cov " edges, nothing found" }' "$log"
}

fuzz decode "$2" 4096 &
decode=$!
rc=0
fuzz schema "$3" 1024 || rc=1
wait "$decode" || rc=1
exit "$rc"
