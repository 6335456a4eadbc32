#!/usr/bin/env python3
"""Compares the signals of rows with the oracle over many seeds; a difference prints the seed that replays it.

run_signals.py --binary sim_signals [--first N] [--seeds N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import oracle  # noqa: E402
import signals  # noqa: E402


# Of 61 to 90 days there is no table, and none of breadth of 31 to 60.
RENEWED = """
[renewed]
30 0 0.2 0
30 0.3 1.5 0.02
30 0.6 4 0.6
30 1 20 3
60 0 0.5
60 0.5 3
60 1 9
180 0 0.1 0.5
180 0.9 2 0.5
180 1 12 2
"""


def event_of(op: dict, clock: int) -> signals.Event:
    properties = {op["name"]: op["value"]} if op["name"] else {}
    time = min(op["at"], clock)
    return signals.Event(time, op["kind"], op["user"] or None, op["feature"] or None, oracle.millionths(op["quantity"]),
                         properties, op["quantity"], op.get("duration"), time // oracle.DAY)


def looks(log: dict, config: oracle.Config, model: signals.Model) -> list[tuple]:
    """What the oracle sees at the same places: operation, account, signals."""
    partition, found = signals.Partition(config, model), []
    places: dict[int, list[str]] = {}
    for at, _, _ in log["looks"]:
        places[at] = []
    for at, op in enumerate(log["ops"]):
        if op["op"] != "t" or partition.clock is not None:
            partition.run_to(op["ts"])
        if op["op"] == "f":
            partition.accounts.pop(op["key"], None)
        elif op["op"] == "e":
            event = {"kind": op["kind"], "feature": op["feature"] or None, "quantity": op["quantity"], "occurred_at": op["at"]}
            if oracle.judge(event, op["ts"], partition.clock, config) is None:
                partition.event(op["key"], op["minute"], event_of(op, partition.clock))
        if at in places:
            found += [(at, name, partition.signals(name)) for name in sorted(partition.accounts)]
    return found


# Millionths that a value may be off. The sums of answers and the mean time to close are kept in single precision, with the
# factors of decay rounded; breadth, of which the percentile is taken, is rounded where half a millionth is usual.
TOLERANCE = {"nps": 500, "csat": 10, "time_to_close": 10, "adoption_percentile": 3}


def difference(got: list[tuple], want: list[tuple]) -> str | None:
    """The first one, in words."""
    if [g[:2] for g in got] != [w[:2] for w in want]:
        return f"accounts {[g[:2] for g in got]}, oracle {[w[:2] for w in want]}"
    for (at, name, row), (_, _, expected) in zip(got, want):
        for signal in sorted(row.keys() | expected.keys()):
            shown, wanted = row.get(signal), expected.get(signal)
            if shown == wanted or None not in (shown, wanted) and abs(shown - wanted) <= TOLERANCE.get(signal, 0):
                continue
            return f"{name} after operation {at}: {signal} is {shown}, oracle {wanted} (millionths)"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=100)
    args = parser.parse_args()
    config = oracle.Config(retention=100 * oracle.DAY)
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "renewed.model"
    path.write_text(signals.SHIPPED.read_text().replace("\n[risk]\n", RENEWED + "\n[risk]\n"))
    model = signals.Model(path)
    run = subprocess.Popen([args.binary, str(args.first), str(args.seeds), str(path)], stdout=subprocess.PIPE)
    seen: Counter = Counter()
    for seed in range(args.first, args.first + args.seeds):
        line = run.stdout.readline()
        if not line:
            print(f"seed {seed}: the simulation ended early")
            return 1
        log = json.loads(line)
        got = [(at, name, {k: int(Decimal(v) * 1_000_000) for k, v in row.items()}) for at, name, row in log["looks"]]
        seen.update(signal for _, _, row in got for signal in row)
        found = difference(got, looks(log, config, model))
        if found:
            print(f"seed {seed}: {found}; replay with --first {seed} --seeds 1")
            run.kill()
            return 1
    missing = [] if args.seeds < 50 else [name for name in log["signals"] if not seen[name]]
    if missing:
        print(f"never seen: {missing}")
        return 1
    print(f"{args.seeds} seeds, no difference; {sum(seen.values())} values of {len(seen)} signals, of {min(seen, key=seen.get)} {min(seen.values())}")
    return run.wait()


if __name__ == "__main__":
    sys.exit(main())
