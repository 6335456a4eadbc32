"""Minutes that the wall ran at the end of the log: their places are recorded, and a replay runs them there.

What comes after such a minute with an older timestamp is judged and counted by that minute's clock, so the row shows whether a
process that died and replays knew the place. And a storm of its own: processes that are killed while nothing comes in decide
at those minutes exactly what one decides that is left alone. Needs UPTAKE_CRASH_POINTS. WALL_KILLS=30 for the long run.
"""

from __future__ import annotations

import json
import os
import random
import time
import unittest
from collections import Counter

from support.kafka_util import Codec, Decoder, Message, produce, read_topic
from support.process import wait_until
from support.services import Services
from support.uptake_proc import Uptake, config_for

from e2e.test_exact import INPUT
from e2e.traffic import SCHEMAS

MINUTE = 60_000
DAY = 86_400_000
ACCOUNTS = 200
KILLS = int(os.environ.get("WALL_KILLS", "7"))
POINTS = ("walltick.before publisher.begin.after publisher.produce.after publisher.flush.after publisher.offsets.after "
          "publisher.commit.after checkpoint.flush.after checkpoint.commit.after view.exec.after").split()
CONFIG = {"clock": "wall", "tick_grace": "1s", "threads": 1, "checkpoint_interval": "10m", "flush_interval": "200ms"}


class Wall(unittest.TestCase):
    def test_replay_runs_minutes_where_they_were(self) -> None:
        with Services() as services:
            services.kafka.create_topic("usage-events", 1, INPUT)
            schema = (SCHEMAS / "uptake.v1.UsageEvent.avsc").read_text()
            codec = Codec(schema, services.registry.register("usage-events-value", schema))
            redis = services.redis.client()

            def put(ts: int, occurred_at: int) -> int:
                event = {"event_id": "", "occurred_at": occurred_at, "account_id": "a", "user_id": "u", "kind": "USAGE",
                         "feature": "f", "quantity": 1.0, "duration_ms": None, "properties": {}}
                message = Message(key=b"a", value=codec.encode(event), timestamp=ts)
                return produce(services.kafka.bootstrap, "usage-events", [message])[0].offset

            def row_at(offset: int) -> dict:
                wait_until(f"the row at {offset}", lambda: int(redis.hget("uptake:account:{a}", "offset") or -1) >= offset, 60)
                return redis.hgetall("uptake:account:{a}")

            def clock() -> int:
                return json.loads(redis.hget("uptake:partitions", "0") or "{}").get("as_of", 0)

            config = config_for(services, CONFIG)
            with Uptake(config, name="wall") as uptake:
                now = int(time.time() * 1000)
                row_at(put(now, now))
                wait_until("a minute of the wall", lambda: clock() > now, 120)
                minute = clock()
                self.assertEqual(minute % MINUTE, 0)
                self.assertGreaterEqual(time.time() * 1000, minute + 1000, "before tick_grace was over")
                offset = put(minute - 1000, minute + 1000)
                self.assertEqual(int(row_at(offset)["last_seen"]), minute)
                uptake.kill9()
            with Uptake(config, name="wall-again"):
                offset = put(minute - 1000, minute - 2000)
                row = row_at(offset)
                self.assertEqual(int(row["last_seen"]), minute, "the replay did not run the minute where it was")
                self.assertEqual(row["events_1h"], "3")

    def history(self, codec: Codec, now: int) -> list[Message]:
        """Accounts with a day, some days or a week between two uses, which end 4 to 40 days ago."""
        chance = random.Random(5)
        made = []
        for number in range(ACCOUNTS):
            account, every, end = f"quiet-{number}", chance.choice([1, 1, 3, 7]), chance.uniform(4, 40)
            for use in range(12):
                at = now - int((end + every * use) * DAY) + chance.randrange(3_600_000)
                event = {"event_id": "", "occurred_at": at, "account_id": account, "user_id": "u", "kind": "USAGE", "feature": "f",
                         "quantity": 1.0, "duration_ms": None, "properties": {}}
                made.append((at, account, event))
        made.sort(key=lambda one: one[:2])
        return [Message(account.encode(), codec.encode(event), timestamp=at) for at, account, event in made]

    def decided(self, services: Services, name: str, until: int) -> Counter:
        """Alerts and health records up to a clock, what names the group left out."""
        decoder, found = Decoder(services.registry.schema), Counter()
        for kind in ("health", "alerts"):
            for message in read_topic(services.kafka.bootstrap, f"{name}-{kind}"):
                value = dict(decoder.decode(message.value))
                clock = value["as_of"] if kind == "health" else value["changed_at"]
                if clock <= until:
                    value.pop("detected_at", None)
                    found[(kind, message.key, json.dumps(value, sort_keys=True, default=str))] += 1
        return found

    def test_killed_while_idle(self) -> None:
        with Services() as services:
            services.kafka.create_topic("usage-events", 4, INPUT)
            schema = (SCHEMAS / "uptake.v1.UsageEvent.avsc").read_text()
            codec = Codec(schema, services.registry.register("usage-events-value", schema))
            redis, now = services.redis.client(), int(time.time() * 1000)
            produce(services.kafka.bootstrap, "usage-events", self.history(codec, now))

            def config(name: str) -> dict:
                return config_for(services, {
                    **CONFIG, "group": name, "state_topic": f"{name}-state", "redis": {"prefix": f"{name}:"},
                    "checkpoint_interval": "2s", "trust_timestamps": True,
                    "output": {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}})

            def clock(name: str) -> int:
                """Up to where all partitions are decided and shown."""
                entries = redis.hgetall(f"{name}:partitions")
                return min((json.loads(v).get("as_of", 0) for v in entries.values()), default=0) if len(entries) == 4 else 0

            kills: Counter = Counter()
            chance = random.Random(7)
            while sum(kills.values()) < KILLS:
                rest = [p for p in POINTS if not kills[p]] or list(POINTS)
                point = rest[0] if sum(kills.values()) < 3 else chance.choice(rest)
                uptake = Uptake(config("storm"), name="storm", env={"UPTAKE_CRASH": f"{point}:{chance.randrange(1, 3)}"})
                uptake.launch()
                until = time.monotonic() + 12
                while uptake.running and time.monotonic() < until:
                    time.sleep(0.05)
                if uptake.running:
                    kills["random"] += 1
                    uptake.kill9()
                else:
                    self.assertIn(f"crash point {point}", uptake.tail(3), f"ended by itself:\n{uptake.tail(30)}")
                    kills[point] += 1
                uptake.close()
            with Uptake(config("storm"), name="storm-end"), Uptake(config("calm"), name="calm"):
                wait_until("both at the wall's minute", lambda: min(clock("storm"), clock("calm")) > now, 150)
                until = min(clock("storm"), clock("calm"))
            storm, calm = self.decided(services, "storm", until), self.decided(services, "calm", until)
            alerts = sum(n for (kind, _, _), n in calm.items() if kind == "alerts")
            print(f"\n{dict(kills)}; {alerts} transitions of alerts, {sum(calm.values()) - alerts} health records")
            self.assertGreater(alerts, ACCOUNTS // 2)
            self.assertEqual(storm - calm, Counter(), "what one that is left alone does not decide")
            self.assertEqual(calm - storm, Counter(), "missing")


if __name__ == "__main__":
    unittest.main()
