"""A commit that arrives twice: the network delivers an EndTxn late, after librdkafka has repeated it by itself on another connection.
The late one must not end the transaction that follows. Each input record has exactly one dead letter.

LATE=200 for the long run.
"""

from __future__ import annotations

import os
import time
import unittest
from collections import Counter

from support.endtxn_proxy import EndTxnProxy
from support.kafka_util import producer, read_topic
from support.services import Kafka, Services
from support.uptake_proc import Uptake, config_for

from e2e.test_exact import INPUT, until_end

LATE = int(os.environ.get("LATE", "16"))
START = 1_767_225_600_000


class EndTxn(unittest.TestCase):
    def test_late_commits(self) -> None:
        proxy = EndTxnProxy(seed=3)
        kafka = Kafka(advertised=proxy.port)
        with proxy.start(kafka.port), Services(kafka=kafka) as services:
            kafka.create_topic("usage-events", 2, INPUT)
            config = config_for(services, {"clock": "log", "threads": 1, "publish_interval": "300ms", "checkpoint_interval": "1s"})
            client = producer(kafka.direct)
            sent = 0
            with Uptake(config, name="endtxn") as uptake:
                for _ in range(LATE):
                    proxy.late(delay=(0.2, 1.2))
                    until = time.monotonic() + 1.2
                    while time.monotonic() < until:  # outputs all the time, so that the late one meets a transaction
                        client.produce("usage-events", b"\x01", f"k{sent}".encode(), timestamp=START + sent)
                        sent += 1
                        client.poll(0.004)
                self.assertEqual(client.flush(30), 0)
                late = proxy.wait_late(LATE // 3)
                uptake.terminate()
            until_end(services, "endtxn-end")
            found = Counter((m.header("uptake.partition"), m.header("uptake.offset"))
                            for m in read_topic(kafka.direct, "usage-events-dead"))
            wanted = {(str(m.partition), str(m.offset)) for m in read_topic(kafka.direct, "usage-events")}
            print(f"\n{len(late)} late EndTxn, {sum(1 for l in late if l.error)} refused; {sent} records, {sum(found.values())} dead letters")
            self.assertEqual([k for k in wanted if found[k] == 0][:5], [], "dead letters are missing")
            self.assertEqual([k for k, n in found.items() if n > 1][:5], [], "dead letters came twice")
            self.assertEqual(len(wanted), sent)


if __name__ == "__main__":
    unittest.main()
