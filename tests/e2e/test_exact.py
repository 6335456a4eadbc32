"""Exactness on real Kafka, registry and Redis: every row and dead letter against the oracle.

EVENTS=200000 ACCOUNTS=20000 for the long run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path
from urllib.error import HTTPError

from support.fakes import Registry as FakeRegistry
from support.kafka_util import Message, produce
from support.services import Services
from support.uptake_proc import Uptake, config_for

from e2e.traffic import EVERY, Traffic

ORACLE = Path(__file__).resolve().parents[1] / "oracle" / "verify_redis.py"
sys.path.insert(0, str(ORACLE.parent))

import verify_redis  # noqa: E402

EVENTS = int(os.environ.get("EVENTS", "40000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "400"))
PARTITIONS = 8
INPUT = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1",
         "max.message.bytes": "2000000"}


def verify(services: Services, *extra: str) -> str:
    """Runs the oracle over what is in Kafka and Redis; its summary, or an AssertionError with the differences."""
    run = subprocess.run(
        [sys.executable, str(ORACLE), "--bootstrap", services.kafka.bootstrap, "--registry", services.registry.url,
         "--redis-port", str(services.redis.port), *extra],
        capture_output=True, text=True, timeout=1200,
    )
    if run.returncode != 0:
        raise AssertionError(run.stdout[-6000:] + run.stderr[-3000:])
    return run.stdout


def until_end(services: Services, name: str, timeout: float = 600, **over: object) -> float:
    """One `run --until-end`; how long it took."""
    begun = time.monotonic()
    uptake = Uptake(config_for(services, {"clock": "log", **over}), name=name, args=["--until-end"])
    try:
        uptake.launch()
        code = uptake.wait(timeout)
        if code != 0:
            raise AssertionError(f"exit {code}\n" + uptake.tail(40))
    finally:
        uptake.close()
    return time.monotonic() - begun


class Exact(unittest.TestCase):
    def test_rows_and_dead_letters(self) -> None:
        with Services() as services:
            services.kafka.create_topic("usage-events", PARTITIONS, INPUT)
            traffic = Traffic(services.registry, accounts=ACCOUNTS)
            produce(services.kafka.bootstrap, "usage-events", traffic.make(EVENTS), message_max_bytes=3_000_000)
            for kind in EVERY:
                self.assertGreaterEqual(traffic.kinds[kind], 10, f"too little of {kind}: {traffic.kinds}")
            seconds = until_end(services, "exact")
            print(f"\n{EVENTS} records in {seconds:.1f} s; {verify(services)}")

    def test_more_features_than_a_frame_holds(self) -> None:
        with Services() as services:
            services.kafka.create_topic("usage-events", 1, INPUT)
            traffic = Traffic(services.registry)
            events = [{"event_id": "", "occurred_at": traffic.start, "account_id": "wide", "user_id": "u", "kind": "USAGE",
                       "feature": f"feature-{n}", "quantity": 1.0, "duration_ms": None, "properties": {}} for n in range(9000)]
            records = [Message(b"wide", traffic.batch.encode({"events": events[at : at + 1000]}), timestamp=traffic.start)
                       for at in range(0, 9000, 1000)]
            produce(services.kafka.bootstrap, "usage-events", records)
            until_end(services, "wide", timeout=60, flush_interval="1h")  # the end of the log is not waited for
            self.assertEqual(services.redis.client().hlen("uptake:account:{wide}:features"), 9000)
            verify(services)

    def test_properties_written_anew(self) -> None:
        """Records are decoded 32 ahead; those of the writer's map of nullable strings lie in memory of the decoder."""
        with Services() as services:
            services.kafka.create_topic("usage-events", 1, INPUT)
            traffic = Traffic(services.registry)
            records = [
                traffic.message(account, traffic.nullable.encode(
                    traffic.usage(account, traffic.start, kind="PROFILE", properties={"tier": account, "x": "x" * n})),
                    traffic.start)
                for n, account in ((n, f"acct-{n}") for n in range(200))
            ]
            produce(services.kafka.bootstrap, "usage-events", records)
            until_end(services, "anew", timeout=60)
            self.assertEqual(services.redis.client().hget("uptake:account:{acct-100}", "tier"), "acct-100")
            verify(services)

    def test_schemas_with_references(self) -> None:
        """A batch that names its event, which names its kind: three subjects. The oracle counts it too."""
        with Services() as services:
            services.kafka.create_topic("usage-events", 1, INPUT)
            traffic, registry = Traffic(services.registry), services.registry
            event, batch = json.loads(traffic.event.text), json.loads(traffic.batch.text)
            kind = next(field for field in event["fields"] if field["name"] == "kind")
            registry.register("kind", {**kind["type"], "namespace": "uptake.v1"})
            kind["type"] = "uptake.v1.Kind"
            registry.register("event", event, [{"name": "uptake.v1.Kind", "subject": "kind", "version": 1}])
            batch["fields"][0]["type"]["items"] = "uptake.v1.UsageEvent"
            traffic.batch.schema_id = registry.register("batch", batch, [{"name": "uptake.v1.UsageEvent", "subject": "event", "version": 1}])
            produce(services.kafka.bootstrap, "usage-events", [traffic.make_batch("a", traffic.start) for _ in range(20)])
            until_end(services, "references", timeout=60)
            self.assertGreater(int(services.redis.client().hget("uptake:account:{a}", "events_30d")), 20)
            verify(services)


class Registries(unittest.TestCase):
    def test_no_such_schema(self) -> None:
        """Only 40403 says so to the oracle: any other refusal would make its verdicts wrong."""
        stub = FakeRegistry()
        self.addCleanup(stub.close)
        stub.answers["/schemas/ids/2"] = (404, b'{"error_code":40401,"message":"Subject not found"}')
        stub.answers["/schemas/ids/3"] = (422, b'{"error_code":42201,"message":"Invalid schema"}')
        lookup = verify_redis.Registry(stub.url)
        self.assertIsNone(lookup(1))
        for number in (2, 3):
            with self.assertRaises(HTTPError):
                lookup(number)


if __name__ == "__main__":
    unittest.main()
