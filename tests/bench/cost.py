"""What a record costs: `uptake run --until-end` against a consumer that does nothing, in turn, on real services.

    EVENTS=20000000 ROUNDS=5 tests/support/python.sh tests/bench/cost.py

Quantity: processor seconds of the process (all its threads, librdkafka's included) per million events, as the operating
system accounts for them when it has ended, start and end included; the ratio of the two is taken round by round.
Each round of uptake is a new group with new state and output topics and an empty Redis. Everything is switched on:
deduplication, scores, alerts, checkpoints, rows every second. Variables: EVENTS, ACCOUNTS, PARTITIONS, RATE (events a
second by their time stamps), BATCH (events in a record), ROUNDS, THREADS.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.services import Kafka, Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
EVENTS = int(os.environ.get("EVENTS", "2000000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "100000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
RATE = int(os.environ.get("RATE", "10000"))
BATCH = int(os.environ.get("BATCH", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
THREADS = os.environ.get("THREADS")
TOPIC = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1"}


def children_cpu() -> float:
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime


def load(*args: object) -> dict[str, float]:
    program = binary().parent / "tests/bench/bench_load"
    done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def redis_cpu(services: Services) -> float:
    info = services.redis.client().info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"]


def uptake_round(services: Services, number: int) -> dict[str, float]:
    name = f"cost-{number}"
    outputs = {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}
    over: dict[str, object] = {"clock": "log", "group": name, "state_topic": f"{name}-state", "output": outputs}
    if THREADS:
        over["threads"] = int(THREADS)
    services.redis.client().flushall()
    uptake = Uptake(config_for(services, over), name=name, args=["--until-end"])
    cpu, redis, began = children_cpu(), redis_cpu(services), time.monotonic()
    uptake.launch()
    code = uptake.wait(3600)
    wall = time.monotonic() - began
    if code != 0:
        raise SystemExit(f"exit {code}\n{uptake.tail(30)}")
    # ru_maxrss of children is a maximum over all of them: uptake is by far the largest.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    figures = {"cpu": children_cpu() - cpu, "redis": redis_cpu(services) - redis, "wall": wall, "peak_mib": peak}
    uptake.close()
    return figures


def main() -> None:
    # A broker as it comes: compiled for speed, and waiting 3 s for further members before a group's first assignment.
    kafka = Kafka(config={"group.initial.rebalance.delay.ms": 3000}, jit=True)
    with Services(kafka=kafka) as services:
        services.kafka.create_topic("usage-events", PARTITIONS, TOPIC)
        schema = json.loads((ROOT / "schemas" / ("uptake.v1.UsageBatch.avsc" if BATCH > 1 else "uptake.v1.UsageEvent.avsc")).read_text())
        schema_id = services.registry.register("usage-events-value", schema)
        made = load("fill", services.kafka.bootstrap, "usage-events", schema_id, EVENTS, ACCOUNTS, RATE, BATCH)
        millions = made["events"] / 1e6
        print(f"{made['events']:.0f} events, {made['value_bytes'] / made['events']:.1f} B each, {BATCH} in a record, {PARTITIONS} "
              f"partitions, {ACCOUNTS} accounts, {RATE} events/s by time stamp, {os.cpu_count()} cores", flush=True)
        discards, costs, ratios = [], [], []
        for number in range(ROUNDS):
            floor = load("discard", services.kafka.bootstrap, "usage-events")
            ours = uptake_round(services, number)
            discards.append(floor["cpu_seconds"] / millions)
            costs.append(ours["cpu"] / millions)
            ratios.append(costs[-1] / discards[-1])
            print(f"round {number + 1}: discard {discards[-1]:.3f}, uptake {costs[-1]:.3f} CPU-s per million (ratio {ratios[-1]:.2f}), "
                  f"Redis {ours['redis'] / millions:.3f}, {ours['wall']:.1f} s, peak {ours['peak_mib']:.0f} MiB", flush=True)
        print(f"median: discard {statistics.median(discards):.3f}, uptake {statistics.median(costs):.3f} CPU-seconds per million "
              f"events, ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
