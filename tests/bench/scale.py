"""What many processes take: a model of load, fitted to measured points and checked against them.

    tests/bench/scale                                          the tables, from the figures of the last --measure
    tests/bench/scale --measure [--write]                      about 8 minutes; --write: into BENCHMARKS.md
    tests/bench/scale --events 1000000 --accounts 100000000    one size more

Model. An account of rank i of n gets the share ln((i + 1) / i) / ln(n + 1) of the events (Zipf, s = 1). In an interval of
t seconds 1 - exp(-rate_i t) of it changes; the sum over accounts is how many rows a flush writes and how many records a
checkpoint has. A checkpoint record is `base` bytes and `id` for each id of the last ten minutes, at most 4,096. Seconds of
processor a second: a constant of the process + event · events + row · rows + byte · checkpoint bytes, each at least 0, fitted to the points by least
squares of the relative error; Redis: likewise, without the bytes. Each point is then foretold from a fit without it.

Points. `uptake run` as it comes (live clock, everything on) under bench_load's open loop at each of POINTS, processor time
and counts over SECONDS after a warm-up. Simulated: the same load drawn at random, its rows and changed accounts counted.

Sizes. Restoring and memory are million.py's figures. A process has CORES and MEMORY, of which CPU_SHARE and MEMORY_SHARE
are used; one Redis is one core, of which REDIS_SHARE. Partitions: a multiple of the threads, so many that each restores
within RESTORE_SECONDS. Variables: POINT_SECONDS.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cost import TOPIC, redis_cpu  # noqa: E402
from measure import PAGE, ROOT, machine, process_cpu, publish  # noqa: E402
from support.services import Kafka, Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402

SECONDS = int(os.environ.get("POINT_SECONDS", "40"))
WARM_UP = 20
POINTS = [(10_000, 1_000), (10_000, 100_000), (10_000, 1_000_000), (40_000, 1_000), (40_000, 100_000), (40_000, 1_000_000)]
SIZES = [(10_000, 100_000), (100_000, 1_000_000), (1_000_000, 10_000_000), (1_000_000, 100_000_000)]
FLUSH, CHECKPOINT = 1.0, 10.0  # seconds; the points run with these
CHECKPOINT_AS_IT_COMES = 30.0
IDS_SECONDS, IDS_MOST = 600.0, 4096
BYTES_ACCOUNT, RESTORED_A_SECOND = 1493.0, 109_000.0  # million.py: resident at most; accounts a second of one core
SESSION = 6.0
CORES, MEMORY, CPU_SHARE, MEMORY_SHARE, REDIS_SHARE = 2, 16 * 2**30, 0.6, 0.75, 0.6
RESTORE_SECONDS = 10.0
BROKER_BYTES = 123.0  # an event, as fetched (compare)


# --- load -------------------------------------------------------------------


def ranks(accounts: int) -> Iterable[tuple[float, float]]:
    """(how many accounts, share of the events of each): the first thousand one by one, then in steps of a hundredth."""
    at = 1
    while at <= accounts:
        width = 1 if at <= 1000 else min(at // 100, accounts - at + 1)
        yield width, math.log((at + width) / at) / math.log(accounts + 1) / width
        at += width


def changed(events: float, accounts: int, seconds: float) -> float:
    return sum(n * -math.expm1(-events * share * seconds) for n, share in ranks(accounts))


def ids(events: float, accounts: int, seconds: float, age: float) -> float:
    """Ids in the records of one checkpoint, when the log is `age` seconds old."""
    return sum(n * -math.expm1(-events * share * seconds) * min(IDS_MOST, events * share * min(age, IDS_SECONDS))
               for n, share in ranks(accounts))


def simulated(events: int, accounts: int, seconds: float) -> float:
    """Accounts that change in an interval, drawn at random: what `changed` says by formula."""
    rng = random.Random(7)
    rounds = max(1, int(200_000 / (events * seconds)))
    count = sum(len({int(math.exp(rng.random() * math.log(accounts + 1))) for _ in range(int(events * seconds))}) for _ in range(rounds))
    return count / rounds


# --- fit --------------------------------------------------------------------


def solve(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Least squares by the normal equations, Gauss with the greatest pivot."""
    n = len(rows[0])
    a = [[sum(r[i] * r[j] for r in rows) for j in range(n)] + [sum(r[i] * v for r, v in zip(rows, values))] for i in range(n)]
    for i in range(n):
        p = max(range(i, n), key=lambda k: abs(a[k][i]))
        a[i], a[p] = a[p], a[i]
        if abs(a[i][i]) < 1e-300:
            return [math.nan] * n
        for k in range(n):
            if k != i:
                factor = a[k][i] / a[i][i]
                a[k] = [x - factor * y for x, y in zip(a[k], a[i])]
    return [a[i][n] / a[i][i] for i in range(n)]


def fit(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Coefficients of at least 0 with the least squares of the relative error: the best of all choices of those that are not 0."""
    n, best, found = len(rows[0]), math.inf, [0.0] * len(rows[0])
    relative = [[x / v for x in r] for r, v in zip(rows, values)]
    for size in range(1, n + 1):
        for chosen in itertools.combinations(range(n), size):
            part = solve([[r[i] for i in chosen] for r in relative], [1.0] * len(values))
            if not all(x >= 0 for x in part):
                continue
            whole = [part[chosen.index(i)] if i in chosen else 0.0 for i in range(n)]
            error = sum((sum(x * y for x, y in zip(r, whole)) - 1) ** 2 for r in relative)
            if error < best:
                best, found = error, whole
    return found


@dataclass
class Point:
    events: float  # a second, as all below
    accounts: int
    age: float  # seconds of the log when it was measured, in the mean
    rows: float
    bytes: float
    cpu: float
    redis: float

    def loads(self) -> list[float]:
        return [1.0, self.events, self.rows, self.bytes]


@dataclass
class Costs:
    uptake: list[float]  # cores of a process without load; seconds of an event, a row, a byte of a checkpoint
    redis: list[float]  # likewise; an event, a row
    record: list[float]  # bytes: a changed account, an id


def costs_of(points: Sequence[Point]) -> Costs:
    return Costs(
        fit([p.loads() for p in points], [p.cpu for p in points]),
        fit([p.loads()[:3] for p in points], [p.redis for p in points]),
        fit([[changed(p.events, p.accounts, CHECKPOINT) / CHECKPOINT, ids(p.events, p.accounts, CHECKPOINT, p.age) / CHECKPOINT]
             for p in points], [p.bytes for p in points]))


def predicted(costs: Costs, events: float, accounts: int, checkpoint: float, age: float) -> Point:
    rows = changed(events, accounts, FLUSH) / FLUSH
    record = [changed(events, accounts, checkpoint) / checkpoint, ids(events, accounts, checkpoint, age) / checkpoint]
    size = sum(x * y for x, y in zip(record, costs.record))
    cpu = sum(x * y for x, y in zip([1.0, events, rows, size], costs.uptake))
    return Point(events, accounts, age, rows, size, cpu, sum(x * y for x, y in zip([1.0, events, rows], costs.redis)))


# --- points -----------------------------------------------------------------


def measure_point(services: Services, schema_id: int, rate: int, accounts: int) -> Point:
    name = f"scale-{rate}-{accounts}"
    services.kafka.create_topic(name, 4, TOPIC)
    services.redis.client().flushall()
    outputs = {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}
    uptake = Uptake(config_for(services, {"input": {"topic": name}, "group": name, "state_topic": f"{name}-state", "output": outputs,
                                          "trust_timestamps": True, "checkpoint_interval": f"{CHECKPOINT:.0f}s"}), name=name)
    uptake.start()
    pace = subprocess.Popen([binary().parent / "tests/bench/bench_load", "pace", services.kafka.bootstrap, name, str(schema_id),
                             str(WARM_UP + SECONDS + 5), str(accounts), str(rate)], stdout=subprocess.DEVNULL)

    def now() -> dict[str, float]:
        metrics = uptake.metrics()
        return {"at": time.monotonic(), "events": metrics["uptake_records_total"], "rows": metrics["uptake_redis_rows_total"],
                "bytes": metrics["uptake_checkpoint_bytes_total"], "cpu": process_cpu(uptake.pid), "redis": redis_cpu(services)}

    time.sleep(WARM_UP)
    before = now()
    time.sleep(SECONDS)
    after = now()
    lag = uptake.metric("uptake_lag_records")
    if pace.wait() != 0:
        raise SystemExit(f"the load failed: exit {pace.returncode}")
    uptake.close()
    each = {key: (after[key] - before[key]) / (after["at"] - before["at"]) for key in before}
    print(f"{rate} events/s, {accounts} accounts: {each['events']:.0f} events/s, lag {lag:.0f}", file=sys.stderr, flush=True)
    return Point(each["events"], accounts, WARM_UP + SECONDS / 2, each["rows"], each["bytes"], each["cpu"], each["redis"])


def measure_all() -> list[Point]:
    with Services(kafka=Kafka(jit=True)) as services:
        schema = json.loads((ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text())
        schema_id = services.registry.register("usage-events-value", schema)
        return [measure_point(services, schema_id, rate, accounts) for rate, accounts in POINTS]


# --- tables -----------------------------------------------------------------


def point_table(points: Sequence[Point]) -> list[str]:
    lines = ["| events/s | accounts | rows/s: measured, by the formula, simulated | checkpoint MB/s | `uptake`, cores: measured, foretold from the other points "
             "| Redis, cores: measured, foretold |", "|---|---|---|---|---|---|"]
    for p in points:
        guess = predicted(costs_of([q for q in points if q is not p]), p.events, p.accounts, CHECKPOINT, p.age)
        known = sum(x * y for x, y in zip(p.loads(), costs_of([q for q in points if q is not p]).uptake))
        lines.append(f"| {p.events:,.0f} | {p.accounts:,} | {p.rows:,.0f}, {guess.rows:,.0f}, {simulated(round(p.events), p.accounts, FLUSH):,.0f} "
                     f"| {p.bytes / 1e6:.2f}, {guess.bytes / 1e6:.2f} | {p.cpu:.3f}, {guess.cpu:.3f} ({known:.3f} from its own counts) "
                     f"| {p.redis:.3f}, {guess.redis:.3f} |")
    return lines


def size_table(costs: Costs, sizes: Sequence[tuple[int, int]]) -> list[str]:
    lines = ["| events/s | accounts | rows/s | `uptake`, cores | Redis, cores | memory GiB | input, state MB/s | processes (by cores, by memory) | Redis nodes "
             "| partitions | restoring all s | after a kill, until all move s | first full |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for events, accounts in sizes:
        p = predicted(costs, events, accounts, CHECKPOINT_AS_IT_COMES, IDS_SECONDS)
        memory = accounts * BYTES_ACCOUNT
        by_cpu, by_memory = (p.cpu - costs.uptake[0]) / (CORES * CPU_SHARE - costs.uptake[0]), memory / (MEMORY * MEMORY_SHARE)
        processes = max(1, math.ceil(max(by_cpu, by_memory)))
        nodes = max(1, math.ceil(p.redis / REDIS_SHARE))
        cores, threads = p.cpu + (processes - 1) * costs.uptake[0], processes * CORES
        each = max(1, math.ceil(accounts / threads / (RESTORED_A_SECOND * RESTORE_SECONDS)))
        restore = accounts / threads / RESTORED_A_SECOND
        others = max(1, threads - CORES)
        kill = SESSION + accounts / processes / others / RESTORED_A_SECOND
        full = max((by_cpu / processes, "cores"), (by_memory / processes, "memory"), (p.redis / REDIS_SHARE / nodes, "Redis"))[1]
        lines.append(f"| {events:,} | {accounts:,} | {p.rows:,.0f} | {cores:.2f} | {p.redis:.2f} | {memory / 2**30:.1f} "
                     f"| {events * BROKER_BYTES / 1e6:.0f}, {p.bytes / 1e6:.1f} | {processes} ({by_cpu:.1f}, {by_memory:.1f}) | {nodes} | {threads * each} "
                     f"| {restore:.0f} | {'–' if processes == 1 else f'{kill:.0f}'} | {full} |")
    return lines


def cost_line(costs: Costs) -> str:
    c, e, r, b = costs.uptake
    return (f"- `uptake`: {c:.3f} cores a process, {e * 1e9:.0f} ns an event, {r * 1e6:.2f} µs a row, {b * 1e9:.1f} ns a checkpoint byte; Redis: {costs.redis[0]:.3f} cores, {costs.redis[1] * 1e9:.0f} ns an "
            f"event, {costs.redis[2] * 1e6:.2f} µs a row; a checkpoint record: {costs.record[0]:.0f} bytes and {costs.record[1]:.1f} an id")


def read_costs() -> Costs:
    """From the line that cost_line wrote."""
    number = r"([\d.]+)"
    found = re.search(rf"- `uptake`: {number} cores a process, {number} ns an event, {number} µs a row, {number} ns a checkpoint byte; Redis: {number} cores, {number} ns an event, "
                      rf"{number} µs a row; a checkpoint record: {number} bytes and {number} an id", PAGE.read_text())
    if found is None:
        raise SystemExit(f"{PAGE} has no figures of --measure --write")
    c, e, r, b, redis_c, redis_e, redis_r, base, each_id = map(float, found.groups())
    return Costs([c, e / 1e9, r / 1e6, b / 1e9], [redis_c, redis_e / 1e9, redis_r / 1e6], [base, each_id])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--events", type=int)
    parser.add_argument("--accounts", type=int)
    options = parser.parse_args()
    sizes = [*SIZES, *([(options.events, options.accounts)] if options.events and options.accounts else [])]
    if not options.measure:
        costs = read_costs()
        print("\n".join([cost_line(costs), "", *size_table(costs, sizes)]))
        return
    head = machine()
    points = measure_all()
    costs = costs_of(points)
    publish("scale", [*head, f"- each point {SECONDS} s of an open loop, 4 partitions, a checkpoint each {CHECKPOINT:.0f} s", "", *point_table(points), "",
                      cost_line(costs), f"- below: a checkpoint each {CHECKPOINT_AS_IT_COMES:.0f} s; processes of {CORES} cores and {MEMORY / 2**30:.0f} GiB, used to "
                      f"{CPU_SHARE:.0%} and {MEMORY_SHARE:.0%}; a Redis of one core, to {REDIS_SHARE:.0%}", "", *size_table(costs, sizes)], options.write)


if __name__ == "__main__":
    main()
