#!/usr/bin/env python3
"""Compares the state machine with the oracle over many seeds; a difference prints the seed that replays it.

run_sim.py --binary sim_state [--first N] [--seeds N]
Replay: run_sim.py --binary sim_state --first SEED --seeds 1
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import sim_server  # noqa: E402

COMPARED_SUMS = ("events_", "units_", "logins_", "accounts_", "users_")


def kept(row: dict) -> dict:
    return {k: v for k, v in row.items() if k.startswith(COMPARED_SUMS)}


def zero(row: dict) -> bool:
    return all(v == "0" for v in kept(row).values())


def differences(got: dict, want: dict) -> list[str]:
    found = []
    for part in ("clock", "verdicts", "accounts", "features_hash"):
        if part == "features_hash":
            want_part = {k: {f: str(d) for f, d in v.items()} for k, v in want[part].items()}
        else:
            want_part = want[part]
        if got[part] != want_part:
            if isinstance(want_part, dict):
                for key in sorted(set(want_part) | set(got[part])):
                    a, b = want_part.get(key, {}), got[part].get(key, {})
                    for field in sorted(set(a) | set(b)):
                        if a.get(field) != b.get(field):
                            found.append(f"{part} {key} {field}: oracle {a.get(field)}, state {b.get(field)}")
            else:
                found.append(f"{part}: oracle {want_part}, state {got[part]}")
    names = {k for k, v in want["features"].items() if not zero(v)} | {k for k, v in got["features"].items() if not zero(v)}
    for name in sorted(names):
        a, b = kept(want["features"].get(name, {})), kept(got["features"].get(name, {}))
        if a != b:
            found.append(f"feature {name}: oracle {a}, state {b}")
    a, b = kept(want["totals"]), kept(got["totals"])
    if got["totals"] and a != b:
        found.append("totals: " + str({k: (a.get(k), b.get(k)) for k in set(a) | set(b) if a.get(k) != b.get(k)}))
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2000)
    args = parser.parse_args()
    run = subprocess.Popen([args.binary, str(args.first), str(args.seeds)], stdout=subprocess.PIPE)
    verdicts: dict[str, int] = {}
    for seed in range(args.first, args.first + args.seeds):
        request, answer = run.stdout.readline(), run.stdout.readline()
        if not answer:
            print(f"seed {seed}: the simulation ended early")
            return 1
        got, want = json.loads(answer), sim_server.answer(json.loads(request))
        for record in want["verdicts"]:
            for verdict in record:
                verdicts[verdict] = verdicts.get(verdict, 0) + 1
        found = differences(got, want)
        if found:
            print(f"seed {seed}: {len(found)} differences; replay with --first {seed} --seeds 1")
            print("\n".join(found[:20]))
            run.kill()
            return 1
    print(f"{args.seeds} seeds, no difference; verdicts {verdicts}")
    return run.wait()


if __name__ == "__main__":
    sys.exit(main())
