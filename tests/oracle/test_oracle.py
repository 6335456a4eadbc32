"""Tiny logs whose expected values are worked out by hand.

python -m unittest test_oracle        (fastavro is used for cross-checks where it is installed)
"""

from __future__ import annotations

import io
import json
import random
import struct
import unittest
from pathlib import Path
from typing import Any, Optional

import oracle
from avro_simple import BadAvro, BadSchema, TooLarge, decode, parse_schema, resolver
from oracle import DAY, HOUR, MINUTE, Config, Partition

try:
    import fastavro
except ImportError:
    fastavro = None

NOON = 20_000 * DAY + 12 * HOUR  # 12:00 UTC of day 20,000


def event(at: int, kind: str = "USAGE", **fields: Any) -> dict:
    defaults = {"event_id": "", "account_id": "a", "user_id": None, "feature": None, "quantity": 1.0, "properties": {}}
    return {**defaults, "occurred_at": at, "kind": kind, **fields}


class Log:
    """A partition with its offsets counted for you."""

    def __init__(self, **config: Any) -> None:
        self.partition = Partition(Config(**config))
        self.offset = -1

    def add(self, ts: int, *events: dict, key: str = "a") -> list[str]:
        self.offset += 1
        return self.partition.decoded(self.offset, ts, key, list(events))

    def one(self, at: int, kind: str = "USAGE", **fields: Any) -> str:
        """An event that arrives when it happens."""
        return self.add(at, event(at, kind, **fields))[0]

    def forget(self, ts: int, key: str = "a") -> None:
        self.offset += 1
        self.partition.forget(self.offset, ts, key)

    def row(self, as_of: Optional[int] = None, key: str = "a", offset: Optional[int] = None) -> Optional[dict]:
        clock = self.partition.clock if as_of is None else as_of
        return self.partition.account_row(key, self.offset if offset is None else offset, clock)

    def sums(self) -> tuple[dict, dict]:
        features, totals = self.partition.sums()
        return {n: oracle.feature_row(f, totals) for n, f in features.items()}, oracle.totals_row(totals)


class Windows(unittest.TestCase):
    def test_hour_edge(self) -> None:
        log = Log()
        log.one(NOON + 59_999)  # last millisecond of minute M
        # A window of 60 buckets at bucket B holds B-60 < b <= B: the event is in until B = M+60.
        self.assertEqual(log.row(NOON + 60 * MINUTE - 1)["events_1h"], "1")
        self.assertEqual(log.row(NOON + 60 * MINUTE)["events_1h"], "0")

    def test_longer_edges(self) -> None:
        log = Log()
        log.one(NOON + HOUR - 1)  # in hour 12 of day 20,000
        for window, end in (("24h", NOON + 24 * HOUR), ("7d", 20_007 * DAY), ("30d", 20_030 * DAY)):
            self.assertEqual(log.row(end - 1)[f"events_{window}"], "1", window)
            self.assertEqual(log.row(end)[f"events_{window}"], "0", window)

    def test_next_change_walks_through_the_windows(self) -> None:
        log = Log()
        log.one(NOON + 1)
        as_of, changes = NOON + 1, []
        while "next_change" in log.row(as_of):
            as_of = int(log.row(as_of)["next_change"])
            changes.append(as_of)
        self.assertEqual(changes, [NOON + HOUR, NOON + 24 * HOUR, 20_007 * DAY, 20_030 * DAY])

    def test_no_next_change_without_counters(self) -> None:
        log = Log()
        log.one(NOON, "VALUE")  # without a user it is in no field of the row
        self.assertNotIn("next_change", log.row())

    def test_value_counts_its_user_only(self) -> None:
        log = Log()
        log.one(NOON, "VALUE", user_id="u", quantity=5.0)
        row = log.row()
        self.assertEqual(
            (row["events_30d"], row["units_30d"], row["users_24h"], row["features_30d"]), ("0", "0", "1", "0")
        )
        self.assertEqual(row["next_change"], str(NOON + 24 * HOUR))

    def test_late_event_counts_where_it_belongs(self) -> None:
        log = Log()
        log.one(NOON)
        self.assertEqual(log.add(NOON, event(NOON - 2 * DAY, "LOGIN")), ["ok"])
        row = log.row()
        self.assertEqual([row[f"logins_{w}"] for w in oracle.WINDOWS], ["0", "0", "1", "1"])
        self.assertEqual((row["first_seen"], row["last_seen"]), (str(NOON - 2 * DAY), str(NOON)))

    def test_record_behind_the_clock_counts_by_the_clock(self) -> None:
        log = Log()
        log.one(NOON)
        log.add(NOON - 3 * DAY, event(NOON - 3 * DAY))
        self.assertEqual(log.partition.clock, NOON)
        self.assertEqual(log.row()["events_24h"], "1")
        self.assertEqual(log.row()["events_7d"], "2")

    def test_negative_times(self) -> None:
        log = Log()
        log.one(-1)  # minute -1, hour -1, day -1
        self.assertEqual(log.row()["next_change"], str(59 * MINUTE))
        self.assertEqual(log.row(59 * MINUTE - 1)["events_1h"], "1")
        self.assertEqual(log.row(29 * DAY - 1)["events_30d"], "1")
        self.assertEqual(log.row(29 * DAY)["events_30d"], "0")

    def test_next_change_is_exact(self) -> None:
        # Nothing but time passes, so counters only fall: equal just before means equal all the way.
        rng = random.Random(2)
        for _ in range(200):
            log = Log()
            for _ in range(rng.randrange(1, 8)):
                at = NOON + rng.randrange(40) * rng.choice([MINUTE, HOUR, DAY])
                log.add(at, event(at, rng.choice(oracle.ACTIVITY), user_id=rng.choice([None, "u", "v"]), quantity=0.0))
            events, config = log.partition.alive["a"].events, log.partition.config
            as_of = log.partition.clock
            while (change := oracle.next_change(events, as_of, config)) is not None:
                now, before, after = (oracle.changing_fields(events, c, config) for c in (as_of, change - 1, change))
                self.assertTrue(now == before != after)
                as_of = change
            self.assertEqual(*(oracle.changing_fields(events, c, config) for c in (as_of, as_of + 60 * DAY)))

    def test_row_of_an_earlier_position(self) -> None:
        log = Log()
        log.one(NOON)
        log.one(NOON + MINUTE)
        self.assertEqual(log.row(NOON, offset=0)["events_1h"], "1")
        self.assertIsNone(log.row(NOON, offset=-1))


class Verdicts(unittest.TestCase):
    def test_future(self) -> None:
        log = Log()
        log.one(NOON + DAY)  # the clock is ahead; the verdict uses ts all the same
        self.assertEqual(log.add(NOON, event(NOON + 5 * MINUTE)), ["ok"])
        self.assertEqual(log.add(NOON, event(NOON + 5 * MINUTE + 1)), ["in_future"])

    def test_future_event_counts_at_the_clock(self) -> None:
        log = Log()
        log.add(NOON, event(NOON + 5 * MINUTE))
        self.assertEqual(log.row()["last_seen"], str(NOON))

    def test_too_late(self) -> None:
        log = Log()
        self.assertEqual(log.add(NOON, event(19_971 * DAY)), ["ok"])  # day 20,000 - 29
        self.assertEqual(log.add(NOON, event(19_971 * DAY - 1)), ["too_late"])

    def test_too_late_comes_before_in_future(self) -> None:
        log = Log()
        log.one(NOON)
        old = NOON - 40 * DAY  # the record is old, its event is after it by more than 5 min
        self.assertEqual(log.add(old, event(old + HOUR)), ["too_late"])

    def test_wall_tick_makes_late(self) -> None:
        partition = Partition(Config(), [(0, NOON + 30 * DAY)])
        self.assertEqual(partition.decoded(0, NOON, "a", [event(NOON)]), ["ok"])
        self.assertEqual(partition.decoded(1, NOON, "a", [event(NOON)]), ["too_late"])

    def test_features(self) -> None:
        log = Log()
        verdicts = [log.one(NOON, feature=f) for f in (None, "", "_x", "x" * 128, "x" * 129, "é" * 64, "é" * 65)]
        bad = "bad_feature"
        self.assertEqual(verdicts, ["ok", bad, bad, "ok", bad, "ok", bad])
        self.assertEqual(log.one(NOON, "VALUE", feature="_x"), "ok")

    def test_quantities(self) -> None:
        nan, inf, bad = float("nan"), float("inf"), "bad_quantity"
        for kind, expected in (
            ("USAGE", ["ok", "ok", bad, bad, bad, bad]),
            ("VALUE", ["ok", "ok", bad, bad, bad, bad]),
            ("SURVEY", ["ok", "ok", "ok", "ok", bad, bad]),
        ):
            log = Log()
            self.assertEqual([log.one(NOON, kind, quantity=q) for q in (-0.0, 1e9, 1e9 + 1, -1.0, nan, inf)], expected)

    def test_order_of_reasons(self) -> None:
        log = Log()
        self.assertEqual(log.one(NOON, feature="", quantity=-1.0), "bad_feature")
        self.assertEqual(log.add(NOON, event(0, quantity=-1.0)), ["bad_quantity"])

    def test_rejected_event_leaves_no_account(self) -> None:
        log = Log()
        log.one(NOON, feature="")
        self.assertIsNone(log.row())

    def test_batch_with_another_account(self) -> None:
        log = Log()
        verdicts = log.add(NOON, event(NOON, feature=""), event(NOON), event(NOON, account_id="b"))
        self.assertEqual(verdicts, ["bad_account_id"] * 3)
        self.assertIsNone(log.row())


class Dedup(unittest.TestCase):
    def test_chain(self) -> None:
        # Window 10 min. At 9 the id of 0 is known: duplicate, not refreshed. At 18 it is older than 10 min.
        log = Log()
        verdicts = [log.one(NOON + m * MINUTE, event_id="x") for m in (0, 9, 18, 27)]
        self.assertEqual(verdicts, ["ok", "duplicate", "ok", "duplicate"])
        self.assertEqual(log.row()["events_1h"], "2")

    def test_edge(self) -> None:
        # Accepted at c: a duplicate while c > clock - window, so at c + window it is none any more.
        log = Log()
        verdicts = [log.one(NOON + d, event_id="x") for d in (0, 10 * MINUTE - 1, 10 * MINUTE)]
        self.assertEqual(verdicts, ["ok", "duplicate", "ok"])

    def test_by_the_clock_not_the_event_time(self) -> None:
        log = Log()
        log.add(NOON, event(NOON - DAY, event_id="x"))
        self.assertEqual(log.add(NOON + MINUTE, event(NOON, event_id="x")), ["duplicate"])

    def test_within_a_batch_and_empty_ids(self) -> None:
        log = Log()
        self.assertEqual(
            log.add(NOON, *[event(NOON, event_id="x")] * 2, *[event(NOON)] * 2), ["ok", "duplicate", "ok", "ok"]
        )

    def test_rejected_id_is_not_remembered(self) -> None:
        log = Log()
        self.assertEqual(
            log.add(NOON, event(NOON, event_id="x", feature=""), event(NOON, event_id="x")), ["bad_feature", "ok"]
        )

    def test_bound(self) -> None:
        # Ids 0 … 4096 are 4,097: 0 is pushed out, 1 is still known. Then 0 pushes 1 out.
        log = Log()
        log.add(NOON, *[event(NOON, event_id=str(i)) for i in range(4097)])
        self.assertEqual([log.one(NOON, event_id=i) for i in ("1", "0", "1")], ["duplicate", "ok", "ok"])

    def test_per_account(self) -> None:
        log = Log()
        log.one(NOON, event_id="x")
        self.assertEqual(log.add(NOON, event(NOON, event_id="x", account_id="b"), key="b"), ["ok"])

    def test_duplicate_changes_nothing(self) -> None:
        log = Log()
        log.one(NOON, event_id="x")
        log.one(NOON + 1, "LOGIN", event_id="x", user_id="u")
        row = log.row()
        self.assertEqual((row["last_seen"], row["logins_1h"], row["users_total"]), (str(NOON), "0", "0"))


class Users(unittest.TestCase):
    def test_removed(self) -> None:
        log = Log()
        log.one(NOON, user_id="u")
        log.one(NOON, "SIGNUP", user_id="v")
        log.one(NOON, "USER_REMOVED", user_id="u")
        row = log.row()
        self.assertEqual((row["users_total"], row["users_30d"]), ("1", "1"))  # v; u stays in the window
        log.one(NOON, "SURVEY", user_id="u")
        self.assertEqual(log.row()["users_total"], "2")

    def test_removed_before_seen_and_empty(self) -> None:
        log = Log()
        log.one(NOON, "USER_REMOVED", user_id="u")
        log.one(NOON, user_id="")
        self.assertEqual(log.row()["users_total"], "0")
        self.assertNotIn("adoption_rate", log.row())

    def test_adoption(self) -> None:
        log = Log()
        for day in range(3):  # u: days 20,000 to 20,002; v: two days and a LOGIN
            log.one(NOON + day * DAY, user_id="u")
            log.one(NOON + day * DAY, "LOGIN" if day == 1 else "VALUE", user_id="v")
        self.assertEqual(log.row()["adoption_rate"], "0.5")
        # The last 28 days lose day 20,000 when day 20,028 begins.
        self.assertEqual(log.row(20_028 * DAY - 1)["adoption_rate"], "0.5")
        self.assertEqual(log.row(20_028 * DAY)["adoption_rate"], "0")
        self.assertEqual(log.row(20_027 * DAY)["next_change"], str(20_028 * DAY))

    def test_removed_user_is_not_adopted(self) -> None:
        log = Log()
        for day in range(3):
            log.one(NOON + day * DAY, user_id="u")
        log.one(NOON + 2 * DAY, user_id="v")
        log.one(NOON + 2 * DAY, "USER_REMOVED", user_id="u")
        self.assertEqual(log.row()["adoption_rate"], "0")


class Profile(unittest.TestCase):
    def test_last_in_the_log_wins(self) -> None:
        log = Log()
        log.add(NOON, event(NOON, "PROFILE", properties={"seats": "10", "tier": "gold", "segment": "smb"}))
        log.add(NOON, event(NOON - DAY, "SEATS", quantity=20.5))  # older, but later in the log
        row = log.row()
        self.assertEqual((row["seats"], row["tier"], row["segment"]), ("20.5", "gold", "smb"))
        log.one(NOON, "PROFILE", properties={"seats": "7", "tier": ""})
        self.assertEqual(log.row()["seats"], "7")
        self.assertNotIn("tier", log.row())

    def test_seats_that_are_no_number(self) -> None:
        log = Log()
        log.one(NOON, "SEATS", quantity=3.0)
        for text in ("many", " 4", "0x10", "nan", "1e400", "4 "):
            log.one(NOON, "PROFILE", properties={"seats": text})
            self.assertEqual(log.row()["seats"], "3")
        log.one(NOON, "PROFILE", properties={"seats": ""})
        self.assertEqual(log.row()["seats"], "3")

    def test_seat_utilisation(self) -> None:
        log = Log()
        for user in "uvw":
            log.one(NOON, user_id=user)
        for seats, share in ((4.0, "0.75"), (7.0, "0.428571"), (2.0, "1"), (3.0, "1"), (0.0, None), (-5.0, None)):
            log.one(NOON, "SEATS", quantity=seats)
            self.assertEqual(log.row().get("seat_utilisation"), share, seats)
        self.assertEqual(log.row()["seats"], "-5")


class Units(unittest.TestCase):
    def units(self, *quantities: float) -> str:
        log = Log()
        for quantity in quantities:
            log.one(NOON, quantity=quantity)
        return log.row()["units_1h"]

    def test_text(self) -> None:
        self.assertEqual(self.units(0.1, 0.2), "0.3")
        self.assertEqual(self.units(-0.0), "0")
        self.assertEqual(self.units(100.0), "100")
        self.assertEqual(self.units(1e9, 1e9, 0.000001), "2000000000.000001")

    def test_ties_to_even(self) -> None:
        # 2**-7 = 0.0078125 is exact, its product 7812.5 too: to 7812. 3 * 2**-7 gives 23437.5: to 23438.
        self.assertEqual(self.units(2**-7), "0.007812")
        self.assertEqual(self.units(3 * 2**-7), "0.023438")
        self.assertEqual(self.units(2**-7, 2**-7), "0.015624")  # each is rounded, then summed


class Forgetting(unittest.TestCase):
    def test_forget_and_rebirth(self) -> None:
        log = Log()
        log.one(NOON, user_id="u", feature="f", event_id="x")  # offset 0
        log.forget(NOON + 1)  # offset 1
        self.assertIsNone(log.row())
        features, totals = log.sums()
        self.assertEqual(
            (features["f"]["events_30d"], features["f"]["users_30d"], features["f"]["accounts_30d"]), ("1", "0", "0")
        )
        self.assertNotIn("depth", features["f"])  # of no users at all
        self.assertEqual((totals["events_1h"], totals["users_total"], totals["accounts_total"]), ("1", "0", "0"))
        self.assertEqual(log.one(NOON + 2, "LOGIN", event_id="x", user_id="v"), "ok")  # offset 2: the id was deleted
        row = log.row()
        self.assertEqual((row["events_1h"], row["logins_1h"], row["users_total"]), ("0", "1", "1"))
        self.assertEqual(row["first_seen"], str(NOON + 2))
        self.assertEqual(log.row(NOON, offset=0)["events_1h"], "1")
        self.assertIsNone(log.row(NOON + 1, offset=1))
        _, totals = log.sums()
        self.assertEqual((totals["events_1h"], totals["logins_1h"], totals["accounts_30d"]), ("1", "1", "1"))

    def test_flows_of_a_forgotten_account_pass(self) -> None:
        log = Log()
        log.one(NOON, feature="f")
        log.forget(NOON)
        log.add(NOON + HOUR)  # an empty batch moves the clock
        features, totals = log.sums()
        self.assertEqual((features["f"]["events_1h"], features["f"]["events_24h"]), ("0", "1"))
        self.assertEqual((totals["events_1h"], totals["events_24h"]), ("0", "1"))

    def test_retention(self) -> None:
        # Last event at 12:00:30, retention 1 h: the first tick not before 13:00:30 is 13:01.
        log = Log(retention=HOUR)
        log.one(NOON + 30_000, event_id="x")
        log.one(NOON + 40_000, event_id="x")  # a duplicate does not count
        log.add(NOON + 61 * MINUTE - 1)
        self.assertIsNotNone(log.row())
        log.add(NOON + 61 * MINUTE)
        self.assertIsNone(log.row())
        self.assertNotIn("a", log.partition.alive)
        self.assertIsNotNone(log.row(NOON + 61 * MINUTE - 1, offset=2))
        self.assertIsNone(log.row(NOON + 61 * MINUTE, offset=2))

    def test_ticks_run_before_the_record(self) -> None:
        log = Log(retention=HOUR)
        log.one(NOON, user_id="u")
        log.one(NOON + 2 * HOUR, user_id="v")  # forgotten by a tick on the way, then born anew
        self.assertEqual((log.row()["users_total"], log.row()["first_seen"]), ("1", str(NOON + 2 * HOUR)))

    def test_retention_by_a_wall_tick(self) -> None:
        partition = Partition(Config(retention=HOUR), [(0, NOON + HOUR)])
        partition.decoded(0, NOON, "a", [event(NOON)])
        partition.finish()
        self.assertEqual((partition.clock, list(partition.alive)), (NOON + HOUR, []))


class Sums(unittest.TestCase):
    def test_features_and_totals(self) -> None:
        log = Log()
        log.one(NOON - DAY, feature="f", user_id="u", quantity=0.5)
        log.one(NOON, feature="f", user_id="u", quantity=2.0)
        log.one(NOON, feature="g", user_id="v")
        log.one(NOON)
        log.add(NOON, event(NOON, "LOGIN", user_id="u", account_id="b"), key="b")
        log.add(NOON, event(NOON, "SIGNUP", user_id="w", account_id="c"), key="c")
        features, totals = log.sums()
        self.assertEqual(log.partition.features_hash("a", log.offset, NOON), {"f": "2", "g": "1"})
        self.assertEqual((totals["events_30d"], totals["units_30d"], totals["logins_1h"]), ("4", "4.5", "1"))
        # Active accounts are a and b; users in 30d a/u, a/v, b/u; known users also c/w.
        self.assertEqual((totals["accounts_30d"], totals["accounts_total"]), ("2", "3"))
        self.assertEqual((totals["users_30d"], totals["users_total"]), ("3", "4"))
        f = features["f"]
        self.assertEqual(
            (f["events_24h"], f["events_7d"], f["units_7d"], f["users_30d"], f["accounts_30d"]),
            ("1", "2", "2.5", "1", "1"),
        )
        self.assertEqual((f["adoption_rate"], f["depth"], f["reach"]), ("0.25", "0.333333", "0.5"))

    def test_share_above_one(self) -> None:
        log = Log()
        log.one(NOON, feature="f", user_id="u")
        log.one(NOON, feature="f", user_id="v")
        log.one(NOON, "USER_REMOVED", user_id="v")
        features, totals = log.sums()
        self.assertEqual(totals["users_total"], "1")
        self.assertEqual(features["f"]["adoption_rate"], "1")  # 2 of 1


class Keys(unittest.TestCase):
    def test_percent_encoding(self) -> None:
        self.assertEqual(
            oracle.account_key("uptake:", "a {b}%\x7f\n\x00é"), "uptake:account:{a%20%7Bb%7D%25%7F%0A%00é}".encode()
        )
        self.assertEqual(oracle.features_key("u:", "a"), b"u:account:{a}:features")
        self.assertEqual(oracle.feature_key("u:", "x:y"), b"u:feature:{x:y}")


# ---------------------------------------------------------------- encoded records


def long(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def string(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return long(len(data)) + data


LEAN = json.dumps(  # occurred_at, account_id, feature
    {
        "type": "record",
        "name": "uptake.v1.UsageEvent",
        "fields": [
            {"name": "occurred_at", "type": "long"},
            {"name": "account_id", "type": "string"},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["USAGE", "NEWER"]}},
            {"name": "feature", "type": ["null", "string", "int"]},
        ],
    }
)
LEAN_BATCH = json.dumps(
    {
        "type": "record",
        "name": "uptake.v1.UsageBatch",
        "fields": [{"name": "events", "type": {"type": "array", "items": json.loads(LEAN)}}],
    }
)
BY_NAME = json.dumps({**json.loads(LEAN_BATCH), "fields": [{"name": "events", "type": {"type": "array", "items": oracle.EVENT}}]})
SCHEMAS = {
    1: [LEAN], 2: [LEAN_BATCH], 3: ['"string"'], 4: ["{"], 5: [LEAN.replace("account_id", "account")],
    6: [BY_NAME, LEAN], 7: [BY_NAME],
}  # fmt: skip


def lean(at: int, account: str = "a", feature: Optional[str] = None) -> bytes:
    return long(at) + string(account) + long(0) + (long(0) if feature is None else long(1) + string(feature))


def lean_batch(*events: bytes) -> bytes:
    return (long(len(events)) + b"".join(events) if events else b"") + long(0)


def framed(schema_id: int, data: bytes) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + data


class Records(unittest.TestCase):
    def setUp(self) -> None:
        self.partition = Partition(Config(partition=3, max_batch_events=4, max_record_bytes=1000))
        self.offset = 0

    def send(
        self, value: Optional[bytes], key: Optional[bytes] = b"a", headers: oracle.Headers = ()
    ) -> oracle.Outcome:
        self.offset += 1
        return self.partition.record(self.offset, NOON, key, value, list(headers), SCHEMAS.get)

    def reason(self, value: Optional[bytes], key: Optional[bytes] = b"a") -> Optional[str]:
        dead = self.send(value, key).dead
        return dead and dead.reason

    def schema_id(self, value: bytes) -> Optional[bytes]:
        return dict(self.send(value).dead.headers).get("uptake.schema_id")

    def test_good(self) -> None:
        self.assertEqual(self.send(framed(1, lean(NOON))), oracle.Outcome(["ok"]))
        self.assertEqual(self.send(framed(2, lean_batch())), oracle.Outcome([]))

    def test_keys(self) -> None:
        for key in (None, b"", b"\xff", b"k" * 257):
            self.assertEqual(self.reason(framed(1, lean(NOON)), key), "bad_key")
            self.assertEqual(self.reason(None, key), "bad_key")
        self.assertIsNone(self.reason(None, b"k" * 256))

    def test_reasons(self) -> None:
        good = lean(NOON)
        for value, expected in (
            (framed(1, b"x" * 996), "too_large"),
            (b"", "bad_frame"),
            (b"\x00\x00\x00\x00", "bad_frame"),
            (b"\x01" + framed(1, good)[1:], "bad_frame"),
            (framed(99, good), "unknown_schema"),
            (framed(3, good), "bad_schema"),
            (framed(4, good), "bad_schema"),
            (framed(5, good), "bad_schema"),
            (framed(1, b""), "bad_avro"),
            (framed(1, good + b"\x00"), "bad_avro"),
            (framed(1, good[:-1]), "bad_avro"),
            (framed(1, lean(NOON, b"\xff")), "bad_avro"),
            (framed(1, lean(NOON, b"\xed\xa0\x80")), "bad_avro"),  # a surrogate
            (framed(1, long(NOON) + long(-1)), "bad_avro"),
            (framed(1, long(NOON) + string("a") + long(2) + long(0)), "bad_avro"),  # enum index
            (
                framed(1, long(NOON) + string("a") + long(0) + long(2) + long(7)),
                "bad_avro",
            ),  # a branch not in the reader
            (framed(1, lean(NOON, "b")), "bad_account_id"),
            (framed(1, lean(NOON, feature="_")), "bad_feature"),
            (framed(1, lean(0)), "too_late"),
            (framed(1, lean(NOON + HOUR)), "in_future"),
        ):
            self.assertEqual(self.reason(value), expected, value)

    def test_length_limit(self) -> None:
        self.assertEqual(self.reason(framed(1, b"\x80" * 995)), "bad_avro")  # 1,000 bytes are not over it

    def test_newer_kind(self) -> None:
        self.send(framed(1, long(NOON) + string("a") + long(1) + long(0)))
        self.assertEqual(self.partition.alive["a"].events[0].kind, "OTHER")

    def test_batch_limits(self) -> None:
        one = lean(NOON)
        self.assertIsNone(self.reason(framed(2, lean_batch(*[one] * 4))))
        self.assertEqual(self.reason(framed(2, lean_batch(*[one] * 5))), "too_large")
        self.assertEqual(self.reason(framed(2, long(5))), "too_large")  # before the items are read
        two_blocks = long(3) + one * 3 + long(2) + b"rubbish"
        self.assertEqual(self.reason(framed(2, two_blocks)), "too_large")
        self.assertEqual(self.reason(framed(2, long(3) + b"\xff")), "bad_avro")
        sized = long(-2) + long(2 * len(one)) + one * 2 + long(0)
        self.assertEqual(self.send(framed(2, sized)).verdicts, ["ok", "ok"])

    def test_batch_with_mixed_faults(self) -> None:
        events = [lean(NOON), lean(NOON, feature="_"), lean(NOON + HOUR), lean(NOON)]
        outcome = self.send(framed(2, lean_batch(*events)))
        self.assertEqual(outcome.verdicts, ["ok", "bad_feature", "in_future", "ok"])
        headers = dict(outcome.dead.headers)
        self.assertEqual((headers["uptake.reason"], headers["uptake.events"]), (b"bad_feature", b"1,2"))
        self.assertEqual(self.partition.account_row("a", self.offset, NOON)["events_1h"], "2")

    def test_batch_dead_as_a_whole(self) -> None:
        outcome = self.send(framed(2, lean_batch(lean(NOON, feature="_"), lean(NOON, "b"))))
        self.assertEqual(outcome.dead.reason, "bad_account_id")
        self.assertNotIn("uptake.events", dict(outcome.dead.headers))

    def test_headers(self) -> None:
        headers = [("x", b"1"), ("uptake.reason", b"old"), ("uptake.events", b"0"), ("x", None), ("uptake.note", b"")]
        value = framed(1, lean(NOON, feature="_"))
        dead = self.send(value, headers=headers).dead
        self.assertEqual((dead.key, dead.value), (b"a", value))
        self.assertEqual(
            dead.headers,
            [
                *(("x", b"1"), ("x", None), ("uptake.note", b"")),
                ("uptake.reason", b"bad_feature"),
                ("uptake.detail", b""),
                ("uptake.topic", b"usage-events"),
                ("uptake.partition", b"3"),
                ("uptake.offset", b"1"),
                ("uptake.timestamp", str(NOON).encode()),
                ("uptake.schema_id", b"1"),
            ],
        )

    def test_schema_id(self) -> None:
        self.assertEqual(self.schema_id(framed(99, b"")), b"99")
        self.assertEqual(self.schema_id(framed(2, long(5))), b"2")
        self.assertEqual(self.schema_id(framed(1, b"")), b"1")
        self.assertIsNone(self.schema_id(framed(1, b"x" * 996)))
        self.assertIsNone(self.schema_id(b"\x01\x00\x00\x00\x01"))

    def test_dead_record_moves_the_clock(self) -> None:
        self.send(framed(1, lean(NOON - HOUR)))
        self.partition.record(9, NOON + HOUR, None, None, [], SCHEMAS.get)
        self.assertEqual(self.partition.clock, NOON + HOUR)

    def test_schema_with_references(self) -> None:
        self.assertEqual(self.send(framed(6, lean_batch(lean(NOON), lean(NOON)))).verdicts, ["ok", "ok"])
        self.assertEqual(self.reason(framed(7, lean_batch(lean(NOON)))), "bad_schema")

    def test_bare_avro(self) -> None:
        self.partition = Partition(Config(framing="none", schema=LEAN))
        self.assertEqual(self.send(lean(NOON)).verdicts, ["ok"])
        self.assertIsNone(self.schema_id(lean(NOON, feature="_")))


# ---------------------------------------------------------------- Avro


def read(writer: Any, reader: Any, data: bytes, **limits: int) -> Any:
    plan = resolver(parse_schema(json.dumps(writer)), parse_schema(json.dumps(reader)))
    return decode(data, plan, **limits)


def record(*fields: dict, name: str = "R") -> dict:
    return {"type": "record", "name": name, "fields": list(fields)}


class Avro(unittest.TestCase):
    def test_promotions(self) -> None:
        self.assertEqual(read("int", "long", long(7)), 7)
        for writer in ("int", "long"):
            value = read(writer, "double", long(7))
            self.assertEqual((value, type(value)), (7.0, float))
        self.assertEqual(
            read("float", "double", struct.pack("<f", 0.1)), struct.unpack("<f", struct.pack("<f", 0.1))[0]
        )
        self.assertEqual(read("bytes", "string", string("é")), "é")
        self.assertEqual(read("string", "bytes", string("é")), "é".encode())
        for writer, reader in (
            ("long", "int"),
            ("double", "long"),
            ("string", "long"),
            ("boolean", "int"),
            ("null", "string"),
        ):
            self.assertRaises(BadSchema, read, writer, reader, b"\x00")

    def test_varints(self) -> None:
        self.assertEqual(read("long", "long", long(-(2**63))), -(2**63))
        self.assertEqual(read("long", "long", b"\xff" * 9 + b"\x01"), -(2**63))
        for data in (b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x00", b"\x80", b""):
            self.assertRaises(BadAvro, read, "long", "long", data)
        self.assertRaises(BadAvro, read, "int", "long", long(2**31))

    def test_booleans(self) -> None:
        self.assertIs(read("boolean", "boolean", b"\x01"), True)
        self.assertRaises(BadAvro, read, "boolean", "boolean", b"\x02")

    def test_unions(self) -> None:
        self.assertEqual(read("string", ["null", "string"], string("x")), "x")
        self.assertEqual(read(["int", "string"], "string", long(1) + string("x")), "x")
        self.assertEqual(read(["null", "int"], ["null", "long"], long(1) + long(5)), 5)
        self.assertRaises(BadAvro, read, ["int", "string"], "string", long(0) + long(1))
        self.assertRaises(BadAvro, read, ["null", "string"], "string", long(2))
        self.assertRaises(BadAvro, read, ["null", "string"], "string", long(-1))
        self.assertRaises(BadSchema, read, ["null", "boolean"], "string", long(0))
        self.assertRaises(BadSchema, read, [], "string", long(0))

    def test_enums(self) -> None:
        writer = {"type": "enum", "name": "n.E", "symbols": ["A", "B"]}
        reader = {"type": "enum", "name": "m.E", "symbols": ["B", "X"], "default": "X"}
        self.assertEqual([read(writer, reader, long(i)) for i in (0, 1)], ["X", "B"])
        self.assertRaises(BadAvro, read, writer, reader, long(2))
        self.assertRaises(BadAvro, read, writer, {**reader, "default": None}, long(0))
        self.assertRaises(BadSchema, read, {**writer, "name": "F"}, reader, long(0))

    def test_unknown_fields_are_skipped(self) -> None:
        node = record({"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Node"]}, name="Node")
        kinds: list[tuple[Any, bytes]] = [
            ({"type": "fixed", "name": "F", "size": 3}, b"abc"),
            ({"type": "enum", "name": "E", "symbols": ["A"]}, long(0)),
            ({"type": "array", "items": "string"}, long(1) + string("x") + long(-1) + long(2) + string("y") + long(0)),
            ({"type": "map", "values": "double"}, long(1) + string("k") + b"\x00" * 8 + long(0)),
            (["null", "bytes"], long(1) + string("z")),
            (node, long(1) + long(1) + long(2) + long(0)),
            ({"type": "array", "items": "null"}, long(2**62) + long(0)),
            ("boolean", b"\x01"),
            ("float", b"\x00" * 4),
        ]
        writer = record(
            *[{"name": f"f{i}", "type": kind} for i, (kind, _) in enumerate(kinds)], {"name": "x", "type": "int"}
        )
        data = b"".join(part for _, part in kinds) + long(5)
        self.assertEqual(read(writer, record({"name": "x", "type": "long"}), data), {"x": 5})
        for cut in range(len(data)):
            self.assertRaises(BadAvro, read, writer, record({"name": "x", "type": "long"}), data[:cut])

    def test_skipped_values_are_checked(self) -> None:
        for kind, data in (
            ("string", string(b"\xff")),
            ("boolean", b"\x02"),
            ({"type": "map", "values": "null"}, long(1) + string(b"\xff") + long(0)),
        ):
            self.assertRaises(BadAvro, read, record({"name": "f", "type": kind}), record(), data)

    def test_block_sizes(self) -> None:
        items = {"type": "array", "items": "int"}
        self.assertEqual(read(items, items, long(-2) + long(2) + long(1) + long(2) + long(0)), [1, 2])
        for size in (1, 3, -1, 100):
            self.assertRaises(BadAvro, read, items, items, long(-2) + long(size) + long(1) + long(2) + long(0))

    def test_depth(self) -> None:
        def nested(levels: int) -> Any:
            return {"type": "array", "items": nested(levels - 1)} if levels else "int"

        def data(levels: int) -> bytes:
            return (long(1) + data(levels - 1) + long(0)) if levels else long(7)

        self.assertEqual(read(nested(3), nested(3), data(3), max_depth=3), [[[7]]])
        self.assertRaises(TooLarge, read, nested(4), nested(4), data(4), max_depth=3)
        endless = record({"name": "f", "type": record({"name": "r", "type": "N"}, name="N")})
        self.assertRaises(TooLarge, read, endless, record(), b"")  # no bytes, no end

    def test_schemas_that_cannot_be_parsed(self) -> None:
        for schema in (
            1,
            "nope",
            {"type": "record", "name": "R"},
            {"type": "array"},
            ["int", "int"],
            [["int"]],
            record(name="1"),
            {"type": "fixed", "name": "F", "size": -1},
            record({"name": "x", "type": "int"}, {"name": "x", "type": "int"}),
        ):
            self.assertRaises(BadSchema, parse_schema, json.dumps(schema))

    def test_namespaces(self) -> None:
        inner = {"type": "fixed", "name": "F", "size": 1}
        schema = parse_schema(
            json.dumps({**record({"name": "a", "type": inner}, {"name": "b", "type": "n.F"}), "namespace": "n"})
        )
        self.assertEqual((schema.fullname, schema.fields[1].schema.fullname), ("n.R", "n.F"))

    def test_names_of_other_schemas(self) -> None:
        fixed = {"type": "fixed", "name": "F", "size": 1}
        outer = {**record({"name": "f", "type": fixed}, {"name": "g", "type": "F"}, name="Outer"), "namespace": "n"}
        main = json.dumps(record({"name": "a", "type": "n.F"}, {"name": "b", "type": ["null", "n.Outer"]}))
        schema = parse_schema(main, [json.dumps(outer)])
        inner, branch = schema.fields[0].schema, schema.fields[1].schema.branches[1]
        self.assertEqual((inner.fullname, branch.fullname), ("n.F", "n.Outer"))
        self.assertEqual([f.schema for f in branch.fields], [inner, inner])
        self.assertRaises(BadSchema, parse_schema, main)
        self.assertRaises(BadSchema, parse_schema, main, [json.dumps({**outer, "namespace": "other"})])


def reader_schema() -> dict:
    """The schema of a UsageEvent, occurred_at as a bare long: fastavro makes a date of the other."""
    folder = next(p / "schemas" for p in Path(__file__).resolve().parents if (p / "schemas").is_dir())
    schema = json.loads((folder / f"{oracle.EVENT}.avsc").read_text())
    for field in schema["fields"]:
        field["type"] = "long" if field["name"] == "occurred_at" else field["type"]
    return schema


@unittest.skipIf(fastavro is None, "fastavro is not installed")
class AgainstFastavro(unittest.TestCase):
    """Random events in the reader's own schema and in writers' schemas near to it."""

    def random_event(self, rng: random.Random) -> dict:
        return {
            "event_id": rng.choice(["", "é", "x" * 200]),
            "occurred_at": rng.randrange(-(2**63), 2**63),
            "account_id": "a",
            "user_id": rng.choice([None, "", "u"]),
            "kind": rng.choice(["USAGE", "OTHER", "CHURNED"]),
            "feature": rng.choice([None, "f"]),
            "quantity": rng.choice([0.0, -1.5, 1e300, 3.0]),
            "duration_ms": rng.choice([None, 0, -(2**31), 2**31 - 1]),
            "properties": {str(i): "v" * i for i in range(rng.randrange(4))},
        }

    def writers(self) -> list[dict]:
        def without(*names: str) -> list[dict]:
            return [f for f in reader_schema()["fields"] if f["name"] not in names]

        base = reader_schema()
        more = {"name": "more", "type": {"type": "array", "items": ["null", "double"]}, "default": []}
        return [
            {**base, "fields": without()},
            {**base, "fields": without("event_id", "kind", "properties", "user_id")},
            {**base, "fields": [more] + without("quantity") + [{"name": "quantity", "type": "float"}]},
            {**base, "fields": without("duration_ms") + [{"name": "duration_ms", "type": ["int", "null"]}]},
            {**base, "fields": without("feature") + [{"name": "feature", "type": ["bytes", "null"]}]},
        ]

    def test_same_values(self) -> None:
        rng = random.Random(1)
        for schema in self.writers():
            writer, reader = fastavro.parse_schema(schema), fastavro.parse_schema(reader_schema())
            plan = resolver(parse_schema(json.dumps(schema)), oracle.READERS[oracle.EVENT])
            for _ in range(200):
                value = {**self.random_event(rng), "more": [None, 2.0]}
                if {"name": "feature", "type": ["bytes", "null"]} in schema["fields"] and value["feature"]:
                    value["feature"] = value["feature"].encode()
                if {"name": "quantity", "type": "float"} in schema["fields"]:
                    value["quantity"] = 0.1
                out = io.BytesIO()
                fastavro.schemaless_writer(out, writer, value)
                out.seek(0)
                expected = fastavro.schemaless_reader(out, writer, reader)
                self.assertEqual(decode(out.getvalue(), plan), expected)


if __name__ == "__main__":
    unittest.main()
