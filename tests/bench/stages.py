"""Where the cost of an event lies: every stage alone, their sum beside the whole, and whose code the instructions are.

    tests/bench/stages [--write]           --write: puts the tables into BENCHMARKS.md

Time: `bench_load discard` (fetch) and `bench_stages` (the rest), processor time of the process, median of ROUNDS; then
`uptake run` on the same topic, whose own counts say how many rows and checkpoint bytes an event made there. What a stage
costs for a row or a byte is multiplied by those. Instructions: valgrind's callgrind on SMALL events, by difference: a
run with the stage less the run without it; of the whole, a run on SMALL events less one on none, by the library or
room of the code. SMALL events have as many events an account as EVENTS have, and since callgrind is some fifty times
slower, the whole's intervals (rows, transactions, checkpoints) are then fifty times as long. Without valgrind that part is left out.
Variables: EVENTS, SMALL, ROUNDS, ACCOUNTS, PARTITIONS, THREADS.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import ROOT, asked_to_write, machine, measured, process_cpu, publish  # noqa: E402
from support.process import wait_until  # noqa: E402
from support.services import Kafka, Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402

EVENTS = int(os.environ.get("EVENTS", "1000000"))
SMALL = int(os.environ.get("SMALL", "100000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "100000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
THREADS = os.environ.get("THREADS")
RATE = 10000
SLOWER = 50  # callgrind, about
TOPIC_CONFIG = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1"}
STAGES = ["fetch", "decode", "update", "rows", "checkpoint", "publish"]
# What a stage's cost is told by: a count that bench_stages gives.
UNITS = {"decode": "events", "update": "events", "rows": "row_count", "checkpoint": "checkpoint_bytes", "publish": "checkpoint_bytes"}
WHAT = {
    "fetch": "fetch: librdkafka, batches of 32, thrown away",
    "decode": "frame and decode: header, schema, Avro, checks",
    "update": "update: clock, windows, users, dedup, scores",
    "rows": "flush: rows, view, RESP, replies",
    "checkpoint": "checkpoint: encode",
    "publish": "publish: checkpoint records to Kafka",
}
# Whose code an instruction is: part of the source's path, first match.
ROOMS = [
    ("ingest/avro", "ingest/avro (frame, decode)"),
    ("aggregate/state", "aggregate/state (update, rows, checkpoint)"),
    ("aggregate/score", "aggregate/score"),
    ("aggregate/view", "aggregate/view (rows to Redis)"),
    ("ingest/kafka", "ingest/kafka (publisher)"),
    ("ingest/base", "ingest/base (text, rings, metrics)"),
    ("ingest/", "ingest (the lane's loop)"),
    ("include/uptake", "include/uptake (inlined helpers)"),
]


def built(name: str) -> Path:
    return binary().parent / "tests/bench" / name


def accounts(events: int) -> int:
    """As many events an account, whatever the number of events."""
    return max(1, ACCOUNTS * events // EVENTS)


def bench_stages(services: Services, schema_id: int, events: int, last: str, before: tuple[str, ...] = ()) -> dict[str, float]:
    services.redis.client().flushall()
    use = measured([*before, built("bench_stages"), events, accounts(events), services.registry.url, schema_id, services.redis.url,
                    services.kafka.bootstrap, "stages-out", last])
    return json.loads(use.out)


# --- time -------------------------------------------------------------------


def time_alone(services: Services, schema_id: int) -> dict[str, float]:
    """Nanoseconds: of fetch, decode and update an event, of rows a row, of checkpoint and publish a byte."""
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for _ in range(ROUNDS):
        use = measured([built("bench_load"), "discard", services.kafka.bootstrap, "usage-events", "batch"])
        found["fetch"].append(use.cpu * 1e9 / EVENTS)
        figures = bench_stages(services, schema_id, EVENTS, "publish")
        for stage in STAGES[1:]:
            found[stage].append(figures[stage] / figures[UNITS[stage]])
    return {stage: statistics.median(values) for stage, values in found.items()}


def over(topic: str, **more: object) -> dict[str, object]:
    name = f"stages-{topic}"
    outputs = {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}
    threads = {"threads": int(THREADS)} if THREADS else {}
    return {"clock": "log", "input": {"topic": topic}, "group": name, "state_topic": f"{name}-state", "output": outputs, **threads, **more}


def time_whole(services: Services) -> dict[str, float]:
    """`uptake run` until all is published and every partition has a checkpoint: ns, rows and checkpoint bytes an event."""
    services.redis.client().flushall()
    process = Uptake(config_for(services, over("usage-events", checkpoint_interval="5s")), name="stages")
    process.launch()
    wait_until("ready", process._is_ready, 60)

    def done() -> bool:
        metrics = process.metrics()
        return (metrics["uptake_records_total"] >= EVENTS and metrics["uptake_unpublished_age_seconds"] < 1.5
                and metrics["uptake_checkpoints_total"] >= PARTITIONS)

    wait_until("all events counted, published and checkpointed", done, 600, 0.25)
    metrics, cpu = process.metrics(), process_cpu(process.pid)
    process.terminate()
    process.close()
    return {"ns": cpu * 1e9 / EVENTS, "rows": metrics["uptake_redis_rows_total"] / EVENTS,
            "bytes": metrics["uptake_checkpoint_bytes_total"] / EVENTS}


# --- instructions -----------------------------------------------------------


def callgrind(folder: Path, name: str) -> tuple[tuple[str, ...], Path]:
    out = folder / f"{name}.callgrind"
    # With GLIBC_TUNABLES set `uptake run` does not begin again, which would be without valgrind.
    return ("env", "GLIBC_TUNABLES=", "valgrind", "-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no",
            f"--callgrind-out-file={out}"), out


def read_callgrind(path: Path) -> Counter[str]:
    """Instructions by whose code they are; what a called function cost is counted there, not with its caller."""
    counts: Counter[str] = Counter()
    library, source, skip, total = "", "", False, 0
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("ob="):
            library = line[3:]
        elif line.startswith(("fl=", "fi=", "fe=")):
            source = line[3:]
        elif line.startswith("calls="):
            skip = True
        elif line.startswith("totals:"):
            total = int(line.split()[1])
        elif line[:1].isdigit():
            if not skip:
                counts[owner(library, source)] += int(line.split()[1])
            skip = False
    if sum(counts.values()) != total:
        raise SystemExit(f"{path}: {sum(counts.values())} instructions read, {total} counted")
    return counts


def owner(library: str, source: str) -> str:
    name = Path(library).name.split(".so")[0]
    if name in ("uptake", "bench_stages", "bench_load"):
        return next((room for part, room in ROOMS if part in source), "uptake, other")
    return {"librdkafka": "librdkafka", "libc": "libc", "libhiredis": "hiredis"}.get(name, "other libraries")


def instructions_alone(services: Services, schema_id: int) -> dict[str, float]:
    """As time_alone gives nanoseconds."""
    folder, found, former = services.kafka.dir, {}, 0
    for last in ["make", *STAGES[1:]]:
        before, out = callgrind(folder, last)
        figures = bench_stages(services, schema_id, SMALL, last, before)
        total = sum(read_callgrind(out).values())
        if last != "make":
            found[last] = (total - former) / figures[UNITS[last]]
        former = total
    fetch = []
    for topic in ("small", "empty"):
        before, out = callgrind(folder, f"fetch-{topic}")
        measured([*before, built("bench_load"), "discard", services.kafka.bootstrap, topic, "batch"])
        fetch.append(sum(read_callgrind(out).values()))
    return {"fetch": (fetch[0] - fetch[1]) / SMALL, **found}


def instructions_whole(services: Services) -> Counter[str]:
    found = []
    slow = {"flush_interval": f"{SLOWER}s", "checkpoint_interval": f"{30 * SLOWER}s", "publish_interval": f"{50 * SLOWER}ms"}
    for topic in ("small", "empty"):
        before, out = callgrind(services.kafka.dir, f"uptake-{topic}")
        process = Uptake(config_for(services, over(topic, **slow)), name="stages", args=["--until-end"])
        services.redis.client().flushall()
        measured([*before, *process.argv()], cwd=process.dir)
        process.close()
        found.append(read_callgrind(out))
    found[0].subtract(found[1])
    return found[0]


# --- tables -----------------------------------------------------------------


def stage_table(alone: dict[str, float], whole: dict[str, float], counted: dict[str, float], whole_counted: float) -> list[str]:
    factor = {"rows": whole["rows"], "checkpoint": whole["bytes"], "publish": whole["bytes"]}
    unit = {"rows": "row", "checkpoint": "byte", "publish": "byte"}
    lines = ["| stage | alone | an event makes, in the whole | ns an event | instructions an event |", "|---|---|---|---|---|"]
    total = sum(alone[stage] * factor.get(stage, 1.0) for stage in STAGES)
    for stage in STAGES:
        made = f"{factor[stage]:.3g} {unit[stage]}s" if stage in factor else "1"
        count = f"{counted[stage] * factor.get(stage, 1.0):,.0f}" if counted else "–"
        lines.append(f"| {WHAT[stage]} | {alone[stage]:,.1f} ns, by {unit.get(stage, 'event')} | {made} "
                     f"| {alone[stage] * factor.get(stage, 1.0):,.0f} | {count} |")
    count = f"{sum(counted[stage] * factor.get(stage, 1.0) for stage in STAGES):,.0f}" if counted else "–"
    return [
        *lines,
        f"| sum | | | {total:,.0f} | {count} |",
        f"| the whole: `uptake run` | | | {whole['ns']:,.0f} | {f'{whole_counted:,.0f}' if counted else '–'} |",
        "",
        f"- the sum is {total / whole['ns']:.0%} of the whole's time; the rest is the lane's loop, start, group, transactions and metrics, "
        "and what the stages take from one another's caches",
        f"- all but fetch: {total - alone['fetch']:,.0f} ns of the sum, {whole['ns'] - alone['fetch']:,.0f} ns of the whole",
    ]


def owner_table(counts: Counter[str]) -> list[str]:
    total = sum(counts.values())
    lines = ["| whose code, in `uptake run --until-end` | instructions an event | share |", "|---|---|---|"]
    lines += [f"| {name} | {n / SMALL:,.0f} | {n / total:.1%} |" for name, n in counts.most_common() if n > total / 1000]
    return [*lines, f"| all | {total / SMALL:,.0f} | 100 % |"]


def fill(services: Services, topic: str, schema_id: int, events: int) -> None:
    services.kafka.create_topic(topic, PARTITIONS, TOPIC_CONFIG)
    if events > 0:
        measured([built("bench_load"), "fill", services.kafka.bootstrap, topic, schema_id, events, accounts(events), RATE])


def main() -> None:
    write = asked_to_write("stages")
    head = machine()
    with Services(kafka=Kafka(jit=True)) as services:
        schema = json.loads((ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text())
        schema_id = services.registry.register("usage-events-value", schema)
        for topic, events in [("usage-events", EVENTS), ("small", SMALL), ("empty", 0)]:
            fill(services, topic, schema_id, events)
        services.kafka.create_topic("stages-out")
        alone, whole = time_alone(services, schema_id), time_whole(services)
        counted: dict[str, float] = {}
        counts: Counter[str] = Counter()
        if shutil.which("valgrind") is not None:
            counted, counts = instructions_alone(services, schema_id), instructions_whole(services)
    head.append(f"- {EVENTS:,} events for the times (median of {ROUNDS}), {SMALL:,} for the instructions; {PARTITIONS} partitions, "
                f"{ACCOUNTS:,} accounts, {RATE:,} events/s by time stamp; in the whole checkpoint_interval is 5s (as it comes: 30s), so that it has some")
    lines = [*head, "", *stage_table(alone, whole, counted, sum(counts.values()) / SMALL)]
    publish("stages", [*lines, "", *owner_table(counts)] if counts else lines, write)


if __name__ == "__main__":
    main()
