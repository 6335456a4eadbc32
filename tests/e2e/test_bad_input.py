"""Bad input of every kind: files, answers of the registry and of Redis, requests at the admin port.

Meant for the build with sanitizers, where a step beyond a buffer ends the process:

    UPTAKE_BIN=build/asan/uptake tests/support/python.sh -m e2e.test_bad_input
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException
from support import fakes
from support.kafka_util import Codec, Message, produce, read_topic
from support.process import wait_until
from support.services import Services
from support.uptake_proc import Result, Uptake, merged, run, to_yaml

from e2e.test_exact import INPUT

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1", "UBSAN_OPTIONS": "exitcode=99:print_stacktrace=1"}
KAFKA = "kafka: {bootstrap.servers: '127.0.0.1:1'}\n"
LEAST = KAFKA + "redis: {url: 'redis://127.0.0.1:1'}\nregistry: {url: 'http://127.0.0.1:1'}\n"
CONFIG, UNAVAILABLE = 78, 69
FULL = """# every kind of value
group: "bad"
input: {topic: usage-events, framing: confluent}
output.health_topic: 'account-health'
publish_interval: 50ms
max_record_bytes: 1MiB
max_depth: 32
trust_timestamps: false
publish_from: 2026-01-31T00:00:00Z
clock: log
kafka:
  bootstrap.servers: "127.0.0.1:1"
  fetch.wait.max.ms: 100
redis:
  url: redis://user:pa%20ss@127.0.0.1:1/2
  password: ${BAD_INPUT}
registry:
  url: |-
    http://127.0.0.1:1,http://127.0.0.1:2
admin.listen: 127.0.0.1:0
"""


def sane(test: unittest.TestCase, result: Result, what: object) -> None:
    """Ended by itself, without a word from a sanitizer."""
    said = f"{what!s:.300}: exit {result.code}\n{result.out[-1500:]}\n{result.err[-3000:]}"
    test.assertIn(result.code, (0, CONFIG, UNAVAILABLE), said)
    test.assertNotRegex(result.out + result.err, r"Sanitizer|runtime error:", said)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)

    def check(self, config: bytes | str, name: str = "bad.yaml") -> Result:
        path = self.dir / name
        path.write_bytes(config.encode() if isinstance(config, str) else config)
        return run("check", "--offline", "-c", str(path), env={**SANITIZERS, "BAD_INPUT": "x"})

    def refused(self, config: bytes | str, pattern: str, file: str = "bad.yaml") -> None:
        """Exit 78 and one line that names the file (with the line where it has one) and what is wrong."""
        result = self.check(config)
        sane(self, result, pattern)
        self.assertEqual(result.code, CONFIG, result.out + result.err)
        lines = [line for line in (result.err + result.out).splitlines() if re.match(r"error|uptake: ", line)]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(file, lines[0])
        self.assertRegex(lines[0], pattern)
        self.assertLess(len(lines[0]), 700)

    def each(self, cases: list[bytes], check) -> None:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for case, result in zip(cases, pool.map(check, enumerate(cases))):
                sane(self, result, case[-60:])

    def test_configuration_cut_off(self) -> None:
        whole = FULL.encode()
        cases = [whole[:n] for n in range(0, len(whole), 10)]
        self.each(cases, lambda item: self.check(item[1], f"cut-{item[0]}.yaml"))
        sane(self, whole_result := self.check(whole), "the whole")
        self.assertEqual(whole_result.code, 0, whole_result.out + whole_result.err)

    def test_configuration_hostile(self) -> None:
        deep = "x: " + "[" * 20000 + "]" * 20000
        for text, pattern in (
            (LEAST + "group: a\0b\n", r":4: |control|NUL"),
            (b"\0" * 100, r":1: "),
            (b"\xff\xfe" + LEAST.encode("utf-16-le") + b"\xd8", "."),
            (LEAST.encode() + b"group: '\xff'\n", r":4: |UTF-8"),
            (LEAST + deep, r":4: "),
            (LEAST + "x: " + "{a: " * 20000, r":4"),
            (LEAST + "a: " * 5000, r":4: "),
            (LEAST + "max_depth: 99999999999999999999999999\n", r":4: .*max_depth"),
            (LEAST + "max_record_bytes: -1\n", r":4: .*max_record_bytes"),
            (LEAST + "max_record_bytes: 99999999999999999999GiB\n", r":4: .*max_record_bytes"),
            (LEAST + "flush_interval: 1e400s\n", r":4: .*flush_interval"),
            (LEAST + "threads: 1.5\n", r":4: .*threads"),
            (LEAST + "group: a\ngroup: b\n", r":5: .*group"),
            (LEAST + "redis.url: 'redis://127.0.0.1:2'\n", r":4: .*redis\.url"),
            (LEAST + "gruop: a\n", r":4: .*gruop"),
            (LEAST + "threads: many\n", r":4: .*threads"),
            (LEAST + "threads: [1, 2]\n", r":4: "),
            (LEAST + "group: {a: b}\n", r":4: .*group"),
            (LEAST + "trust_timestamps: maybe\n", r":4: .*trust_timestamps"),
            (LEAST + "group: &a x\ninstance: *a\n", r":[45]: "),
            (LEAST + "--- \ngroup: b\n", r":4|:5"),
            (LEAST + "group: ${BAD_INPUT_MISSING}\n", r":4: .*BAD_INPUT_MISSING"),
            (LEAST + "group: ${BAD_INPUT\n", r":4: "),
            (LEAST + "redis.password: ${file:/nowhere/secret}\n", r":4: .*/nowhere/secret"),
            (LEAST + "redis.password: ${file:/dev/zero}\n", r":4: .*/dev/zero"),
            (LEAST + "kafka.group.id: x\n", r"group\.id"),
            (LEAST + "kafka.no.such.property: x\n", r"no\.such\.property"),
            (LEAST + "kafka.fetch.wait.max.ms: never\n", r"fetch\.wait\.max\.ms"),
            (LEAST + "kafka.max.poll.interval.ms: 1000\n", r"max\.poll\.interval\.ms"),
            (LEAST + "kafka.session.timeout.ms: 600000\n", r"session\.timeout\.ms"),
            (LEAST + "kafka.fetch.max.bytes: 1000\n", r"fetch\.max\.bytes"),
            (LEAST + "kafka.message.timeout.ms: 100000\n", r"message\.timeout\.ms"),
            (LEAST + "#" * (10 << 20), r"longer than"),
            ("- a\n- b\n", r":1: "),
            ("just text", r":1: "),
        ):
            with self.subTest(text=text[-60:]):
                self.refused(text, pattern)

    def test_nothing_in_it(self) -> None:
        self.refused("", r"bad\.yaml: kafka\.bootstrap\.servers: is needed")
        self.refused(KAFKA + "redis: {url: 'redis://127.0.0.1:1'}\n", r"bad\.yaml: registry\.url: is needed")

    def test_no_such_file(self) -> None:
        for path in ("/nowhere/uptake.yaml", str(self.dir)):
            result = run("check", "--offline", "-c", path, env=SANITIZERS)
            self.assertEqual(result.code, CONFIG, result.err)
            self.assertIn(path, result.err)
            self.assertEqual(len(result.err.splitlines()), 1, result.err)

    def scoring(self, key: str, text: bytes, number: int = 0) -> Result:
        (self.dir / f"{key}-{number}").write_bytes(text)
        return self.check(LEAST + f"{key}: {self.dir}/{key}-{number}\n", f"{key}-{number}.yaml")

    def scoring_refused(self, key: str, text: bytes, pattern: str) -> None:
        (self.dir / "bad.file").write_bytes(text)
        self.refused(LEAST + f"{key}: {self.dir}/bad.file\n", pattern, "bad.file")

    def test_rules_and_model_cut_off(self) -> None:
        for key, name in (("rules_file", "default.rules.yaml"), ("model_file", "default.model")):
            whole = (ROOT / "aggregate/score" / name).read_bytes()
            cases = [whole[:n] for n in range(0, len(whole), 1 + len(whole) // 60)]
            self.each(cases, lambda item, key=key: self.scoring(key, item[1], item[0]))
            self.assertEqual(self.scoring(key, whole).code, 0)

    def test_rules_hostile(self) -> None:
        for text, pattern in (
            (b"rules: {NONE_SUCH: {enabled: true}}\n", r":1: .*NONE_SUCH"),
            (b"publish: {score: many}\n", r":1: .*score"),
            (b"publish: {score: 1e999}\n", r":1: .*score"),
            (b"publish: {score: -5}\n", r":1: .*score"),
            (b"publish: {score: 1, score: 2}\n", r":1: .*score"),
            (b"rules: " + b"[" * 20000, r":1: "),
            (b"rules: " + b"{a: " * 20000, r":1: "),
            (b"rules: &a {b: *a}\n", r":1: "),
            (b"\0" * 50, r":1: "),
            (os.urandom(4000) + b"\xff", "."),
            (b"# " + b"x" * (10 << 20), "over"),
        ):
            with self.subTest(text=text[-60:]):
                self.scoring_refused("rules_file", text, pattern)

    def test_model_hostile(self) -> None:
        whole = (ROOT / "aggregate/score/default.model").read_bytes()
        for text, pattern in (
            (b"", "version: missing"),
            (whole.replace(b"uptake-model 1", b"uptake-model 2"), r":1: "),
            (whole.replace(b"uptake-model 1", b"uptake-model 99999999999999999999"), r":1: "),
            (whole.replace(b"0.427926", b"nan"), r":\d+: "),
            (whole.replace(b"0.427926", b"1e999"), r":\d+: "),
            (whole.replace(b"0.427926", b"-1"), r":\d+: "),
            (whole.replace(b"\ndaily ", b"\ndaily 1 2 3 4\ndaily ", 1), r":\d+: "),
            (whole + b"[none]\n", r":\d+: "),
            (whole.replace(b"\nversion ", b"\nversion " + b"v" * 5000), r":2: "),
            (b"\0" * 50, ":1: "),
            (os.urandom(4000), "."),
            (whole + b"# " + b"x" * (10 << 20), "over"),
        ):
            with self.subTest(text=text[-60:]):
                self.scoring_refused("model_file", text, pattern)

    def schema(self, text: bytes, number: int) -> Result:
        (self.dir / f"{number}.avsc").write_bytes(text)
        config = KAFKA + f"input: {{framing: none, schema_file: {self.dir}/{number}.avsc}}\n"
        return self.check(config, f"schema-{number}.yaml")

    def test_schema_file(self) -> None:
        whole = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_bytes()
        cases = [whole[:n] for n in range(0, len(whole) - 2, 1 + len(whole) // 50)]
        cases += [
            b'"int"', b"[]", b"null", b'{"type":"record","name":"uptake.v1.UsageEvent","fields":[]}',
            whole.replace(b'"account_id"', b'"account"'), whole.replace(b'"long"', b'"lang"'),
            b'{"type":"record","name":"uptake.v1.UsageEvent","fields":[{"name":"a","type":"uptake.v1.UsageEvent"}]}',
            b"[" * 100000, b'{"type":' * 50000, b"\0" * 100, os.urandom(3000), whole + whole, b" " * (10 << 20),
        ]
        for number, case in enumerate(cases):
            result = self.schema(case, number)
            sane(self, result, case[-60:])
            self.assertEqual(result.code, CONFIG, (case[-60:], result.out, result.err))
            errors = [line for line in result.out.splitlines() if line.startswith("error")]
            self.assertEqual(len(errors), 1, errors)
            self.assertIn(f"{number}.avsc", errors[0])
        self.assertEqual(self.schema(whole, 999).code, 0)


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key of localhost, signed by itself."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )
    return cert, key


def half(handler) -> None:
    """Hangs up in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"schema":"')
    handler.close_connection = True


def endless(handler) -> None:
    """64 MiB without a length."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(b'{"schema":"' + b"x" * (1 << 20))
    handler.close_connection = True


SCHEMA = json.loads((ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text())
GOOD = json.dumps({"schema": json.dumps(SCHEMA)}).encode()
# What holds a partition back until the registry answers better.
HELD = {
    "refused": (401, b'{"error_code":40101,"message":"who are you?"}'),
    "forbidden": (403, b""),
    "broken": (500, b"<html>" + b"x" * 5000),
    "busy": (503, b""),
    "slow": fakes.slow(3, (200, GOOD)),
    "half": half,
    "endless": endless,
    "cut": (200, GOOD[: len(GOOD) // 2]),
    "html": (200, b"<html>\x1b[31mlogin\0</html>"),
    "list": (200, b"[1, 2]"),
    "number": (200, b'{"schema": 17}'),
    "nothing": (200, b""),
    "redirect": lambda handler: handler.reply(302, b"", Location=handler.path),
    "plain-404": (404, b"<html>no such page</html>"),
}
# What ends in a dead letter, and its reason.
DEAD = {
    "none": ((404, b'{"error_code":40403,"message":"Schema not found"}'), "unknown_schema"),
    "no-schema": ((200, b'{"schema": "not a schema"}'), "bad_schema"),
    "deep": ((200, json.dumps({"schema": "[" * 5000}).encode()), "bad_schema"),
    "protobuf": ((200, json.dumps({"schema": "syntax", "schemaType": "PROTOBUF"}).encode()), "bad_schema"),
    "cycle": (
        (200, b'{"schema":"[\\"a.B\\"]","references":[{"name":"a.B","subject":"cycle","version":1}]}'),
        "bad_schema",
    ),
}

# What a Redis may say instead of what was asked for; True: and hangs up.
REPLIES = {
    "garbage": (b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n", False),
    "error": (b"-ERR \x1b[31mno\x07\r\n" * 50, False),
    "loading": (b"-LOADING Redis is loading the dataset in memory\r\n" * 50, False),
    "read-only": (b"-READONLY You can't write against a read only replica.\r\n" * 50, False),
    "no-auth": (b"-NOAUTH Authentication required.\r\n" * 50, False),
    "memory": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n" * 50, False),
    "moved": (b"-MOVED 1234 127.0.0.1:1\r\n" * 50, False),
    "cut": (b"*3\r\n$5\r\nab", True),
    "closed": (b"", True),
    "long": (b"$999999999999\r\nabc", False),
    "longer": (b"$99999999999999999999999\r\n", False),
    "negative": (b"$-5\r\n*-7\r\n", False),
    "many": (b"*1000000\r\n", False),
    "deep": (b"*1\r\n" * 2000, False),
    "wrong-type": (b"*1\r\n:5\r\n" * 50, False),
    "number": (b":12\r\n" * 50, False),
    "nil": (b"$-1\r\n" * 50, False),
    "silent": (b"", False),
}


class Peers(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services(registry=None).start()
        cls.addClassCleanup(cls.services.stop)
        cls.registry = fakes.Registry()
        cls.addClassCleanup(cls.registry.close)
        cls.redis = fakes.RedisProxy(cls.services.redis.port)
        cls.addClassCleanup(cls.redis.close)
        cls.registry.schema(1, SCHEMA)
        folder = TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = Path(folder.name)
        cls.services.kafka.create_topic("chk", 1, INPUT)

    def config(self, topic: str, **over) -> dict:
        names = ("account-health", "churn-alerts", "usage-events-dead", "uptake-state")
        health, alerts, dead, state = (f"{topic}-{name}" for name in names)
        return {
            "group": topic, "input": {"topic": topic}, "state_topic": state, "clock": "log", "threads": 1,
            "output": {"health_topic": health, "alerts_topic": alerts, "dead_topic": dead},
            "kafka": {"bootstrap.servers": self.services.kafka.bootstrap}, "flush_interval": "100ms",
            "redis": {"url": f"redis://127.0.0.1:{self.redis.port}", "prefix": f"{topic}:", "timeout": "500ms"},
            "registry": {"url": self.registry.url, "timeout": "700ms"}, **over,
        }  # fmt: skip

    def send(self, topic: str, accounts: dict[str, int]) -> None:
        """A record in each account's partition; the schemas are all the same, whatever the registry says."""
        now = int(time.time() * 1000)
        records = []
        for partition, (account, schema_id) in enumerate(accounts.items()):
            event = {"account_id": account, "occurred_at": now, "kind": "USAGE", "event_id": "", "user_id": None,
                     "feature": "f", "quantity": 1.0, "duration_ms": None, "properties": {}}  # fmt: skip
            value = Codec(SCHEMA, schema_id).encode(event)
            records.append(Message(key=account.encode(), value=value, timestamp=now, partition=partition))
        produce(self.services.kafka.bootstrap, topic, records)

    def rows(self, topic: str) -> set[str]:
        keys = self.services.redis.client().keys(f"{topic}:account:*")
        return {key.split(":")[2].strip("{}") for key in keys if not key.endswith(":features")}

    def ended(self, uptake: Uptake) -> None:
        said = uptake.tail(60)
        self.assertEqual(uptake.terminate(60).code, 0, said)
        self.assertNotRegex("\n".join(uptake.logs()), "Sanitizer|runtime error:")
        for line in uptake.logs():
            json.loads(line)  # each message is one line of JSON

    def reasons(self) -> dict[str, str | None]:
        try:
            letters = read_topic(self.services.kafka.bootstrap, "reg-usage-events-dead")
        except KafkaException:  # a topic that was just made may not be known yet
            return {}
        return {letter.key.decode(): letter.header("uptake.reason") for letter in letters}

    @staticmethod
    def told_of(uptake: Uptake, schema: int) -> list[str]:
        told = [record["msg"] for record in uptake.log_records() if record["level"] == "warning"]
        return [line for line in told if f"/{schema}: " in line]

    def test_registry(self) -> None:
        held = {name: 100 + n for n, name in enumerate(HELD)}
        dead = {name: 200 + n for n, name in enumerate(DEAD)}
        for name, number in held.items():
            self.registry.answers[f"/schemas/ids/{number}"] = HELD[name]
        for name, number in dead.items():
            self.registry.answers[f"/schemas/ids/{number}"] = DEAD[name][0]
        self.registry.answers["/subjects/cycle/versions/1"] = DEAD["cycle"][0]
        accounts = {"good": 1, **held, **dead}
        self.services.kafka.create_topic("reg", len(accounts), INPUT)
        self.send("reg", accounts)
        with Uptake(self.config("reg"), name="bad-registry", env=SANITIZERS) as uptake:
            wait_until("the good account's row", lambda: "good" in self.rows("reg"), 60)
            wait_until("dead letters", lambda: len(self.reasons()) >= len(DEAD), 60, 0.5)
            wait_until("a word on each that is held", lambda: all(self.told_of(uptake, n) for n in held.values()), 60, 0.5)
            self.assertTrue(uptake.running, uptake.tail(40))
            self.assertEqual(self.rows("reg"), {"good"})
            self.assertEqual(self.reasons(), {name: reason for name, (_, reason) in DEAD.items()}, uptake.tail(60))
            for number in held.values():
                self.assertLess(len(self.told_of(uptake, number)), 5, self.told_of(uptake, number))
            for number in held.values():
                self.registry.schema(number, SCHEMA)
            wait_until("all rows", lambda: self.rows("reg") == {"good", *held}, 60)
            self.ended(uptake)

    def test_small_batches(self) -> None:
        """Outputs are sent together, but no more of them than their topics take at once."""
        kafka = self.services.kafka
        kafka.create_topic("few", 1, INPUT)
        kafka.create_topic("few-account-health", 1, {"cleanup.policy": "compact", "max.message.bytes": 20000})
        kafka.create_topic("few-usage-events-dead", 1, {"max.message.bytes": 100000})
        now = int(time.time() * 1000)
        event = {"account_id": "", "occurred_at": now, "kind": "USAGE", "event_id": "", "user_id": None,
                 "feature": "f", "quantity": 1.0, "duration_ms": None, "properties": {}}  # fmt: skip
        codec = Codec(SCHEMA, 1)
        accounts = [f"account-{i}" for i in range(100)]
        days = [now - day * 86400000 for day in range(25, -1, -1)]
        produce(kafka.bootstrap, "few", [
            Message(key=account.encode(), value=codec.encode(event | {"account_id": account, "occurred_at": at}),
                    timestamp=at, partition=0)
            for at in days for account in accounts
        ])  # fmt: skip
        with Uptake(self.config("few"), name="small-batches", env=SANITIZERS) as uptake:
            wait_until("rows", lambda: self.rows("few") == set(accounts), 30)
            self.ended(uptake)
            said = [record["msg"] for record in uptake.log_records() if record["level"] == "warning"]
        self.assertEqual([line for line in said if "not delivered" in line], [])
        self.assertEqual(len([line for line in said if "few-usage-events-dead takes records of 100000 bytes" in line]), 1, said)
        sent = read_topic(kafka.bootstrap, "few-account-health")
        self.assertGreater(sum(len(record.value or b"") for record in sent), 100000)

    def test_large_letters(self) -> None:
        """What came compressed can be larger than its dead letter may be; then the letter says where the record is."""
        kafka = self.services.kafka
        kafka.create_topic("big", 1, INPUT)

        def letters() -> list[Message]:
            try:
                return read_topic(kafka.bootstrap, "big-usage-events-dead")
            except KafkaException:
                return []

        def send(value: bytes) -> None:
            headers = [("trace", b"t"), ("uptake.value_bytes", b"7"), ("uptake.offset", b"7")]
            message = Message(key=b"k", value=value, headers=headers, partition=0)
            produce(kafka.bootstrap, "big", [message], compression_type="lz4", message_max_bytes=100 << 20)

        send(bytes(5 << 20))  # can go as it came
        send(bytes(17 << 20))  # larger than any letter
        with Uptake(self.config("big"), name="big-letters", env=SANITIZERS) as uptake:
            wait_until("dead letters", lambda: len(letters()) == 2, 30)
            kafka.tool("kafka.admin.ConfigCommand", "--bootstrap-server", kafka.bootstrap, "--alter", "--entity-type", "topics",
                       "--entity-name", "big-usage-events-dead", "--add-config", "max.message.bytes=300000")  # fmt: skip
            send(os.urandom(700000))  # is refused, and found out by that
            self.send("big", {"good": 1})
            wait_until("the good account's row", lambda: "good" in self.rows("big"), 30)
            wait_until("all dead letters", lambda: len(letters()) == 3, 30)
            self.ended(uptake)
        whole, *short = letters()
        self.assertEqual((whole.value, whole.header("trace")), (bytes(5 << 20), "t"))
        self.assertEqual((whole.header("uptake.value_bytes"), whole.header("uptake.offset")), ("7", "0"))
        for letter, size, offset in zip(short, (17 << 20, 700000), (1, 2)):
            self.assertEqual((letter.key, letter.value, letter.header("trace")), (b"k", None, None))
            self.assertEqual(letter.header("uptake.value_bytes"), str(size))
            self.assertIn(f"see big [0] offset {offset}; ", letter.header("uptake.detail"))
        path = self.dir / "big.yaml"
        path.write_text(to_yaml(self.config("big")))
        result = run("dead-letters", "replay", "--yes", "-c", str(path), "--reason", "too_large", "--limit", "3")
        self.assertEqual((result.out, result.code), ("1 dead letters sent to big again\n", 65), result.err)

    def test_redis(self) -> None:
        """Each kind of answer while rows are to be written; then a sound Redis, and nothing is missing."""
        self.services.kafka.create_topic("red", 1, INPUT)
        sent = set()
        with Uptake(self.config("red"), name="bad-redis", env=SANITIZERS) as uptake:
            self.addCleanup(self.redis.behave, None)
            for name, (answer, hang_up) in REPLIES.items():
                self.redis.behave(answer, hang_up)
                self.send("red", {name: 1})
                sent.add(name)
                wait_until(f"a request answered with {name}", lambda: self.redis.served > 0, 60)
                self.assertTrue(uptake.running, (name, uptake.tail(60)))
            self.redis.behave(None)
            wait_until("all rows", lambda: self.rows("red") == sent, 60)
            totals = self.services.redis.client().hgetall("red:totals")
            wait_until("totals", lambda: self.services.redis.client().hget("red:totals", "events_1h") == str(len(sent)), 60)
            self.assertTrue(totals)
            told = [record["msg"] for record in uptake.log_records() if record["component"] == "view"]
            self.assertTrue(any("LOADING" in line or "READONLY" in line or "ERR" in line for line in told), told)
            self.assertLess(len(told), 40 * len(REPLIES))
            self.ended(uptake)

    def test_signals(self) -> None:
        """What needs a restart is told at SIGHUP; two signals at once, as `timeout` sends them, are one and let it drain."""
        self.services.kafka.create_topic("sig", 1, INPUT)
        with Uptake(self.config("sig"), name="signals", env=SANITIZERS) as uptake:
            uptake.configure(self.config("sig", flush_interval="200ms", threads=2, log={"level": "warning"}))
            uptake.hangup()
            told = lambda: [record["msg"] for record in uptake.log_records() if record["component"] == "reload"]  # noqa: E731
            wait_until("what needs a restart", lambda: told(), 20)
            self.assertRegex(told()[0], r"restart: (flush_interval, threads|threads, flush_interval)$")
            uptake._signal(signal.SIGINT)
            uptake._signal(signal.SIGTERM)
            self.assertEqual(uptake.wait(60), 0, uptake.tail(20))

    def test_two_of_one_file(self) -> None:
        """Processes on one host may share a file, with its admin port."""
        self.services.kafka.create_topic("two", 2, INPUT)
        config = self.config("two")
        with Uptake(config, name="one-file", env=SANITIZERS) as first:
            with Uptake(config, name="one-file-too", env=SANITIZERS, admin_port=first.admin_port) as second:
                said = f"port {first.admin_port} is in use; this process listens on "
                wait_until("another port", lambda: any(said in line for line in second.logs()), 60)
                wait_until("a partition each", lambda: all(any("assigned" in line for line in each.logs()) for each in (first, second)), 60)
                self.ended(second)
            self.ended(first)

    def checked(self, **over) -> Result:
        """`check` of a configuration, all of whose other parts are sound."""
        path = self.dir / "check.yaml"
        path.write_text(to_yaml(merged(self.config("chk"), over)))
        return run("check", "-c", str(path), env=SANITIZERS, timeout=60)

    def errors(self, result: Result, about: str) -> list[str]:
        sane(self, result, about)
        return [line for line in result.out.splitlines() if line.startswith(f"error {about}")]

    def test_check_redis(self) -> None:
        self.addCleanup(self.redis.behave, None)
        for name in ("garbage", "error", "loading", "no-auth", "cut", "closed", "long", "deep", "silent"):
            with self.subTest(name):
                self.redis.behave(*REPLIES[name])
                result = self.checked()
                lines = self.errors(result, "redis")
                self.assertEqual((len(lines), result.code), (1, UNAVAILABLE), result.out)
                self.assertNotRegex(lines[0], r"[\x00-\x1f\x7f]")

    def test_certificates(self) -> None:
        mine, other = self_signed(self.dir, "mine"), self_signed(self.dir, "other")
        registry = fakes.Registry(tls=mine)
        self.addCleanup(registry.close)
        registry.schema(1, SCHEMA)
        for ca, good in ((mine[0], True), (other[0], False), (None, False), (mine[1], False), ("/nowhere.pem", False)):
            with self.subTest(ca=ca):
                more = {"ca_file": str(ca)} if ca else {}
                result = self.checked(registry={"url": registry.url, **more})
                lines = self.errors(result, "registry")
                self.assertEqual(not lines, good, result.out)
                self.assertEqual(result.code == 0, good, result.out)
                self.assertTrue(good or "localhost" in lines[0] or "nowhere" in lines[0], lines)

    def asked(self, uptake: Uptake, request: bytes, wait: float) -> bytes:
        """The first bytes of the answer to a raw request; empty if the other side hangs up or says nothing."""
        with socket.create_connection(("127.0.0.1", uptake.admin_port), timeout=wait) as sock:
            try:
                for at in range(0, len(request), 1 << 16):
                    sock.sendall(request[at : at + (1 << 16)])
                return sock.recv(4096)
            except OSError:
                return b""

    def test_admin(self) -> None:
        """Hostile requests, each with an answer that refuses it or none; the probes answer all along."""
        token = self.dir / "token"
        token.write_text("open sesame")
        token.chmod(0o600)
        end = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        auth = b"Authorization: Bearer open sesame\r\n"
        admin = {"token_file": str(token)}
        with Uptake(merged(self.config("chk"), {"admin": admin}), name="bad-requests", env=SANITIZERS) as uptake:
            idle = [socket.create_connection(("127.0.0.1", uptake.admin_port)) for _ in range(40)]
            for sock in idle[:20]:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost:")  # and never the rest
            for request, answer in (
                (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256)), rb"\Z|HTTP/1.. 4"),
                (b"\0" * 5000, rb"\Z|HTTP/1.. 4"),
                (b"GET\r\n\r\n", rb"\Z|HTTP/1.. 4"),
                (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", rb"\Z|HTTP/1.. [45]"),
                (b"GET /metrics" + end + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n", rb"\Z|HTTP/1.. 4"),
                (b"GET /metrics" + end + b"X: a\r\n" * 100_000 + b"\r\n", rb"\Z|HTTP/1.. 4"),
                (b"GET /" + b"a" * (1 << 20) + end + b"\r\n", rb"\Z|HTTP/1.. 4"),
                (b"GET /../../../../etc/passwd" + end + auth + b"\r\n", rb"HTTP/1.1 404"),
                (b"GET /%2e%2e/%2e%2e/etc/passwd" + end + auth + b"\r\n", rb"HTTP/1.1 404"),
                (b"GET /%00" + end + auth + b"\r\n", rb"HTTP/1.1 40[04]|HTTP/1.1 200"),
                (b"GET http://elsewhere/" + end + auth + b"\r\n", rb"\Z|HTTP/1.1 [45]"),
                (b"GET /account.json?id=" + b"%ff" * 300 + end + auth + b"\r\n", rb"HTTP/1.1 400"),
                (b"GET /account.json?id=" + b"a" * 257 + end + auth + b"\r\n", rb"HTTP/1.1 400"),
                (b"GET /account.json?id=%0d%0aDEL%20x" + end + auth + b"\r\n", rb"HTTP/1.1 404"),
                (b"DELETE /metrics" + end + auth + b"\r\n", rb"HTTP/1.1 405"),
                (b"POST /metrics" + end + auth + b"Content-Length: 99999999999\r\n\r\n", rb"HTTP/1.1 4"),
                (b"GET /metrics" + end + auth + b"Content-Length: -1\r\n\r\n", rb"\Z|HTTP/1.1 4"),
                (b"GET /metrics" + end + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", rb"HTTP/1.1 4"),
                (b"GET /metrics" + end + b"\r\n", rb"HTTP/1.1 401"),
                (b"GET /metrics" + end + b"Authorization: Bearer open\r\n\r\n", rb"HTTP/1.1 401"),
                (b"GET /metrics" + end + b"Authorization: Bearer open sesame2\r\n\r\n", rb"HTTP/1.1 401"),
                (b"GET /metrics" + end + b"Authorization: Bearer " + b"x" * 8000 + b"\r\n\r\n", rb"HTTP/1.1 401"),
                (b"GET /metrics" + end + b"Authorization:\r\n\r\n", rb"HTTP/1.1 401"),
                (b"GET /metrics" + end + auth + b"\r\n", rb"HTTP/1.1 200"),
            ):
                with self.subTest(request[:60]):
                    wait = 1 if answer.startswith(rb"\Z") else 30  # seconds; an answer that must come is waited for
                    self.assertRegex(self.asked(uptake, request, wait), rb"\A(?:" + answer + rb")")
                    self.assertEqual(uptake.get("/healthz")[0], 200)
            for sock in idle:
                sock.close()
            many = [socket.socket() for _ in range(300)]  # 64 are served, the others wait for their turn
            for sock in many:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", uptake.admin_port))
            time.sleep(0.5)
            for sock in many:
                sock.close()
            self.assertEqual(uptake.get("/healthz", timeout=20)[0], 200)
            self.ended(uptake)


if __name__ == "__main__":
    unittest.main()
