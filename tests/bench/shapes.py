"""How the cost of an event goes with the shape of its records and with the number of accounts.

    tests/bench/shapes [--write]           --write: puts the table into BENCHMARKS.md; about 10 minutes

One topic a case: single events, or UsageBatch records of 50 events of one account; 1,000, 100,000 or 1,000,000 accounts.
`uptake run --until-end` reads each from its start to its end, ROUNDS times, each round beginning with another case, as
cost.py does. Quantity: processor seconds of the process (all its threads), and of Redis, per million events, start and
end included; ratios are taken round by round. Variables: EVENTS, ROUNDS, PARTITIONS, RATE.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cost import ROOT, TOPIC, load, redis_cpu  # noqa: E402
from measure import asked_to_write, machine, measured, publish, ratio  # noqa: E402
from support.services import Kafka, Services  # noqa: E402
from support.uptake_proc import Uptake, config_for  # noqa: E402

EVENTS = int(os.environ.get("EVENTS", "4000000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
RATE = int(os.environ.get("RATE", "10000"))


def rows_written(services: Services) -> int:
    return services.redis.client().info("commandstats").get("cmdstat_hset", {}).get("calls", 0)


@dataclass
class Case:
    what: str
    batch: int
    accounts: int
    value_bytes: float = 0.0
    figures: list[dict[str, float]] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"events-{self.batch}-{self.accounts}"

    def fill(self, services: Services) -> None:
        services.kafka.create_topic(self.topic, PARTITIONS, TOPIC)
        record = "UsageBatch" if self.batch > 1 else "UsageEvent"
        schema = json.loads((ROOT / f"schemas/uptake.v1.{record}.avsc").read_text())
        schema_id = services.registry.register(f"{self.topic}-value", schema)
        made = load("fill", services.kafka.bootstrap, self.topic, schema_id, EVENTS, self.accounts, RATE, self.batch)
        self.value_bytes = made["value_bytes"] / made["events"]

    def run(self, services: Services, number: int) -> None:
        name = f"{self.topic}-{number}"
        outputs = {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}
        config = {"clock": "log", "group": name, "state_topic": f"{name}-state", "output": outputs, "input": {"topic": self.topic}}
        services.redis.client().flushall()
        rows, began = rows_written(services), redis_cpu(services)
        process = Uptake(config_for(services, config), name=name, args=["--until-end"])
        use = measured(process.argv(), cwd=process.dir)
        process.close()
        rows = rows_written(services) - rows
        millions = EVENTS / 1e6
        self.figures.append({"cpu": use.cpu / millions, "redis": (redis_cpu(services) - began) / millions, "peak": use.peak,
                             "rows": rows / EVENTS})
        print(f"round {number + 1}: {self.what}: {use.cpu / millions:.3f} CPU-s per million, {use.wall:.1f} s", file=sys.stderr, flush=True)

    def median(self, what: str) -> float:
        return statistics.median(figure[what] for figure in self.figures)


CASES = [
    Case("single events, 100,000 accounts", 1, 100_000),
    Case("`UsageBatch` of 50 events, 100,000 accounts", 50, 100_000),
    Case("single events, 1,000 accounts", 1, 1_000),
    Case("single events, 1,000,000 accounts", 1, 1_000_000),
]


def table() -> list[str]:
    single, batch, few, many = CASES
    lines = ["| records | bytes an event | CPU-seconds per million events | events/s per core | Redis, CPU-s per million | HSETs an event | peak MiB |",
             "|---|---|---|---|---|---|---|"]
    lines += [f"| {one.what} | {one.value_bytes:.1f} | {one.median('cpu'):.3f} | {1e6 / one.median('cpu'):,.0f} | {one.median('redis'):.3f} "
              f"| {one.median('rows'):.3f} | {one.median('peak'):.0f} |" for one in CASES]
    redis = statistics.median(figure["redis"] / figure["cpu"] for figure in single.figures)
    return [*lines, "",
            f"- a single event takes {ratio(single.figures, batch.figures)} times the CPU of one in a batch of 50",
            f"- an event takes {ratio(many.figures, few.figures)} times as much of 1,000,000 accounts as of 1,000",
            f"- Redis takes {100 * redis:.0f} % of the CPU of `uptake` (single events, 100,000 accounts, rows every second)"]


def main() -> None:
    write = asked_to_write("shapes")
    head = machine()
    kafka = Kafka(config={"group.initial.rebalance.delay.ms": 3000}, jit=True)
    with Services(kafka=kafka) as services:
        for case in CASES:
            case.fill(services)
            load("discard", services.kafka.bootstrap, case.topic)  # the broker has served it once
        for number in range(ROUNDS):
            for i in range(len(CASES)):
                CASES[(number + i) % len(CASES)].run(services, number)
    head.append(f"- {EVENTS:,} events, {PARTITIONS} partitions, {RATE:,} events/s by time stamp; median of {ROUNDS} rounds, in brackets "
                "the least and the greatest")
    publish("shapes", [*head, "", *table()], write)


if __name__ == "__main__":
    main()
