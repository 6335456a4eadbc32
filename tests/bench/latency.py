"""From an event to its row in Redis, and to its alert on Kafka, under load.

    RATE=50000 PROBE_SECONDS=60 tests/support/python.sh tests/bench/latency.py

Load: RATE single events a second, an open loop. Beside it probes: accounts that used the product daily and have been
silent for twelve days, so that SILENCE is open; ten times a second one of them comes back, which must show in its row
and close its alert. Quantity: milliseconds from the moment the probe's event is handed to a producer to the moment a
poll of Redis (each 4 ms) sees its row move, and to the moment a read_committed consumer has its RESOLVE. No probe
waits for another, so nothing is omitted while the system stalls. Checkpoints run every CHECKPOINT seconds.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cost import ROOT, TOPIC  # noqa: E402
from support.kafka_util import Codec, Decoder, Message, consumer, produce, producer  # noqa: E402
from support.services import Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402
from support.worker import Worker  # noqa: E402

from confluent_kafka import TopicPartition  # noqa: E402

RATE = int(os.environ.get("RATE", "50000"))
SECONDS = int(os.environ.get("PROBE_SECONDS", "30"))
CHECKPOINT = int(os.environ.get("CHECKPOINT", "10"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "100000"))
WARM_UP = 5
PROBES = SECONDS * 10
DAY = 86_400_000


def event(account: str, at: int) -> dict[str, object]:
    return {"event_id": f"{account}-{at}", "occurred_at": at, "account_id": account, "user_id": "u", "kind": "USAGE",
            "feature": "search", "quantity": 1.0, "duration_ms": None, "properties": {}}


def history(codec: Codec, now: int) -> list[Message]:
    """45 days of use about once a day, up to twelve days ago."""
    chance = random.Random(1)
    made = []
    for number in range(PROBES):
        account = f"probe-{number}"
        for day in range(57, 11, -1):
            at = now - day * DAY + chance.randrange(-7_200_000, 7_200_000)
            made.append((at, account))
    made.sort()
    return [Message(account.encode(), codec.encode(event(account, at)), timestamp=at) for at, account in made]


class Rows(Worker):
    """When the row of a probe that was sent moves."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.redis = services.redis.client()
        self.waiting: dict[str, tuple[float, str]] = {}
        self.took: list[float] = []
        self.lock = threading.Lock()

    def seen(self, names: list[str]) -> list[str]:
        pipeline = self.redis.pipeline(transaction=False)
        for name in names:
            pipeline.hget(f"uptake:account:{{{name}}}", "last_seen")
        return pipeline.execute()

    def work(self) -> None:
        while not self.stop.is_set():
            with self.lock:
                names = list(self.waiting)
            values, now = self.seen(names) if names else [], time.time()
            with self.lock:
                for name, value in zip(names, values):
                    sent, before = self.waiting[name]
                    if value != before:
                        self.took.append((now - sent) * 1000)
                        del self.waiting[name]
            time.sleep(0.004)


class Alerts(Worker):
    """SILENCE opened and closed."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.client = consumer(services.kafka.bootstrap, fetch_wait_max_ms=5)
        topic = self.client.list_topics("churn-alerts", timeout=10).topics["churn-alerts"]
        self.client.assign([TopicPartition("churn-alerts", p, 0) for p in topic.partitions])
        self.decoder = Decoder(services.registry.schema)
        self.opened: set[str] = set()
        self.sent: dict[str, float] = {}
        self.took: list[float] = []

    def work(self) -> None:
        while not self.stop.is_set():
            message = self.client.poll(0.2)
            if message is None or message.error():
                continue
            now, alert = time.time(), self.decoder.decode(message.value())
            if alert["rule"] == "SILENCE" and alert["action"] == "OPEN":
                self.opened.add(alert["account"])
            elif alert["rule"] == "SILENCE" and alert["action"] == "RESOLVE" and alert["account"] in self.sent:
                self.took.append((now - self.sent.pop(alert["account"])) * 1000)


def quantiles(what: str, took: list[float], missing: int) -> None:
    took.sort()

    def at(share: float) -> float:
        return took[min(len(took) - 1, int(share * len(took)))]

    print(f"event to {what}: {len(took)} probes, p50 {at(0.5):.0f}, p90 {at(0.9):.0f}, p99 {at(0.99):.0f}, "
          f"max {took[-1]:.0f} ms; {missing} missing", flush=True)


def main() -> None:
    with Services() as services:
        services.kafka.create_topic("usage-events", 4, TOPIC)
        text = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
        codec = Codec(text, services.registry.register("usage-events-value", text))
        produce(services.kafka.bootstrap, "usage-events", history(codec, int(time.time() * 1000)), timeout=120)
        rules = Path(tempfile.mkdtemp(prefix="uptake-latency-")) / "rules.yaml"
        rules.write_text("rules: {DATA_QUALITY: {enabled: false}}\n")  # or all probes silent at once are an outage
        uptake = Uptake(config_for(services, {"checkpoint_interval": f"{CHECKPOINT}s", "trust_timestamps": True,
                                              "rules_file": str(rules)}), name="latency")
        uptake.start()
        alerts, rows = Alerts(services), Rows(services)
        alerts.start()
        until = time.monotonic() + 180
        while len(alerts.opened) < PROBES * 0.9 and time.monotonic() < until:
            time.sleep(0.5)
        names = sorted(alerts.opened)
        print(f"{len(names)} probes have SILENCE open; {RATE} events/s for {SECONDS} s, {ACCOUNTS} accounts, a checkpoint every "
              f"{CHECKPOINT} s", flush=True)
        if len(names) < PROBES // 2:
            raise SystemExit(uptake.tail(20))
        load = subprocess.Popen(
            [binary().parent / "tests/bench/bench_load", "pace", services.kafka.bootstrap, "usage-events", str(codec.schema_id),
             str(SECONDS + WARM_UP), str(ACCOUNTS), str(RATE)], stdout=subprocess.PIPE, text=True)
        rows.start()
        time.sleep(WARM_UP)
        client = producer(services.kafka.bootstrap, linger_ms=0)
        before = rows.seen(names)
        begun = time.monotonic()
        for number, name in enumerate(names):
            time.sleep(max(0, begun + number * SECONDS / len(names) - time.monotonic()))
            now = time.time()
            alerts.sent[name] = now
            with rows.lock:
                rows.waiting[name] = (now, before[number])
            at = int(now * 1000)
            client.produce("usage-events", codec.encode(event(name, at)), name.encode(), timestamp=at)
            client.poll(0)
        client.flush(10)
        said = load.communicate()[0]
        if load.returncode != 0:
            raise SystemExit(f"the load failed: exit {load.returncode}")
        print(f"load: {json.loads(said)['events']} events; lag at its end {uptake.metric('uptake_lag_records'):.0f} records")
        time.sleep(5)
        rows.finish()
        alerts.finish()
        quantiles("row", rows.took, len(rows.waiting))
        quantiles("alert", alerts.took, len(alerts.sent))
        uptake.close()


if __name__ == "__main__":
    main()
