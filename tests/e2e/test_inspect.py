"""The inspecting commands as a user uses them, after a small exact run: check, show, top, dead-letters, forget, verify.

One set of services for all; the tests run in the order of their numbers, those that change something last.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata
import unittest
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.kafka_util import Decoder, Message, end_offsets, produce, producer, read_topic
from support.process import wait_until
from support.services import Redis, Services
from support.uptake_proc import Result, Uptake, binary, config_for, merged, run, to_yaml

from e2e.test_exact import INPUT, until_end
from e2e.traffic import DAY, Traffic

EX_OK, DIFFERS, EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_CONFIG = 0, 1, 64, 65, 69, 78
PARTITIONS = 3
EVENTS = 6000
STEP = 600_000  # ms of the clock a record: 41 days in all
PASSWORD = "sec%ret/pass"


class Quiet(Traffic):
    """Hostile traffic, and accounts used every day that fall silent: those make alerts."""

    def with_silence(self, count: int) -> Iterator[Message]:
        day = 0
        for message in self.make(count):
            while message.timestamp > self.start + day * DAY:
                if day < 26:
                    for account in range(4):
                        yield self.usual_day(f"quiet-{account}", self.start + day * DAY)
                day += 1
            yield message

    def usual_day(self, account: str, now: int) -> Message:
        events = [self.usage(account, now, occurred_at=now, user_id=f"user-{n % 5}", kind="USAGE", feature="api",
                             quantity=1.0, event_id="") for n in range(12)]
        return self.message(account, self.batch.encode({"events": events}), now)


class Inspect(unittest.TestCase):
    """Services, traffic and one run, shared."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(redis=Redis(requirepass=PASSWORD))
        cls.services.start()
        cls.addClassCleanup(cls.services.stop)
        folder = TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.services.kafka.create_topic("usage-events", PARTITIONS, INPUT)
        cls.traffic = Quiet(cls.services.registry, accounts=60, step=STEP, seed=11)
        cls.produce(cls.traffic.with_silence(EVENTS))
        cls.count()

    @classmethod
    def produce(cls, messages: Any, topic: str = "usage-events") -> None:
        produce(cls.services.kafka.bootstrap, topic, messages, message_max_bytes=3_000_000)

    @classmethod
    def count(cls) -> None:
        until_end(cls.services, "inspect", threads=1)

    @classmethod
    def config(cls, over: Any = None) -> str:
        """A configuration file like that of the run."""
        path = cls.folder / "uptake.yaml"
        path.write_text(to_yaml(config_for(cls.services, {"clock": "log", "threads": 1, **(over or {})})))
        return str(path)

    def uptake(self, *args: str, code: int = EX_OK, over: Any = None) -> Result:
        result = run(*args, "-c", self.config(over), timeout=120)
        self.assertEqual(result.code, code, f"{args}: {result.out[-2000:]}{result.err[-2000:]}")
        return result

    def topic(self, name: str) -> list[Message]:
        return read_topic(self.services.kafka.bootstrap, name)

    @property
    def redis(self) -> Any:
        return self.services.redis.client()

    # ---- check

    def test_01_check(self) -> None:
        result = self.uptake("check")
        for about in ("configuration", "scoring", "kafka", "topics", "redis", "registry"):
            self.assertRegex(result.out, rf"(?m)^ok +{about} ", result.out)
        self.assertIn(f"usage-events has {PARTITIONS} partitions", result.out)
        self.assertNotRegex(result.out, r"(?m)^error")
        self.masked(result)
        got = json.loads(self.uptake("check", "--json").out)
        self.assertEqual((got["ok"], got["errors"]), (True, 0))
        self.assertIn("clock: log", got["configuration"].replace('"', ""))
        self.masked(self.uptake("check", "--json", over={"kafka": {"sasl.password": PASSWORD}}))

    def masked(self, result: Result) -> None:
        for secret in (PASSWORD, "sec%25ret", "sec%ret", "ret%2Fpass"):
            self.assertNotIn(secret, result.out + result.err)
        self.assertIn("***", result.out)

    def test_02_check_finds(self) -> None:
        away = self.uptake("check", code=EX_UNAVAILABLE, over={"kafka": {"bootstrap.servers": "127.0.0.1:1"}})
        self.assertRegex(away.out, r"(?m)^error topics +\S")
        self.assertRegex(away.out, r"(?m)^ok +redis ")
        refused = self.uptake("check", code=EX_UNAVAILABLE, over={"redis": {"password": "wrong-one"}})
        self.assertRegex(refused.out, r"(?m)^error redis +.*WRONGPASS")
        self.assertRegex(refused.out, r"(?m)^ok +topics ")
        self.assertNotIn("wrong-one", refused.out + refused.err)

    def test_02_check_refuses_a_replica(self) -> None:
        replica = Redis(requirepass=PASSWORD, config={"replicaof": f"127.0.0.1 {self.services.redis.port}"})
        self.addCleanup(replica.stop)
        replica.start()
        refused = self.uptake("check", code=EX_CONFIG, over={"redis": {"url": replica.url}})
        self.assertRegex(refused.out, r"(?m)^error redis +is a replica, which refuses writes: redis.url must name its primary$")
        replica.client().config_set("replica-read-only", "no")
        self.assertNotIn("is a replica", self.uptake("check", over={"redis": {"url": replica.url}}).out)

    def test_03_check_refuses_wide_timestamps(self) -> None:
        self.services.kafka.create_topic("wide", 1, {**INPUT, "message.timestamp.after.max.ms": "172800000"})
        over = {"input": {"topic": "wide"}}
        refused = self.uptake("check", code=EX_CONFIG, over=over)
        self.assertRegex(refused.out, r"(?m)^error topics ")
        self.assertIn("kafka-configs.sh --bootstrap-server " + self.services.kafka.bootstrap, refused.out)
        self.assertIn("--entity-name wide --add-config message.timestamp.after.max.ms=", refused.out)
        trusted = self.uptake("check", code=EX_CONFIG, over={**over, "trust_timestamps": True})
        self.assertNotIn("kafka-configs.sh", trusted.out)  # what is left: the state topic has other partitions
        self.assertIn("uptake-state", trusted.out)

    # ---- show, top

    def test_04_show(self) -> None:
        row = self.redis.hgetall("uptake:account:{quiet-1}")
        self.assertGreater(int(row["users_total"]), 0)
        got = json.loads(self.uptake("show", "quiet-1", "--json").out)
        self.assertEqual(got["account"], "quiet-1")
        for name, value in row.items():
            shown = got["row"][name]
            self.assertEqual(shown if isinstance(shown, str) else float(shown),
                             value if isinstance(shown, str) else float(value), name)
        self.assertEqual(set(got["row"]), set(row))
        features = self.redis.hgetall("uptake:account:{quiet-1}:features")
        self.assertEqual(got["features"], {name: int(days) for name, days in features.items()})
        self.assertEqual(len(got["alerts"]), int(row["open_alerts"]))
        self.assertEqual(got["health"]["band"], row["health_band"])
        text = self.uptake("show", "quiet-1").out
        self.assertRegex(text, rf"(?m)^events .* {row['events_30d']}$")
        self.assertIn(row["health_band"], text)
        unknown = self.uptake("show", "nobody", code=EX_DATAERR)
        self.assertEqual(unknown.err.strip(), "uptake show: Redis has no account nobody")

    def test_05_top(self) -> None:
        ranks = self.redis.zrevrange("uptake:rank:churn_risk", 0, 4, withscores=True)
        self.assertEqual(len(ranks), 5)
        got = json.loads(self.uptake("top", "--json", "--limit", "5").out)
        self.assertEqual([(row["account"], row["churn_risk_30d"]) for row in got], ranks)
        for row in got:
            stored = self.redis.hgetall(f"uptake:account:{{{row['account']}}}")
            self.assertEqual(str(row["events_7d"]), stored["events_7d"])
            self.assertEqual(row["health_band"], stored["health_band"])

    def frame(self, rows: int, columns: int) -> list[str]:
        """The lines of a frame of `top` on a terminal of this size."""
        main, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        shown = b""
        with subprocess.Popen([str(binary()), "top", "-c", self.config()], stdin=subprocess.DEVNULL, stdout=end, stderr=end) as top:
            os.close(end)
            while shown.count(b"\033[2J") < 2 and select.select([main], [], [], 20)[0]:
                shown += os.read(main, 65536)
            top.terminate()
            while select.select([main], [], [], 0.2)[0]:
                try:
                    os.read(main, 65536)
                except OSError:
                    break
        os.close(main)
        return shown.split(b"\033[H\033[2J")[1].decode().replace("\r\n", "\n").split("\n")

    def test_05_top_on_a_terminal(self) -> None:
        names = {"\u65e5\u672c\u8a9e\u306e\u4f1a\u793e" * 3: 0.9991, "caf\u0065\u0301 \U0001f680": 0.9992, "\u00e9" * 40: 0.9993}
        self.redis.zadd("uptake:rank:churn_risk", names)
        self.addCleanup(self.redis.zrem, "uptake:rank:churn_risk", *names)
        width = lambda line: sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in line)  # noqa: E731
        for rows, columns, last in ((24, 80, "EVENTS 7D"), (10, 40, "RISK"), (24, 200, "SEGMENT")):
            lines = self.frame(rows, columns)
            self.assertLessEqual(len(lines), rows)
            self.assertEqual([line for line in lines if width(line) > columns], [])
            self.assertRegex(lines[1], rf"^ACCOUNT .*{last} *$")
            self.assertTrue(lines[2].startswith("\u00e9" * 28 + "  99.9%"), lines)
            self.assertTrue(lines[4].startswith("\u65e5\u672c\u8a9e\u306e\u4f1a\u793e" * 2 + "\u65e5\u672c  99.9%"), lines)
            for line in lines[2:5]:
                self.assertEqual(width(line[:line.index("%") + 1]), 35, line)

    # ---- dead letters

    def test_06_dead_letters_list(self) -> None:
        letters = self.topic("usage-events-dead")
        reasons = Counter(letter.header("uptake.reason") for letter in letters)
        self.assertGreaterEqual(len(reasons), 11, reasons)
        got = json.loads(self.uptake("dead-letters", "list", "--json").out)
        self.assertEqual(Counter(letter["reason"] for letter in got), reasons)
        want = {(str(m.header("uptake.partition")), str(m.header("uptake.offset")), m.header("uptake.events"))
                for m in letters}
        self.assertEqual({(str(g["input_partition"]), str(g["input_offset"]), g["events"]) for g in got}, want)
        one = json.loads(self.uptake("dead-letters", "list", "--json", "--reason", "in_future").out)
        self.assertEqual(len(one), reasons["in_future"])
        places = [(letter["partition"], letter["offset"]) for letter in got]
        self.assertGreater(len({partition for partition, _ in places}), 1)
        self.assertEqual(places, sorted(places))
        head, *lines = self.uptake("dead-letters", "list", "--limit", "3").out.splitlines()
        self.assertTrue(head.split()[0].isupper(), head)
        self.assertEqual([tuple(map(int, line.split()[:2])) for line in lines], places[:3])
        keys = self.uptake("dead-letters", "list", "--reason", "bad_key", "--limit", "1000").out  # read as UTF-8: some are not
        self.assertEqual(len(keys.splitlines()), 1 + min(1000, reasons["bad_key"]))

    def test_30_dead_letters_replay(self) -> None:
        letters = [m for m in self.topic("usage-events-dead") if m.header("uptake.reason") == "bad_feature"]
        before = self.topic("usage-events")
        places = {(m.partition, m.offset): m for m in before}
        parts = [m for m in letters if m.header("uptake.events") is not None]
        self.assertTrue(parts and len(parts) < len(letters))
        only = ("dead-letters", "replay", "--reason", "bad_feature")
        would = self.uptake(*only, "--dry-run")
        self.assertEqual((would.out, would.err), (f"{len(letters)} dead letters would be sent to usage-events again\n", ""))
        self.assertEqual(len(self.topic("usage-events")), len(before))
        got = json.loads(self.uptake(*only, "--json").out)
        self.assertEqual((got["found"], got["sent"], got["unusable"]), (len(letters), len(letters), 0))
        fresh = [m for m in self.topic("usage-events") if (m.partition, m.offset) not in places]
        self.assertEqual(self.shape(fresh), self.shape(self.left_out(letters, places)))
        self.assertEqual(sorted(m.timestamp for m in fresh), sorted(int(m.header("uptake.timestamp")) for m in letters))
        self.count()
        again = [m for m in self.topic("usage-events-dead") if m.header("uptake.reason") == "bad_feature"]
        self.assertEqual(len(again), 2 * len(letters))  # nothing was mended
        self.equal()

    def left_out(self, letters: list[Message], places: dict) -> Iterator[tuple]:
        """What a replay is to send: partition, key, and the bytes or the events left out."""
        decoder = Decoder(self.services.registry.schema)
        for letter in letters:
            origin = places[int(letter.header("uptake.partition")), int(letter.header("uptake.offset"))]
            value: Any = origin.value
            if letter.header("uptake.events") is not None:
                events = decoder.decode(origin.value)["events"]
                value = [events[int(i)] for i in letter.header("uptake.events").split(",")]
                self.assertLess(len(value), len(events))
            yield origin.partition, origin.key, value

    def shape(self, messages: Any) -> list[str]:
        """Sorted texts of messages; the events of batches in place of their bytes."""
        decoder = Decoder(self.services.registry.schema)
        texts = []
        for message in messages:
            partition, key, value = message if isinstance(message, tuple) else (
                message.partition, message.key, message.value)
            if isinstance(value, bytes):
                record = decoder.decode(value)
                value = record["events"] if set(record) == {"events"} else value
            texts.append(repr((partition, key, value)))
        return sorted(texts)

    # ---- forget

    def test_31_forget(self) -> None:
        self.assertTrue(self.redis.exists("uptake:account:{quiet-2}"))
        forgotten = self.uptake("forget", "quiet-2")
        self.assertIn("the null record of quiet-2", forgotten.out)
        self.assertEqual(forgotten.err, "")
        self.count()
        self.assertFalse(self.redis.exists("uptake:account:{quiet-2}", "uptake:account:{quiet-2}:features"))
        self.assertIsNone(self.redis.zscore("uptake:rank:churn_risk", "quiet-2"))
        self.assertIn("no account quiet-2", self.uptake("show", "quiet-2", code=EX_DATAERR).err)
        self.assertTrue(self.redis.exists("uptake:account:{quiet-1}"))
        self.equal()

    def test_32_forget_in_the_right_partition(self) -> None:
        """Which it is Redis says, or a person; nobody guesses while Redis might know."""
        away = {"redis": {"url": "redis://127.0.0.1:1"}}
        bootstrap, row = self.services.kafka.bootstrap, "uptake:account:{quiet-3}"
        partition, ends = int(self.redis.hget(row, "partition")), end_offsets(bootstrap, "usage-events")
        self.assertIn("--partition", self.uptake("forget", "quiet-3", over=away, code=EX_UNAVAILABLE).err)
        self.assertIn("no partition 3", self.uptake("forget", "quiet-3", "--partition", "3", code=EX_DATAERR).err)
        self.uptake("forget", "quiet-3", "--partition", "-1", code=EX_USAGE)
        self.assertEqual(end_offsets(bootstrap, "usage-events"), ends)
        self.uptake("forget", "quiet-3", "--partition", str(partition), over=away)
        ends[partition] += 1
        self.assertEqual(end_offsets(bootstrap, "usage-events"), ends)
        self.count()
        self.assertFalse(self.redis.exists(row))
        self.assertIn("computed as Java clients do", self.uptake("forget", "quiet-3").err)
        self.count()
        self.equal()

    # ---- verify

    def equal(self, *notes: str) -> dict[str, Any]:
        got = json.loads(self.uptake("verify", "--json").out)
        self.assertEqual((got["equal"], got["differences"], len(got["notes"])), (True, 0, len(notes)), got)
        for note, want in zip(got["notes"], notes):
            self.assertRegex(note, want)
        return got

    def differs(self, *wanted: str) -> None:
        """verify exits 1 and names this and nothing else."""
        found = [line for line in self.uptake("verify", code=DIFFERS).out.splitlines() if line.startswith("DIFF")]
        for want in wanted:
            self.assertTrue(any(want in line for line in found), (want, found))
        unnamed = [line for line in found if not any(want in line for want in wanted)]
        self.assertEqual(unnamed, [])
        got = json.loads(self.uptake("verify", "--json", code=DIFFERS).out)
        self.assertEqual((got["equal"], got["differences"]), (False, len(found)))

    def test_20_verify_equal(self) -> None:
        alerts, letters = self.topic("churn-alerts"), self.topic("usage-events-dead")
        self.assertGreater(len(alerts), 5, "the traffic makes too few alerts")
        got = self.equal()
        rows = sum(1 for _ in self.redis.scan_iter("uptake:account:{*}"))
        self.assertEqual((got["rows"], got["accounts"]), (rows, rows))
        self.assertEqual((got["alerts"], got["dead_letters"]), (len(alerts), len(letters)))
        self.assertEqual((got["partitions_verified"], got["behind"]), (PARTITIONS, 0))
        self.assertGreaterEqual(got["sums"], PARTITIONS)
        self.assertRegex(self.uptake("verify").out, r"^equal: 0 differences")

    def test_21_verify_finds_wrong_fields(self) -> None:
        row, features = "uptake:account:{quiet-1}", "uptake:account:{quiet-1}:features"
        for key, field, value in ((row, "events_30d", "7"), (row, "churn_risk_90d", "0.5"), (row, "natural_gap", "9"),
                                  (row, "spare", "1"),
                                  (features, "api", "29"), ("uptake:totals", "logins_7d", "1"),
                                  ("uptake:feature:{api}", "units_30d", "0.5")):
            right = self.redis.hget(key, field)
            self.assertNotEqual(right, value)
            self.redis.hset(key, field, value)
            named = {"uptake:totals": "totals", "uptake:feature:{api}": "feature api"}.get(key, "account quiet-1 ")
            self.differs(named)
            self.assertIn(f"{field} is {value}, ", self.uptake("verify", code=DIFFERS).out)
            if right is None:
                self.redis.hdel(key, field)
            else:
                self.redis.hset(key, field, right)
        self.equal()

    def test_22_verify_finds_rows_and_ranks(self) -> None:
        row = self.redis.hgetall("uptake:account:{quiet-1}")
        self.redis.delete("uptake:account:{quiet-1}")
        self.differs("account quiet-1 of partition", "account quiet-1: it is in rank:",
                     "account quiet-1: there are features of it")
        self.redis.hset("uptake:account:{quiet-1}", mapping={**row, "offset": int(row["offset"]) + 10**6})
        self.differs("no place in the log")
        self.redis.hset("uptake:account:{quiet-1}", mapping=row)
        self.redis.hset("uptake:account:{ghost}", mapping=row)
        self.differs("account ghost has a row")
        self.redis.delete("uptake:account:{ghost}")
        risk = self.redis.zscore("uptake:rank:churn_risk", "quiet-1")
        self.redis.zadd("uptake:rank:churn_risk", {"quiet-1": 0.123})
        self.differs("account quiet-1 at")
        self.redis.zadd("uptake:rank:churn_risk", {"quiet-1": risk})
        self.equal()

    def test_23_verify_finds_shares(self) -> None:
        key = "uptake:feature:{api}"
        row, totals = self.redis.hgetall(key), self.redis.hgetall("uptake:totals")
        right = {"adoption_rate": int(row["users_30d"]) / int(totals["users_total"]),
                 "depth": int(row["users_30d"]) / int(totals["users_30d"]),
                 "reach": int(row["accounts_30d"]) / int(totals["accounts_30d"])}
        for name, share in right.items():
            self.assertEqual(float(row[name]), round(share, 6))
        self.redis.hset(key, mapping={"reach": "0.123", "adoption_rate": row["adoption_rate"] + "0"})
        self.redis.hdel(key, "depth")
        self.differs("feature api: reach is 0.123, expected " + row["reach"], "feature api: depth is absent, expected " + row["depth"],
                     f"feature api: adoption_rate is {row['adoption_rate']}0, expected {row['adoption_rate']}, ")
        with ThreadPoolExecutor() as pool:  # a view may be about to make them anew
            found = pool.submit(run, "verify", "-c", self.config(), timeout=120)
            wait([found], timeout=4)
            self.redis.hset(key, mapping=row)
        self.assertEqual(found.result().code, EX_OK, found.result().out)
        self.equal()

    def test_40_verify_without_the_start_of_the_log(self) -> None:
        self.services.kafka.delete_records("usage-events", {0: 5})
        got = self.equal(r"partition 0: the log's start is gone: verified from the checkpoint at offset \d+ on")
        self.assertEqual((got["partitions_verified"], got["partitions_from_checkpoint"]), (PARTITIONS - 1, 1))
        said = f"equal: 0 differences; {PARTITIONS - 1} of {PARTITIONS} partitions and 1 only from the checkpoint on, "
        self.assertIn(said, self.uptake("verify").out)

    def test_41_verify_finds_outputs(self) -> None:
        alert = self.topic("churn-alerts")[-1]
        record = Decoder(self.services.registry.schema).decode(alert.value)
        letter = next(m for m in self.topic("usage-events-dead") if m.header("uptake.partition") == "1")
        self.produce([alert], "churn-alerts")
        self.differs(f"alert {record['alert_id']} revision {record['revision']} ")
        self.produce([letter], "usage-events-dead")
        self.differs(f"alert {record['alert_id']} revision {record['revision']} ",
                     f"usage-events [1] offset {letter.header('uptake.offset')} is in usage-events-dead twice")

    def test_42_verify_waits_for_an_open_transaction(self) -> None:
        letter = next(m for m in self.topic("usage-events-dead") if m.header("uptake.partition") == "2")
        client = producer(self.services.kafka.bootstrap, transactional_id="half-seen")
        client.init_transactions()
        client.begin_transaction()
        client.produce("usage-events-dead", letter.value, letter.key, letter.partition, headers=list(letter.headers))
        client.flush()
        with ThreadPoolExecutor() as pool:
            found = pool.submit(run, "verify", "-c", self.config(), timeout=120)
            wait([found], timeout=4)  # one that does not wait is done by then
            client.commit_transaction()
        self.assertIn(f"usage-events [2] offset {letter.header('uptake.offset')} is in usage-events-dead twice",
                      found.result().out)

    def test_43_dead_letters_replay_as_of_now(self) -> None:
        """Only what was in_future; by its old timestamp it would be so again."""
        places = {(m.partition, m.offset) for m in self.topic("usage-events")}
        now = int(time.time() * 1000)
        sent = json.loads(self.uptake("dead-letters", "replay", "--reason", "in_future", "--yes", "--json").out)["sent"]
        fresh = [m for m in self.topic("usage-events") if (m.partition, m.offset) not in places]
        self.assertEqual(len(fresh), sent)
        self.assertGreater(sent, 0)
        self.assertGreaterEqual(min(m.timestamp for m in fresh), now)


class Model(unittest.TestCase):
    """A hundred days: five of segment gold leave after two of them, five without a segment stay. Each has one outcome."""

    def log(self, traffic: Traffic) -> Iterator[Message]:
        for day in range(100):
            for n in range(10):
                account, now = f"account-{n}", traffic.start + day * DAY + DAY // 2 + n
                event = {"user_id": "ann", "kind": "USAGE", "feature": "api", "quantity": 1.0, "event_id": "", "occurred_at": now}
                if day == 0 and n < 5:
                    profile = {**event, "kind": "PROFILE", "feature": None, "properties": {"segment": "gold"}}
                    yield traffic.message(account, traffic.event.encode(traffic.usage(account, now, **profile)), now)
                if day < 2 or n >= 5:
                    yield traffic.message(account, traffic.event.encode(traffic.usage(account, now, **event)), now)

    def shown(self, *args: str, **over: Any) -> str:
        path = Path(self.folder.name) / "other.yaml"
        path.write_text(to_yaml(merged(self.config, over)))
        result = run("show", "--model", "-c", str(path), *args, timeout=60)
        self.assertEqual(result.code, EX_OK, result.err)
        return result.out

    def test_show_model(self) -> None:
        self.folder = TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        token = Path(self.folder.name) / "token"
        token.write_text("secret word \nand a second line\n")
        with Services() as services:
            services.kafka.create_topic("usage-events", 2, INPUT)
            traffic = Traffic(services.registry, start=(int(time.time() * 1000) // DAY - 101) * DAY, seed=5)
            produce(services.kafka.bootstrap, "usage-events", self.log(traffic))
            self.uptake = Uptake(config_for(services, {"clock": "log", "threads": 1}), name="model")  # a partition that moves to a second lane would count its days again
            listen = {"admin": {"listen": f"127.0.0.1:{self.uptake.admin_port}"}}
            self.config = config_for(services, {"clock": "log", "threads": 1, **listen})
            try:
                self.uptake.launch()
                self.uptake.wait_ready()
                wait_until("all outcomes", lambda: self.outcomes() == 10, 60, 0.2)
                self.check()
                # Not before its partitions are claimed: a stop in that moment makes no checkpoint, and all is counted again.
                wait_until("rows", lambda: services.redis.client().hlen("uptake:partitions") == 2, 30, 0.1)
                self.uptake.terminate()
                guarded = {"admin": {**listen["admin"], "token_file": str(token)}}
                self.uptake.configure(merged(self.config, guarded))
                self.uptake.launch()
                wait_until("it answers", lambda: "Nothing of a running process" not in self.shown(**guarded), 30, 0.2)
                wait_until("the outcomes of before", lambda: re.search(r"(?m)^  all +10 +5 ", self.shown(**guarded)), 30, 0.2)
                self.assertRegex(self.shown(), r"(?m)^Nothing of a running process: .*/status.json: it answers 401$")
            finally:
                self.uptake.close()
            alone = json.loads(self.shown("--json"))
            self.assertIsNone(alone["process"])
            self.assertIn("/status.json: ", alone["no_process"])
            text = self.shown()
            self.assertRegex(text, r"(?m)^Nothing of a running process: http://\S+/status.json: \S.*$")
            self.assertIn("Model courses-", text)

    def outcomes(self) -> int:
        process = json.loads(self.shown("--json"))["process"]
        return ((process or {}).get("all") or {}).get("outcomes", 0)

    def check(self) -> None:
        shipped = Path(__file__).resolve().parents[2] / "aggregate/score/default.model"
        got = json.loads(self.shown("--json"))
        model, process = got["model"], got["process"]
        rows = dict(re.findall(r"(?m)^([a-z0-9_]+) +(-?[0-9.]+) -?[0-9.]+ -?[0-9.]+ -?[0-9.]+(?: given| unseen)?$", shipped.read_text().split("\n[risk]\n")[1].split("\n[silence]\n")[0]))
        self.assertEqual({f["name"]: f["weight"] for f in model["features"]}, {name: float(w) for name, w in rows.items()})
        self.assertEqual({f["name"]: f["origin"] for f in model["features"] if f["origin"] != "fitted"}, {"gone_odds": "given", "seat_use": "unseen"})
        self.assertIn("Not fitted: 60 and 90 days, ", model["fitted"])
        self.assertEqual((process["hash"], process["version"]), (model["hash"], model["version"]))
        self.assertIn("92591 samples of 20816 accounts", model["fitted"])
        self.assertEqual((process["all"]["outcomes"], process["all"]["left"]), (10, 5))
        self.assertEqual({s["segment"]: (s["outcomes"], s["left"]) for s in process["segments"]}, {"gold": (5, 5), "": (5, 0)})
        self.assertEqual(self.uptake.metric("uptake_risk_outcomes_total", segment="gold", outcome="left",
                                            tenth=str(int(10 * process["segments"][1]["predicted"]))), 5)
        text = self.shown()
        for part in ("Model " + model["version"], model["hash"], "built in", "share of the seats that people use"):
            self.assertIn(part, text)
        self.assertRegex(text, r"(?m)^  gold +5 +5 ")
        self.assertRegex(text, r"(?m)^  \(no segment\) +5 +0 ")
        self.assertNotIn("another one", text)
        other = Path(self.folder.name) / "other.model"
        other.write_text(shipped.read_text().replace("version courses-2", "version mine"))
        text = self.shown(model_file=str(other))
        self.assertIn("Model mine, ", text)
        self.assertIn("uses another one: version courses-2", text)


class Reload(unittest.TestCase):
    def test_hash_is_of_what_decides(self) -> None:
        """SIGHUP takes rules and model in and nothing else: the hash in records stays that of the settings that count."""
        with Services() as services, TemporaryDirectory() as folder:
            services.kafka.create_topic("usage-events", 2, INPUT)
            rules = Path(folder) / "rules.yaml"
            rules.write_text("{}\n")
            config = config_for(services, {"clock": "log", "threads": 1, "rules_file": str(rules)})
            uptake = Uptake(config, name="reload")
            self.addCleanup(uptake.close)
            uptake.launch()
            uptake.wait_ready()
            first = self.hup(uptake, config, 1)
            self.assertEqual(self.hup(uptake, merged(config, {"max_future": "1m", "adopted": {"days": 4}}), 2), first)
            rules.write_text("segments:\n  trials:\n    when: {field: tier, is: trial}\n")
            self.assertNotEqual(self.hup(uptake, config, 3), first)
            warned = [r["msg"] for r in uptake.log_records() if "restart" in r.get("msg", "")]
            self.assertEqual(warned, ["the former values go on of what needs a restart: max_future, adopted.days"])

    def hup(self, uptake: Uptake, config: dict[str, Any], count: int) -> str:
        """The hash that the process says it has after its count-th SIGHUP."""
        uptake.configure(config)
        uptake.hangup()
        said = lambda: re.findall(r"read again, configuration hash ([0-9a-f]{16})", "\n".join(uptake.logs()))  # noqa: E731
        wait_until("it read its files", lambda: len(said()) == count, 20, 0.1)
        return said()[-1]


class Changed(unittest.TestCase):
    def test_verify_after_a_change(self) -> None:
        """What was first counted without a segment cannot be compared with a replay that has it, whatever was decided last."""
        with Services() as services, TemporaryDirectory() as folder:
            services.kafka.create_topic("usage-events", 1, INPUT)
            rules, now = Path(folder) / "rules.yaml", (int(time.time() * 1000) // DAY - 2) * DAY
            traffic, over = Traffic(services.registry, start=now, seed=7), {"threads": 1, "rules_file": str(rules)}
            for text in ("{}\n", "segments:\n  seen:\n    when: {field: events_24h, from: 1}\n"):
                rules.write_text(text)
                event = traffic.usage("acme", now, occurred_at=now, user_id="u", kind="USAGE", feature="api", quantity=1.0, event_id="")
                produce(services.kafka.bootstrap, "usage-events", [traffic.message("acme", traffic.event.encode(event), now)])
                until_end(services, "changed", **over)
                now += DAY // 24
            path = Path(folder) / "uptake.yaml"
            path.write_text(to_yaml(config_for(services, {"clock": "log", **over})))
            found = run("verify", "-c", str(path), timeout=120)
            self.assertEqual(found.code, EX_OK, found.out + found.err)
            self.assertIn("something was decided under another configuration", found.out + found.err)


class Backfill(unittest.TestCase):
    def test_verify_after_one_run(self) -> None:
        """By the wall, of a topic with CreateTime: the first progress record may stand behind ticks; nothing was before it."""
        partitions = 12
        with Services() as services, TemporaryDirectory() as folder:
            services.kafka.create_topic("usage-events", partitions, INPUT)
            now = int(time.time() * 1000)
            traffic = Traffic(services.registry, accounts=300, start=now - 20 * DAY, step=20 * DAY // 6000, seed=3)
            produce(services.kafka.bootstrap, "usage-events", traffic.make(6000), message_max_bytes=3_000_000)
            until_end(services, "backfill", clock="wall", threads=1)
            path = Path(folder) / "uptake.yaml"
            path.write_text(to_yaml(config_for(services, {"threads": 1})))
            found = run("verify", "-c", str(path), "--json", timeout=120)
            self.assertEqual(found.code, EX_OK, found.out + found.err)
            got = json.loads(found.out)
            self.assertEqual((got["partitions_verified"], got["partitions_from_checkpoint"], got["notes"]), (partitions, 0, []))


class Live(unittest.TestCase):
    def test_verify_beside_a_run(self) -> None:
        """By the wall, while records come and a process is killed: nothing is ever told that is not so."""
        input_topic = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "2000000"}
        with Services() as services:
            services.kafka.create_topic("usage-events", 2, input_topic)
            traffic = Traffic(services.registry, accounts=60, seed=5)
            uptake = Uptake(config_for(services, {"checkpoint_interval": "2s", "tick_grace": "1s"}), name="live")
            try:
                uptake.launch()
                uptake.wait_ready()
                for round_ in range(12):
                    now = int(time.time() * 1000)
                    produce(services.kafka.bootstrap, "usage-events", [traffic.one(now) for _ in range(60)],
                            message_max_bytes=3_000_000)
                    if round_ == 6:
                        uptake.kill9()
                        uptake.launch()
                    found = run("verify", "-c", str(uptake.config_file), "--json", timeout=60)
                    self.assertEqual(found.code, EX_OK, found.out + found.err)
                uptake.wait_ready()
                self.assertGreater(json.loads(found.out)["rows"], 30)
            finally:
                uptake.close()


if __name__ == "__main__":
    unittest.main()
