"""Every thread of a run at work at once, small enough for the thread sanitizer: reading, restoring, flushing, publishing,
admin pages and SIGHUP, a Redis that loses everything, a Redis that is away, SIGTERM in the middle.

    UPTAKE_BIN=build/tsan/uptake tests/support/tsan.sh tests/support/python.sh -m e2e.test_threads
"""

from __future__ import annotations

import os
import time
import unittest
from http.client import HTTPException

from support.kafka_util import produce
from support.services import Services
from support.uptake_proc import Uptake, config_for
from support.worker import Worker

from e2e.test_exact import INPUT, PARTITIONS, until_end, verify
from e2e.traffic import Traffic

EVENTS = int(os.environ.get("THREADS_EVENTS", "8000"))
CONFIG = {"clock": "log", "checkpoint_interval": "1s", "threads": 3, "flush_interval": "100ms"}
PAGES = ("/", "/metrics", "/healthz", "/readyz", "/status.json")


class Browser(Worker):
    """Asks for the admin pages in turn and re-reads the rules now and then."""

    def __init__(self, uptake: Uptake) -> None:
        super().__init__()
        self.uptake = uptake
        self.answers = 0

    def work(self) -> None:
        while not self.stop.wait(0.05):
            for page in PAGES:
                try:
                    self.uptake.get(page, timeout=10)
                    self.answers += 1
                except (OSError, HTTPException):  # it is ending
                    pass
            if self.answers % 50 == 0 and self.uptake.running:
                self.uptake.hangup()


class Threads(unittest.TestCase):
    def browse(self, uptake: Uptake) -> Browser:
        browser = Browser(uptake)
        browser.start()
        self.addCleanup(browser.stop.set)
        return browser

    def test_all_at_once(self) -> None:
        with Services() as services:
            services.kafka.create_topic("usage-events", PARTITIONS, INPUT)
            traffic = Traffic(services.registry, accounts=100, seed=21)

            def more() -> None:
                produce(services.kafka.bootstrap, "usage-events", traffic.make(EVENTS // 4), message_max_bytes=3_000_000)
                traffic.start += EVENTS // 4 * traffic.step

            config = config_for(services, CONFIG)
            more()
            with Uptake(config, name="first") as uptake:
                browser = self.browse(uptake)
                time.sleep(1.5)
                more()
                self.assertEqual(uptake.terminate(60).code, 0, uptake.tail(60))  # amid records, rows and pages
                browser.finish()
            with Uptake(config, name="second") as uptake:  # restores
                browser = self.browse(uptake)
                more()
                services.redis.client().flushall()
                time.sleep(1.5)
                services.redis.kill9()
                more()
                time.sleep(1.5)
                services.redis.start()
                time.sleep(1)
                self.assertEqual(uptake.terminate(60).code, 0, uptake.tail(60))
                browser.finish()
                self.assertGreater(browser.answers, 20)
            until_end(services, "threads-end", **{k: v for k, v in CONFIG.items() if k != "clock"})
            print("\nthreads:", verify(services).splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
