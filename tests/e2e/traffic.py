"""Deterministic hostile traffic for the end-to-end tests: every verdict, batches, an evolved schema, nulls, headers.

`make(seed, count, …)` yields kafka_util.Message; `kinds` counts what was meant, so that a test can assert that each kind is there.
"""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.kafka_util import Codec, Message

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
DAY = 86_400_000
FEATURES = ["search", "export", "api", "reports", "share", "a b{c}%", "billing"]
OTHER_SCHEMA = {"type": "record", "name": "Other", "namespace": "x", "fields": [{"name": "a", "type": "int"}]}
# Another producer's version: fields in another order, some gone, some more, an int where a long is read, a new symbol.
EVOLVED_SCHEMA = {
    "type": "record", "name": "UsageEvent", "namespace": "uptake.v1",
    "fields": [
        {"name": "trace", "type": {"type": "array", "items": {"type": "fixed", "name": "Id", "size": 4}}},
        {"name": "account_id", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["LOGIN", "BRAND_NEW", "USAGE"]}},
        {"name": "occurred_at", "type": "long"},
        {"name": "quantity", "type": "int"},
        {"name": "user_id", "type": "string"},
        {"name": "feature", "type": ["string", "null"]},
        {"name": "extra", "type": ["null", {"type": "map", "values": "double"}]},
    ],
}
EVERY = (
    "usage late early duplicate batch mixed_batch evolved forget profile removed bad_key too_large bad_frame unknown_schema "
    "bad_schema bad_avro bad_account_id bad_feature bad_quantity too_late in_future"
).split()


@dataclass
class Traffic:
    registry: Any
    seed: int = 1
    accounts: int = 200
    start: int = 1_767_225_600_000
    step: int = 400  # ms of the clock a record
    kinds: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        event = (SCHEMAS / "uptake.v1.UsageEvent.avsc").read_text()
        batch = (SCHEMAS / "uptake.v1.UsageBatch.avsc").read_text()
        self.event = Codec(event, self.registry.register("usage-events-value", event))
        self.batch = Codec(batch, self.registry.register("usage-batch-value", batch))
        self.evolved = Codec(EVOLVED_SCHEMA, self.registry.register("evolved-value", EVOLVED_SCHEMA))
        nullable = json.loads(event)
        next(f for f in nullable["fields"] if f["name"] == "properties")["type"] = {"type": "map", "values": ["null", "string"]}
        self.nullable = Codec(nullable, self.registry.register("nullable-value", nullable))
        self.other = Codec(OTHER_SCHEMA, self.registry.register("other-value", OTHER_SCHEMA))
        self.random = random.Random(self.seed)
        self.recent: list[tuple[str, dict]] = []
        self.ids = 0

    def make(self, count: int) -> Iterator[Message]:
        now = self.start
        for _ in range(count):
            now += self.random.randrange(2 * self.step)
            yield self.one(now)

    def account(self) -> str:
        return f"acct-{int(self.accounts * self.random.random() ** 2)}"

    def usage(self, account: str, now: int, **over: Any) -> dict:
        rnd = self.random
        self.ids += 1
        event = {
            "event_id": f"e{self.seed}-{self.ids}" if rnd.random() < 0.8 else "",
            "occurred_at": now - rnd.randrange(60_000),
            "account_id": account,
            "user_id": f"user-{rnd.randrange(12)}" if rnd.random() < 0.9 else None,
            "kind": rnd.choices(["USAGE", "LOGIN", "VALUE", "TICKET_OPENED", "SEATS"], [80, 10, 5, 3, 2])[0],
            "feature": rnd.choice(FEATURES) if rnd.random() < 0.9 else None,
            "quantity": rnd.choice([1.0, 1.0, 2.5, 0.000001, 1234.567891, 1e9]),
            "duration_ms": rnd.choice([None, 5]),
            "properties": {},
        }
        event.update(over)
        return event

    def one(self, now: int) -> Message:
        kind = self.random.choices(EVERY, [70, 3, 2, 3, 5, 1, 3, 0.3, 2, 1] + [0.25] * 11)[0]
        self.kinds[kind] += 1
        account = self.account()
        message = getattr(self, f"make_{kind}")(account, now)
        if self.random.random() < 0.02:
            message.headers.extend([("trace", b"\x00\xff"), ("uptake.reason", b"old"), ("empty", b"")])
        return message

    def framed(self, account: str, now: int, **over: Any) -> Message:
        event = self.usage(account, now, **over)
        self.recent = self.recent[-50:] + [(account, event)]
        return self.message(account, self.event.encode(event), now)

    @staticmethod
    def message(account: Any, value: Any, now: int) -> Message:
        key = account.encode() if isinstance(account, str) else account
        return Message(key=key, value=value, timestamp=now, headers=[])

    def make_usage(self, account: str, now: int) -> Message:
        return self.framed(account, now)

    def make_late(self, account: str, now: int) -> Message:
        return self.framed(account, now, occurred_at=now - self.random.randrange(28 * DAY))

    def make_early(self, account: str, now: int) -> Message:
        return self.framed(account, now, occurred_at=now + self.random.randrange(290_000))

    def make_duplicate(self, account: str, now: int) -> Message:
        if not self.recent:
            return self.make_usage(account, now)
        account, event = self.random.choice(self.recent)
        return self.message(account, self.event.encode(event), now)

    def make_batch(self, account: str, now: int) -> Message:
        events = [self.usage(account, now) for _ in range(self.random.randrange(0, 20))]
        if len(events) > 3:
            events[2] = dict(events[0])
        return self.message(account, self.batch.encode({"events": events}), now)

    def make_mixed_batch(self, account: str, now: int) -> Message:
        events = [self.usage(account, now) for _ in range(6)]
        events[1].update(kind="USAGE", feature="_no")
        events[4].update(occurred_at=now - 40 * DAY)
        return self.message(account, self.batch.encode({"events": events}), now)

    def make_evolved(self, account: str, now: int) -> Message:
        event = {
            "trace": [b"1234"] * self.random.randrange(3), "account_id": account,
            "kind": self.random.choice(["LOGIN", "BRAND_NEW", "USAGE"]), "occurred_at": now, "quantity": 3,
            "user_id": "user-1", "feature": self.random.choice([None, "api"]), "extra": {"x": 1.5},
        }
        return self.message(account, self.evolved.encode(event), now)

    def make_forget(self, account: str, now: int) -> Message:
        return self.message(account, None, now)

    def make_profile(self, account: str, now: int) -> Message:
        rnd = self.random
        properties = {
            "segment": rnd.choice(["smb", "enterprise", ""]), "tier": rnd.choice(["1", "2"]), "plan": "pro",
            "seats": rnd.choice(["10", "many", "2.5"]), "renewal_date": rnd.choice(["2026-06-30", "soon"]),
        }
        if rnd.random() < 0.5:
            return self.framed(account, now, kind="PROFILE", feature=None, properties=properties)
        event = self.usage(account, now, kind="PROFILE", feature=None, properties={**properties, "segment": account})
        return self.message(account, self.nullable.encode(event), now)

    def make_removed(self, account: str, now: int) -> Message:
        return self.framed(account, now, kind="USER_REMOVED")

    def make_bad_key(self, account: str, now: int) -> Message:
        value = None if self.random.random() < 0.3 else self.event.encode(self.usage(account, now))
        return self.message(self.random.choice([None, b"", b"x" * 257, b"\xff\xfe"]), value, now)

    def make_too_large(self, account: str, now: int) -> Message:
        if self.random.random() < 0.5:
            return self.message(account, b"\0" * (1_048_576 + 1), now)
        return self.message(account, struct.pack(">bI", 0, self.batch.schema_id) + b"\x80\x80\x80\x80\x10", now)

    def make_bad_frame(self, account: str, now: int) -> Message:
        return self.message(account, self.random.choice([b"", b"\0\0\0", b"\x01\0\0\0\x01abc"]), now)

    def make_unknown_schema(self, account: str, now: int) -> Message:
        return self.message(account, struct.pack(">bI", 0, 999_999) + b"abc", now)

    def make_bad_schema(self, account: str, now: int) -> Message:
        return self.message(account, self.other.encode({"a": 1}), now)

    def make_bad_avro(self, account: str, now: int) -> Message:
        good = self.event.encode(self.usage(account, now))
        return self.message(account, self.random.choice([good[:-3], good + b"x", good[:6]]), now)

    def make_bad_account_id(self, account: str, now: int) -> Message:
        return self.message(account, self.event.encode(self.usage("somebody-else", now)), now)

    def make_bad_feature(self, account: str, now: int) -> Message:
        feature = self.random.choice(["", "_x", "f" * 129])
        return self.framed(account, now, kind="USAGE", feature=feature, event_id="")

    def make_bad_quantity(self, account: str, now: int) -> Message:
        quantity = self.random.choice([float("nan"), float("inf"), -1.0, 1.1e9])
        return self.framed(account, now, kind="USAGE", feature="api", quantity=quantity)

    def make_too_late(self, account: str, now: int) -> Message:
        return self.framed(account, now, occurred_at=now - 31 * DAY)

    def make_in_future(self, account: str, now: int) -> Message:
        return self.framed(account, now, occurred_at=now + 400_000)
