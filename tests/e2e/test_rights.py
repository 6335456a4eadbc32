"""With exactly the rights of deploy/RUNBOOK.md, in Kafka and in Redis, everything works: topics are made, counts are exact, what a
killed process left open is ended by another instance, and nobody is refused anything.
"""

from __future__ import annotations

import unittest

from support.kafka_util import produce
from support.process import wait_until
from support.services import HOST, Kafka, Redis, Services
from support.uptake_proc import Uptake, config_for

from e2e.test_exact import INPUT, PARTITIONS, verify
from e2e.traffic import Traffic

EVENTS = 4000
KAFKA_RIGHTS = [
    ("TOPIC", "usage-events", "LITERAL", "READ DESCRIBE_CONFIGS"),
    ("TOPIC", "uptake-state", "LITERAL", "CREATE READ WRITE DESCRIBE_CONFIGS"),
    ("TOPIC", "account-health", "LITERAL", "CREATE WRITE DESCRIBE_CONFIGS"),
    ("TOPIC", "churn-alerts", "LITERAL", "CREATE WRITE DESCRIBE_CONFIGS"),
    ("TOPIC", "usage-events-dead", "LITERAL", "CREATE WRITE DESCRIBE_CONFIGS"),
    ("GROUP", "uptake", "LITERAL", "READ"),
    ("GROUP", "uptake-reader", "LITERAL", "DESCRIBE"),
    ("TRANSACTIONAL_ID", "uptake-", "PREFIXED", "WRITE"),
]
REDIS_RIGHTS = ("~uptake:* +evalsha +script|load +watch +unwatch +multi +exec +get +set +hget +hmget +hgetall +hset +hdel +del "
                "+unlink +sadd +srem +zadd +zrem +zrevrange +xadd +scan")


def guarded_kafka() -> Kafka:
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_uptake="secret";'
    return Kafka(listeners={"SASL": "SASL_PLAINTEXT"}, config={
        "sasl.enabled.mechanisms": "PLAIN", "listener.name.sasl.plain.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"})


def allow(kafka: Kafka) -> None:
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    bindings = [AclBinding(ResourceType[kind], name, ResourcePatternType[pattern], "User:uptake", "*", AclOperation[operation],
                           AclPermissionType.ALLOW)
                for kind, name, pattern, operations in KAFKA_RIGHTS for operation in operations.split()]
    admin = kafka.admin()  # its end would be that of the request, too
    for future in admin.create_acls(bindings).values():
        future.result(30)


class Rights(unittest.TestCase):
    def test_no_more_than_these(self) -> None:
        redis = Redis(acl=["user default on nopass ~* &* +@all", f"user uptake on >secret resetkeys -@all {REDIS_RIGHTS}"])
        with Services(kafka=guarded_kafka(), redis=redis) as services:
            kafka = services.kafka
            kafka.create_topic("usage-events", PARTITIONS, INPUT)
            allow(kafka)
            traffic = Traffic(services.registry, accounts=100)
            produce(kafka.bootstrap, "usage-events", traffic.make(EVENTS), message_max_bytes=3_000_000)
            login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "uptake",
                     "sasl.password": "secret", "bootstrap.servers": f"{HOST}:{kafka.ports['SASL']}"}
            config = config_for(services, {"clock": "log", "checkpoint_interval": "1s", "kafka": login,
                                           "redis": {"url": f"redis://uptake:secret@{HOST}:{redis.port}"}})
            killed = Uptake({**config, "instance": "killed"}, name="killed")
            other = Uptake({**config, "instance": "other"}, name="other", args=["--until-end"])
            self.addCleanup(killed.close)
            self.addCleanup(other.close)
            killed.start()
            wait_until("a transaction", lambda: killed.metric("uptake_transactions_total") > 0)
            pages = [killed.get(page)[1] for page in ("/status.json", f"/account.json?account={traffic.account()}")]
            killed.kill9()
            other.launch()
            self.assertEqual(other.wait(120), 0, other.tail(40))
            self.assertTrue(any("ended what uptake-killed" in line for line in other.logs()), other.tail(40))
            told = [*pages, *killed.logs(), *other.logs()]
            refused = ("uthoriz", "AUTHORIZ", "NOPERM", "cannot be read")
            self.assertEqual([text for text in told if any(word in text for word in refused)], [])
            verify(services)


if __name__ == "__main__":
    unittest.main()
