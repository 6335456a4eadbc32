"""From an event to its row in Redis, and to its alert on Kafka, under load.

    tests/bench/latency [--write]          at 10, 50 and 80 % of the most; --write: into BENCHMARKS.md; about 8 minutes
    RATE=50000 PROBE_SECONDS=60 tests/bench/latency

Load: single events, an open loop, RATE a second, or shares of the most that this machine carries: of RATES the greatest
that the producer reaches and at whose end uptake is less than half a second behind and its rows less than two. Before,
the broker is kept busy for HEAT seconds: until then its compiler alone takes half a processor. Beside the load
probes: accounts that used the product daily and have been silent for twelve days, so that SILENCE is open; ten times a
second one of them comes back, which must show in its row and close its alert. Quantity: milliseconds from the moment the
probe's event is handed to a producer to the moment a poll of Redis (each 4 ms) sees its row move, and to the moment a
read_committed consumer has its RESOLVE. No probe waits for another, so nothing is omitted while the system stalls.
Checkpoints run every CHECKPOINT seconds. Two more loads of 50 %: one during which the log's clock passes the midnight at
which all that was sent before leaves the 7 days, so that every account's row changes at once; one during which a second
process joins the group and leaves it again. Variables: RATE, PROBE_SECONDS, CHECKPOINT, ACCOUNTS.
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
from measure import asked_to_write, machine, process_cpu, publish  # noqa: E402
from support.kafka_util import Codec, Decoder, Message, consumer, produce, producer  # noqa: E402
from support.services import Kafka, Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402
from support.worker import Worker  # noqa: E402

from confluent_kafka import TopicPartition  # noqa: E402

RATE = int(os.environ.get("RATE", "0"))  # 0: shares of the most
SHARES = (1.0,) if RATE else (0.1, 0.5, 0.8)
RATES = (50_000, 75_000, 100_000, 125_000, 150_000, 200_000, 250_000)
RAMP_SECONDS = 15
HEAT = 45
HEAT_RATE = 100_000
SECONDS = int(os.environ.get("PROBE_SECONDS", "30"))
CHECKPOINT = int(os.environ.get("CHECKPOINT", "10"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "100000"))
WARM_UP = 5
PATIENCE = 30  # for the last probes: a take-over can last ten seconds
WEEK_UP = 25  # when the clock has gone ahead: its days are run first
DAY = 86_400_000
WEEK = 7
MORE = () if RATE else ("take-over", "midnight")  # at half the most; midnight comes last, since the clock does not go back
LOADS = len(SHARES) + len(MORE)
PROBES = SECONDS * 10 * LOADS


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


def quantiles(took: list[float]) -> dict[str, float]:
    took = sorted(took) or [float("nan")]
    return {name: took[min(len(took) - 1, int(share * len(took)))] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))}


def pace(services: Services, schema_id: int, rate: int, seconds: int, ahead: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [binary().parent / "tests/bench/bench_load", "pace", services.kafka.bootstrap, "usage-events", str(schema_id), str(seconds),
         str(ACCOUNTS), str(rate), str(ahead)], stdout=subprocess.PIPE, text=True)


def sent(load: subprocess.Popen[str]) -> int:
    said = load.communicate()[0]
    if load.returncode != 0:
        raise SystemExit(f"the load failed: exit {load.returncode}")
    return json.loads(said)["events"]


def carried(services: Services, uptake: Uptake, schema_id: int) -> int:
    """The most events a second that this machine carries, producer, broker and Redis included."""
    most = RATES[0]
    sent(pace(services, schema_id, HEAT_RATE, HEAT))
    for rate in RATES:
        begun = time.monotonic()
        events = sent(pace(services, schema_id, rate, RAMP_SECONDS))
        took, lag, age = time.monotonic() - begun, uptake.metric("uptake_lag_records"), uptake.metric("uptake_unpublished_age_seconds")
        print(f"{events / took:.0f} events/s of {rate}: {lag:.0f} records behind, rows {age:.1f} s", file=sys.stderr, flush=True)
        time.sleep(5)
        if events / took < 0.9 * rate or lag > rate / 2 or age >= 2:
            break
        most = rate
    return most


def to_midnight(seconds: float) -> int:
    """How far ahead the log's clock is to be for a midnight in so many seconds, a week on."""
    now = int(time.time() * 1000)
    return (now // DAY + WEEK) * DAY - now - int(seconds * 1000)


def visit(config: dict[str, object]) -> None:
    """A second process joins the group for a third of the time."""
    time.sleep(SECONDS / 3)
    second = Uptake(config, name="latency-second")
    second.start()
    time.sleep(SECONDS / 3)
    second.terminate()
    second.close()


def measure(services: Services, uptake: Uptake, alerts: Alerts, codec: Codec, names: list[str], rate: int,
            ahead: int = 0) -> dict[str, float]:
    """One load, and the probes of these names beside it."""
    rows = Rows(services)
    warm_up = WEEK_UP if ahead else WARM_UP
    load = pace(services, codec.schema_id, rate, SECONDS + warm_up, ahead)
    rows.start()
    time.sleep(warm_up)
    pids = {"load": load.pid, "broker": services.kafka.pid, "redis": services.redis.pid, "uptake": uptake.pid}
    used = {name: process_cpu(pid) for name, pid in pids.items()}
    client = producer(services.kafka.bootstrap, linger_ms=0)
    before, alerts.took = rows.seen(names), []
    begun = time.monotonic()
    for number, name in enumerate(names):
        time.sleep(max(0, begun + number * SECONDS / len(names) - time.monotonic()))
        now = time.time()
        alerts.sent[name] = now
        with rows.lock:
            rows.waiting[name] = (now, before[number])
        at = int(now * 1000) + ahead
        client.produce("usage-events", codec.encode(event(name, at)), name.encode(), timestamp=at)
        client.poll(0)
    cores = {name: (process_cpu(pid) - used[name]) / (time.monotonic() - begun) for name, pid in pids.items()}
    client.flush(10)
    events = sent(load)
    figures = {"events": events, "lag": uptake.metric("uptake_lag_records"), "missing": 0.0} | cores
    until = time.monotonic() + PATIENCE
    while (rows.waiting or alerts.sent) and time.monotonic() < until:
        time.sleep(0.1)
    rows.finish()
    for what, took, missing in (("row", rows.took, len(rows.waiting)), ("alert", alerts.took, len(alerts.sent))):
        figures |= {f"{what} {name}": value for name, value in quantiles(took).items()}
        figures["missing"] += missing
    alerts.sent.clear()
    return figures


def line(what: str, rate: int, figures: dict[str, float]) -> str:
    shown = [" ".join(f"{figures[f'{of} {name}']:.0f}" for name in ("p50", "p90", "p99", "max")) for of in ("row", "alert")]
    cores = " ".join(f"{figures[name]:.2f}" for name in ("load", "broker", "redis", "uptake"))
    return f"| {what} | {rate:,} | {shown[0]} | {shown[1]} | {figures['missing']:.0f} | {figures['lag']:.0f} | {cores} |"


def main() -> None:
    write = asked_to_write("latency")
    head = machine()
    with Services(kafka=Kafka(jit=True)) as services:
        services.kafka.create_topic("usage-events", 4, TOPIC | {"message.timestamp.after.max.ms": str(10**15)})
        text = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
        codec = Codec(text, services.registry.register("usage-events-value", text))
        produce(services.kafka.bootstrap, "usage-events", history(codec, int(time.time() * 1000)), timeout=120)
        rules = Path(tempfile.mkdtemp(prefix="uptake-latency-")) / "rules.yaml"
        rules.write_text("rules: {DATA_QUALITY: {enabled: false}}\n")  # or all probes silent at once are an outage
        config = config_for(services, {"checkpoint_interval": f"{CHECKPOINT}s", "trust_timestamps": True, "rules_file": str(rules)})
        uptake = Uptake(config, name="latency")
        uptake.start()
        alerts = Alerts(services)
        alerts.start()
        until = time.monotonic() + 180
        while len(alerts.opened) < PROBES * 0.9 and time.monotonic() < until:
            time.sleep(0.5)
        names = sorted(alerts.opened)
        if len(names) < PROBES // 2:
            raise SystemExit(uptake.tail(20))
        most = 0 if RATE else carried(services, uptake, codec.schema_id)
        lines = []
        for i, share in enumerate([*SHARES, *MORE]):
            rate, ahead, second = RATE or int(most * (0.5 if share in MORE else share)), 0, None
            if share == "take-over":
                second = threading.Thread(target=visit, args=[config])
                second.start()
            elif share == "midnight":
                ahead = to_midnight(WEEK_UP + SECONDS / 2)
            figures = measure(services, uptake, alerts, codec, names[i::LOADS], rate, ahead)
            if second is not None:
                second.join()
            what = "as asked" if RATE else f"50%, {share}" if share in MORE else f"{share:.0%} of {most:,}"
            lines.append(line(what, rate, figures))
            print(lines[-1], file=sys.stderr, flush=True)
        alerts.finish()
        uptake.close()
    head.append(f"- an open loop for {SECONDS} s, {ACCOUNTS:,} accounts, a checkpoint every {CHECKPOINT} s, {len(names) // LOADS} probes "
                "a load; producer, broker, Redis and the one that looks share the processors")
    publish("latency", [*head, "", "| load | events/s | event to row, ms: p50 p90 p99 max | event to alert, ms: p50 p90 p99 max | probes missing "
                        "| records behind at its end | processors: load, broker, Redis, `uptake` |", "|---|---|---|---|---|---|---|", *lines], write)


if __name__ == "__main__":
    main()
