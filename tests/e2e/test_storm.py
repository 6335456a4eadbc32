"""Kill storm: two processes, kill -9 at crash points and at random instants, while traffic comes in; then rows and dead letters
against the oracle, and outputs against a run without kills.

Needs a build with UPTAKE_CRASH_POINTS in UPTAKE_BIN. KILLS=100 EVENTS=2000000 ACCOUNTS=20000 for the long run.
"""

from __future__ import annotations

import json
import os
import random
import time
import unittest
from collections import Counter

from support.kafka_util import Decoder, end_offsets, produce, read_topic
from support.services import Services
from support.uptake_proc import Uptake, config_for
from support.worker import Worker

from e2e.test_exact import INPUT, PARTITIONS, until_end, verify
from e2e.traffic import Traffic
from e2e.watch import Watch

EVENTS = int(os.environ.get("EVENTS", "40000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "400"))
KILLS = int(os.environ.get("KILLS", "26"))
SEED = int(os.environ.get("SEED", "1"))
POINTS = (
    "publisher.begin.after publisher.produce.after publisher.flush.after publisher.offsets.after publisher.commit.after "
    "checkpoint.begin.after checkpoint.produce.after checkpoint.flush.after checkpoint.offsets.after "
    "checkpoint.commit.after restore.read restore.done restore.seek.after view.take.before view.take.after view.exec.before "
    "view.exec.after view.sums.before"
).split()
SEGMENTS = {
    "busy": {"when": {"field": "events_24h", "from": 3}},
    "api": {"when": {"all": [{"feature": "api", "from": 1, "within": 1}, {"not": {"trait": "tier", "is": "2"}}]}},
    "idle": {"when": {"any": [{"field": "users_7d", "to": 1}, {"field": "login_age_days", "known": False}]}},
}
CONFIG = {"clock": "log", "checkpoint_interval": "2s", "threads": 1, "flush_interval": "300ms"}


CLEAN = {"group": "clean", "state_topic": "clean-state", "redis": {"prefix": "clean:"},
         "output": {"health_topic": "clean-health", "alerts_topic": "clean-alerts", "dead_topic": "clean-dead"}}


def outputs(services: Services, health: str, alerts: str) -> Counter:
    """Committed output records, the time of detection left out."""
    decoder = Decoder(services.registry.schema)
    found: Counter = Counter()
    for topic in (health, alerts):
        for message in read_topic(services.kafka.bootstrap, topic):
            value = None if message.value is None else dict(decoder.decode(message.value))
            if value is not None:
                value.pop("detected_at", None)
            found[(topic == health, message.key, json.dumps(value, sort_keys=True, default=str))] += 1
    return found


class Storm(unittest.TestCase):
    def feed(self, services: Services, traffic: Traffic, seconds: float) -> Worker:
        """Produces all of the traffic, spread over about so many seconds."""
        def work() -> None:
            messages = list(traffic.make(EVENTS))
            step = max(1, EVENTS // 50)
            for at in range(0, EVENTS, step):
                produce(services.kafka.bootstrap, "usage-events", messages[at : at + step], message_max_bytes=3_000_000)
                time.sleep(seconds / 50)

        worker = Worker(work)
        worker.start()
        return worker

    def test_kills(self) -> None:
        rnd = random.Random(SEED)
        hit: Counter = Counter()
        with Services() as services:
            services.kafka.create_topic("usage-events", PARTITIONS, INPUT)
            traffic = Traffic(services.registry, accounts=ACCOUNTS, seed=SEED)
            feeder = self.feed(services, traffic, KILLS * 1.5)
            watch = Watch(services)
            watch.start()
            processes: list[Uptake] = []
            rules = services.redis.dir / "rules.yaml"
            rules.write_text(json.dumps({"segments": SEGMENTS}))  # JSON is YAML
            with_rules = {**CONFIG, "rules_file": str(rules)}
            config = config_for(services, with_rules)

            def start(index: int, point: str | None) -> Uptake:
                env = {"UPTAKE_CRASH": f"{point}:{rnd.randrange(1, 4)}"} if point else {}
                process = Uptake(config, name=f"storm{index}", env=env)
                process.point = point
                process.launch()
                return process

            processes = [start(i, rnd.choice(POINTS)) for i in range(2)]
            kills = 0
            deadline = time.monotonic() + KILLS * 15
            while kills < KILLS and time.monotonic() < deadline:
                time.sleep(0.05)
                for i, process in enumerate(processes):
                    age = time.monotonic() - getattr(process, "born", time.monotonic())
                    if not hasattr(process, "born"):
                        process.born = time.monotonic()
                    if process.running and age < 8.0:
                        continue
                    if process.running:
                        process.kill9()
                        hit["random"] += 1
                    else:
                        line = process.tail(3)
                        self.assertIn("crash point", line, f"ended by itself:\n{process.tail(30)}")
                        hit[process.point] += 1
                    process.close()
                    kills += 1
                    rest = [p for p in POINTS if not hit[p]] or POINTS
                    processes[i] = start(i, rnd.choice(rest) if rnd.random() < 0.85 else None)
            for process in processes:
                process.kill9()
                process.close()
            feeder.finish(KILLS * 15)
            self.assertEqual(sum(end_offsets(services.kafka.bootstrap, "usage-events").values()), EVENTS)
            seconds = until_end(services, "storm-end", **with_rules)
            watch.finish()
            print(f"\n{kills} kills: {dict(hit)}; end reached in {seconds:.1f} s; {verify(services)}")
            self.assertGreaterEqual(kills, KILLS)
            if KILLS >= 3 * len(POINTS):
                self.assertEqual([p for p in POINTS if not hit[p]], [], "crash points that were never hit")
            until_end(services, "storm-clean", **{**with_rules, **CLEAN})
            redis = services.redis.client()
            for name in SEGMENTS:
                got, want = (redis.smembers(f"{prefix}segment:{{{name}}}") for prefix in ("uptake:", "clean:"))
                self.assertEqual(got, want, f"members of {name}")
                self.assertTrue(want, name)
            got, want = outputs(services, "account-health", "churn-alerts"), outputs(services, "clean-health", "clean-alerts")
            print(f"{sum(want.values())} health records and alert transitions without kills, {sum(got.values())} with them")
            self.assertGreater(sum(want.values()), 0)
            self.assertEqual(got - want, Counter(), "records that a run without kills does not have")
            self.assertEqual(want - got, Counter(), "records that are missing")


if __name__ == "__main__":
    unittest.main()
