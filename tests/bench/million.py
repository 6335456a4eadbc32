"""A million accounts: memory, the time to restore them all, and the time to publish them all again.

    ACCOUNTS=1000000 tests/support/python.sh tests/bench/million.py

Quantity: resident memory of the process (VmRSS, VmHWM) with every account active within the last day (10 users and 10
features each, scores on) and the ids of the last ten minutes at 10,000 events a second; then the seconds from the start
of a new process to the last partition restored (its log says so), with the process on one core; then the seconds from
FLUSHALL to as many keys as before. Variables: ACCOUNTS, PARTITIONS.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cost import ROOT, TOPIC, load  # noqa: E402
from support.services import Services  # noqa: E402
from support.uptake_proc import Uptake, config_for  # noqa: E402

ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
RATE = 10000


def resident(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/status").read_text()
    if "VmRSS" not in text:  # it is ending
        return {}
    return {key: int(re.search(rf"{key}:\s+(\d+)", text)[1]) / 1024 for key in ("VmRSS", "VmHWM")}


def wait_for(what: str, ready, seconds: float) -> float:
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def seconds_of(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp()


def main() -> None:
    with Services() as services:
        services.kafka.create_topic("usage-events", PARTITIONS, TOPIC)
        schema = json.loads((ROOT / "schemas/uptake.v1.UsageBatch.avsc").read_text())
        schema_id = services.registry.register("usage-events-value", schema)
        made = load("accounts", services.kafka.bootstrap, "usage-events", schema_id, ACCOUNTS, RATE)
        config = config_for(services, {"clock": "log", "threads": 1, "memory_limit": "8GiB"})
        first = Uptake(config, name="first", args=["--until-end"])
        began = time.monotonic()
        first.launch()
        memory = {"VmRSS": 0.0, "VmHWM": 0.0}
        while first._child.poll() is None:
            memory = resident(first._child.pid) or memory
            time.sleep(0.1)
        if first.wait() != 0:
            raise SystemExit(first.tail(20))
        print(f"{ACCOUNTS} accounts, {made['events']:.0f} events read, checkpointed and published in "
              f"{time.monotonic() - began:.0f} s: {memory['VmRSS']:.0f} MiB resident, {memory['VmHWM']:.0f} MiB at most", flush=True)
        first.close()
        second = Uptake(config, name="second")
        launched = time.time()
        second.launch()
        os.sched_setaffinity(second._child.pid, {0})

        def restored() -> list[dict[str, str]]:
            return [line for line in second.log_records() if ": restored at offset" in line["msg"]]

        wait_for("restored", lambda: len(restored()) >= PARTITIONS, 3600)
        lines = sorted(seconds_of(line) for line in restored())
        assigned = min(seconds_of(line) for line in second.log_records() if "partitions assigned" in line["msg"])
        accounts = sum(int(re.search(r"with (\d+) accounts", line["msg"])[1]) for line in restored())
        print(f"restored {accounts} accounts: {lines[-1] - launched:.1f} s after the start, {lines[-1] - assigned:.1f} s after "
              f"the assignment, on one core; {resident(second._child.pid)['VmRSS']:.0f} MiB resident", flush=True)
        os.sched_setaffinity(second._child.pid, range(os.cpu_count() or 1))
        redis = services.redis.client()
        wait_for("published", lambda: second.ready() and second.metric("uptake_unpublished_age_seconds") < 3, 600)
        redis.delete("uptake:changes")  # hints of changes, which are not repeated
        keys = redis.dbsize()
        redis.flushall()
        took = wait_for("published again", lambda: redis.dbsize() >= keys, 600)
        print(f"{keys} keys are in Redis again {took:.1f} s after FLUSHALL", flush=True)
        second.close()


if __name__ == "__main__":
    main()
