"""Minutes that the wall ran at the end of the log: their places are recorded, and a replay runs them there.

What comes after such a minute with an older timestamp is judged and counted by that minute's clock, so the row shows whether a
process that died and replays knew the place.
"""

from __future__ import annotations

import json
import time
import unittest

from support.kafka_util import Codec, Message, produce
from support.process import wait_until
from support.services import Services
from support.uptake_proc import Uptake, config_for

from e2e.test_exact import INPUT
from e2e.traffic import SCHEMAS

MINUTE = 60_000
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
                wait_until(f"the row at {offset}", lambda: int(redis.hget("uptake:account:{a}", "offset") or -1) >= offset, 30)
                return redis.hgetall("uptake:account:{a}")

            def clock() -> int:
                return json.loads(redis.hget("uptake:partitions", "0") or "{}").get("as_of", 0)

            config = config_for(services, CONFIG)
            with Uptake(config, name="wall") as uptake:
                now = int(time.time() * 1000)
                row_at(put(now, now))
                wait_until("a minute of the wall", lambda: clock() > now, 75)
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


if __name__ == "__main__":
    unittest.main()
