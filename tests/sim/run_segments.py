#!/usr/bin/env python3
"""Compares segments with the oracle over many seeds; a difference prints the seed that replays it.

run_segments.py --binary sim_segments [--first N] [--seeds N]
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import segments  # noqa: E402
from oracle import DAY, MINUTE, Config, Event, millionths  # noqa: E402


def told(log: dict) -> list[tuple]:
    partition = segments.Partition(log["segments"], Config(retention=60 * DAY))
    for op in log["ops"]:
        if op["op"] == "t":
            if partition.clock is not None:
                partition.run_to(op["ts"])
            continue
        partition.run_to(op["ts"])
        if op["op"] == "f":
            partition.forget(op["key"], partition.clock)
            continue
        late = op["at"] // DAY <= partition.clock // DAY - 30
        if late or op["at"] > op["ts"] + 5 * MINUTE:
            continue
        properties = {op["name"]: op["value"]} if op["kind"] == "PROFILE" else None
        event = Event(0, partition.clock, min(op["at"], partition.clock), op["kind"], op["user"] or None,
                      op["feature"] or None, millionths(op["quantity"]), properties)
        partition.event(op["key"], event, op["minute"])
    return partition.told


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=600)
    args = parser.parse_args()
    run = subprocess.Popen([args.binary, str(args.first), str(args.seeds)], stdout=subprocess.PIPE)
    seen: Counter = Counter()
    for seed in range(args.first, args.first + args.seeds):
        line = run.stdout.readline()
        if not line:
            print(f"seed {seed}: the simulation ended early")
            return 1
        log = json.loads(line)
        want = sorted(told(log), key=lambda t: (t[3], t[0], t[2]))
        got = sorted((tuple(t) for t in log["told"]), key=lambda t: (t[3], t[0], t[2]))
        seen.update(rule for _, rule, _, _ in got)
        if got != want:
            first = next(pair for pair in zip(got + [None], want + [None]) if pair[0] != pair[1])
            print(f"seed {seed}: the first difference: told {first[0]}, oracle {first[1]}; replay with --first {seed} --seeds 1")
            print(json.dumps(log["segments"]))
            run.kill()
            return 1
    print(f"{args.seeds} seeds, no difference; {dict(seen)}")
    return run.wait()


if __name__ == "__main__":
    sys.exit(main())
