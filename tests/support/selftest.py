"""Proves that the support library does what it says: python.sh -m support.selftest"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from confluent_kafka import KafkaException, TopicPartition

from . import kafka_util as ku
from .browser import Browser
from .endtxn_proxy import END_TXN, EndTxnProxy, TcpProxy
from .process import ServiceError, free_port, wait_until
from .services import Kafka, Redis, Services
from .uptake_proc import Uptake, config_for, parse_metrics, to_yaml

_SCHEMA = {
    "type": "record",
    "name": "Sample",
    "namespace": "uptake.selftest",
    "fields": [
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "name", "type": ["null", "string"], "default": None},
    ],
}

proxy: EndTxnProxy
services: Services


def setUpModule() -> None:
    global proxy, services
    proxy = EndTxnProxy(seed=1)
    kafka = Kafka(advertised=proxy.port, abort_scan_ms=1000)
    services = Services(kafka=kafka, redis=Redis(aof=True))
    unittest.addModuleCleanup(services.stop)
    services.start()
    unittest.addModuleCleanup(proxy.stop)
    proxy.start(kafka.port)
    print("ready after", services.start_seconds, file=sys.stderr)


class KafkaTest(unittest.TestCase):
    def setUp(self) -> None:
        self.kafka = services.kafka
        self.topic = self.id().rpartition(".")[2]

    def test_produce_and_read(self) -> None:
        self.kafka.create_topic(self.topic, 3, {"cleanup.policy": "compact"})
        stamp = 1_700_000_000_000
        headers = (("h", b"1"), ("h", b"2"), ("none", None))
        sent = [
            ku.Message(b"k%d" % n, b"v%d" % n, stamp + n, headers, partition=n % 3)
            for n in range(30)
        ]
        sent.append(ku.Message(b"k0", None, stamp))
        written = ku.produce(self.kafka.bootstrap, self.topic, sent)
        read = ku.read_topic(self.kafka.bootstrap, self.topic)
        self.assertEqual(read, sorted(written, key=lambda m: (m.partition, m.offset)))
        self.assertEqual(read[0].header("h"), "2")
        self.assertEqual(sum(ku.end_offsets(self.kafka.direct, self.topic).values()), 31)
        late = ku.read_topic(self.kafka.direct, self.topic, start={0: 9, 1: 9, 2: 9})
        self.assertTrue(all(m.offset >= 9 for m in late))

    def test_partition_by_key_is_javas(self) -> None:
        self.kafka.create_topic(self.topic, 7)
        written = ku.produce(self.kafka.direct, self.topic, [ku.Message(b"21", b"")])
        # Kafka's own test vector: murmur2("21") = -973932308.
        self.assertEqual(written[0].partition, (-973932308 & 0x7FFFFFFF) % 7)

    def test_kill_and_restart(self) -> None:
        self.kafka.create_topic(self.topic, 1)
        ku.produce(self.kafka.direct, self.topic, [ku.Message(b"a", b"1")])
        self.kafka.kill9()
        self.assertFalse(self.kafka.running)
        with self.assertRaises(KafkaException):
            ku.end_offsets(self.kafka.direct, self.topic, timeout=0.5)
        self.kafka.restart()
        ku.produce(self.kafka.direct, self.topic, [ku.Message(b"a", b"2")])
        values = [m.value for m in ku.read_topic(self.kafka.bootstrap, self.topic)]
        self.assertEqual(values, [b"1", b"2"])

    def test_freeze(self) -> None:
        self.kafka.create_topic(self.topic, 1)
        self.kafka.freeze()
        with self.assertRaises(KafkaException):
            ku.end_offsets(self.kafka.direct, self.topic, timeout=0.5)
        self.kafka.thaw()
        self.assertEqual(ku.end_offsets(self.kafka.direct, self.topic), {0: 0})

    def test_committed_with_metadata(self) -> None:
        self.kafka.create_topic(self.topic, 2)
        client = ku.consumer(self.kafka.direct, group_id="g1")
        place = TopicPartition(self.topic, 1, 7, "mark ✓")
        client.commit(offsets=[place], asynchronous=False)
        client.close()
        found = ku.committed(self.kafka.direct, "g1", self.topic)
        self.assertEqual(found, {1: ku.Committed(7, "mark ✓")})

    def test_read_committed_leaves_out_aborted(self) -> None:
        self.kafka.create_topic(self.topic, 1)
        client = ku.producer(self.kafka.direct, transactional_id=self.topic)
        client.init_transactions(20)
        for value, end in ((b"no", client.abort_transaction), (b"yes", client.commit_transaction)):
            client.begin_transaction()
            client.produce(self.topic, value)
            client.flush(20)
            end(20)
        client.begin_transaction()
        client.produce(self.topic, b"open")
        client.flush(20)
        read = ku.read_topic(self.kafka.direct, self.topic)
        self.assertEqual([(m.offset, m.value) for m in read], [(2, b"yes")])
        dirty = ku.read_topic(self.kafka.direct, self.topic, isolation="read_uncommitted")
        self.assertEqual([m.value for m in dirty], [b"no", b"yes", b"open"])
        stable = ku.end_offsets(self.kafka.direct, self.topic, "read_committed")
        self.assertEqual((stable, ku.end_offsets(self.kafka.direct, self.topic)), ({0: 4}, {0: 5}))
        client.abort_transaction(20)

    def test_delete_records_and_tool(self) -> None:
        self.kafka.create_topic(self.topic, 1)
        ku.produce(self.kafka.direct, self.topic, [ku.Message(b"a", b"%d" % n) for n in range(3)])
        self.kafka.delete_records(self.topic, {0: 2})
        self.assertEqual([m.offset for m in ku.read_topic(self.kafka.direct, self.topic)], [2])
        tool = "org.apache.kafka.tools.TopicCommand"
        listed = self.kafka.tool(tool, "--bootstrap-server", self.kafka.direct, "--list")
        self.assertIn(self.topic, listed)
        self.kafka.delete_topic(self.topic)


class ProxyTest(unittest.TestCase):
    def tearDown(self) -> None:
        proxy.heal()

    def transaction(self, client: ku.Producer, topic: str, value: bytes) -> None:
        client.begin_transaction()
        client.produce(topic, value)
        client.flush(20)
        client.commit_transaction(20)

    def test_late_end_txn(self) -> None:
        services.kafka.create_topic("late", 1)
        client = ku.producer(services.kafka.bootstrap, transactional_id="late")
        client.init_transactions(20)
        self.transaction(client, "late", b"1")
        before, sent = len(proxy.delivered), proxy.requests[END_TXN]
        proxy.late()
        self.transaction(client, "late", b"2")  # librdkafka sends EndTxn again
        late = proxy.wait_late(before + 1)[-1]
        print(late, end=" ", file=sys.stderr)
        self.assertEqual(late.api_key, END_TXN)
        self.assertTrue(late.answered)
        self.assertTrue(0.1 <= late.delay <= 0.6)
        self.assertGreaterEqual(proxy.requests[END_TXN], sent + 2)
        read = ku.read_topic(services.kafka.direct, "late")
        self.assertEqual([m.value for m in read], [b"1", b"2"])

    def test_cut_and_black_hole(self) -> None:
        services.kafka.create_topic("cut", 1)
        passed = proxy.connections
        for switch in (proxy.cut, proxy.black_hole):
            switch()
            with self.assertRaises(KafkaException):
                ku.end_offsets(services.kafka.bootstrap, "cut", timeout=0.5)
            proxy.heal()
            self.assertEqual(ku.end_offsets(services.kafka.bootstrap, "cut"), {0: 0})
        self.assertGreater(proxy.connections, passed)

    def test_delay_and_drop(self) -> None:
        redis = services.redis
        with TcpProxy().start(redis.port) as slow:
            client = redis.client(port=slow.port)
            client.ping()
            slow.delay(0.1)
            began = time.monotonic()
            client.ping()
            self.assertGreaterEqual(time.monotonic() - began, 0.2)
            slow.heal()
            slow.drop()
            wait_until("a new connection", lambda: _quietly(client.ping))
            self.assertGreater(slow.connections, 1)


def _quietly(call) -> object:
    try:
        return call()
    except Exception:
        return None


class RegistryTest(unittest.TestCase):
    def test_register_and_restart(self) -> None:
        registry = services.registry
        schema_id = registry.register("selftest/value", _SCHEMA)
        self.assertEqual(registry.register("selftest/value", _SCHEMA), schema_id)
        registry.kill9()
        registry.restart()
        self.assertEqual(registry.schema(schema_id)["name"], "Sample")
        with self.assertRaises(ServiceError):
            registry.schema(999_999)

        record = {"at": 1_700_000_000_001, "name": None}
        value = ku.Codec(_SCHEMA, schema_id).encode(record)
        self.assertEqual(value[:5], b"\0" + schema_id.to_bytes(4, "big"))
        self.assertEqual(ku.Decoder(registry.schema).decode(value), record)
        with self.assertRaises(ValueError):
            ku.Codec(_SCHEMA, schema_id).decode(value + b"x")


class RedisTest(unittest.TestCase):
    def test_aof_snapshot_and_restore(self) -> None:
        # Not everysec: it holds writes back in memory while a sync is under way.
        redis = self.enterContext(Redis(aof=True, fsync="always"))
        client = redis.client()
        client.set("a", "1")
        snapshot = redis.snapshot()
        client.set("a", "2")
        redis.kill9()
        redis.restart()
        self.assertEqual(redis.client().get("a"), "2")
        redis.restore(snapshot)
        self.assertEqual(redis.client().get("a"), "1")
        redis.restore(None)
        self.assertIsNone(redis.client().get("a"))

    def test_freeze(self) -> None:
        import redis as api

        services.redis.freeze()
        with self.assertRaises(api.exceptions.TimeoutError):
            services.redis.client(socket_timeout=0.2).ping()
        services.redis.thaw()
        self.assertTrue(services.redis.client().ping())

    def test_logins(self) -> None:
        with Redis(requirepass='p "w') as redis:
            self.assertTrue(redis.client().ping())
            self.assertEqual(redis.url, f"redis://:p%20%22w@127.0.0.1:{redis.port}")
        acl = ["user default off", "user u on >s ~c:* resetchannels -@all +get"]
        with Redis(acl=acl, user="u", password="s") as redis:
            self.assertIsNone(redis.client().get("c:1"))

    def test_error_has_the_log(self) -> None:
        with self.assertRaisesRegex(ServiceError, "Bad directive"):
            Redis(config={"no-such-key": 1}).start()


class ProcessTest(unittest.TestCase):
    def test_ports_are_low_and_distinct(self) -> None:
        ports = [free_port() for _ in range(50)]
        self.assertEqual(len(set(ports)), 50)
        self.assertLess(max(ports), 32768)
        for port in ports:
            with socket.socket() as server:
                server.bind(("127.0.0.1", port))

    def test_children_end_with_their_parent(self) -> None:
        for ending in (signal.SIGKILL, signal.SIGTERM):
            program = (
                "import threading, time\n"
                "from support.services import Redis\n"
                "redis = Redis()\n"
                "thread = threading.Thread(target=redis.start)\n"
                "thread.start(); thread.join(); time.sleep(0.2)\n"
                "assert redis.running\n"
                "print(redis.pid, redis.dir, flush=True)\n"
                "time.sleep(60)\n"
            )
            parent = subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
            )
            assert parent.stdout is not None
            pid, directory = parent.stdout.readline().split()
            parent.send_signal(ending)
            parent.wait(10)
            parent.stdout.close()
            wait_until("the child's end", lambda: not Path(f"/proc/{pid}").exists(), 10)
            wait_until("its directory's end", lambda: not Path(directory).exists(), 10)


_FAKE = """#!{python}
import http.server, signal, sys, threading, time
assert sys.argv[1:3] == ["run", "-c"], sys.argv
text = open(sys.argv[3]).read()
port = int(text.split("listen:")[1].split('"')[1].rpartition(":")[2])
pages = {{"/readyz": "ok", "/status.json": '{{"up": true}}',
         "/metrics": '# HELP a b\\na_total{{p="1",q="x"}} 3\\na_total{{p="2",q="x"}} 4.5\\n'}}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.end_headers()
        self.wfile.write((page or "").encode())
    def log_message(self, *args): pass
def leave(*args):
    print('{{"msg": "bye"}}', file=sys.stderr, flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, leave)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class UptakeTest(unittest.TestCase):
    """With a stand-in for the binary."""

    def setUp(self) -> None:
        directory = self.enterContext(tempfile.TemporaryDirectory())
        fake = Path(directory) / "uptake"
        fake.write_text(_FAKE.format(python=sys.executable))
        fake.chmod(0o755)
        self.enterContext(mock.patch.dict(os.environ, {"UPTAKE_BIN": str(fake)}))

    def test_life(self) -> None:
        with Uptake(config_for(services, {"flush_interval": "1s"})) as uptake:
            self.assertEqual(uptake.status(), {"up": True})
            self.assertEqual(uptake.metric("a_total", q="x"), 7.5)
            self.assertEqual(uptake.metric("a_total", p="1"), 3)
            uptake.freeze()
            with self.assertRaises(OSError):
                uptake.get("/readyz", timeout=0.3)
            uptake.thaw()
            self.assertEqual(uptake.get("/nothing")[0], 404)
            ended = uptake.terminate()
            self.assertEqual((ended.code, ended.seconds < 5), (3, True))
            self.assertEqual(uptake.log_records(), [{"msg": "bye"}])
            uptake.start()
            uptake.kill9()
            self.assertEqual(uptake.wait(), -signal.SIGKILL)

    def test_texts(self) -> None:
        text = to_yaml({"kafka": {"bootstrap.servers": "a:1"}, "n": 2, "l": ["x"], "e": {}})
        self.assertEqual(text, 'kafka:\n  bootstrap.servers: "a:1"\nn: 2\nl: ["x"]\ne: {}\n')
        self.assertEqual(parse_metrics('a{b="c d"} 1 99\nb +Inf\n')["a{b=\"c d\"}"], 1.0)


class BrowserTest(unittest.TestCase):
    PAGE = (
        "data:text/html,<style>@media (prefers-color-scheme: dark) {body {background: black}}"
        "</style><body><script>setTimeout(() => {document.body.append('come');"
        "console.error('oh')}, 300)</script>"
    )

    def test_page(self) -> None:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with Browser() as browser:
            browser.open(self.PAGE)
            browser.wait_for("document.body.innerText.includes('come')")
            light = browser.screenshot(directory / "light.png", 400, 300).read_bytes()
            dark = browser.screenshot(directory / "dark.png", 500, 300, dark=True).read_bytes()
            self.assertEqual(browser.js("innerWidth"), 500)
            self.assertTrue(browser.js("matchMedia('(prefers-color-scheme: dark)').matches"))
            self.assertEqual([entry["level"] for entry in browser.console()], ["SEVERE"])
        self.assertEqual((_png_size(light), _png_size(dark)), ((400, 300), (500, 300)))
        self.assertNotEqual(light, dark)


def _png_size(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


if __name__ == "__main__":
    unittest.main(module="support.selftest", verbosity=2)
