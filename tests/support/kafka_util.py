"""Kafka as the tests see it: producing, framing, reading a topic to its end."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

# librdkafka's own log lines are noise where brokers are killed on purpose.
_QUIET = {"log_level": 0, "reconnect.backoff.max.ms": 500}

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Message:
    """A record to produce, or one that was read or written."""

    key: bytes | None
    value: bytes | None
    timestamp: int | None = None  # Unix ms; None = now. librdkafka takes 0 for now, too.
    headers: Headers = field(default_factory=tuple)
    partition: int | None = None  # None = by the key, as Java producers do
    offset: int | None = None

    def header(self, name: str) -> str | None:
        """The last header of a name as text."""
        values = [value for key, value in self.headers if key == name]
        return values[-1].decode() if values and values[-1] is not None else None


# --- producing --------------------------------------------------------------


def producer(bootstrap: str, **config: Any) -> Producer:
    """An idempotent producer; underscores in a name stand for dots."""
    base = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        **_QUIET,
    }
    return Producer(base | _dotted(config))


def produce(
    bootstrap: str, topic: str, messages: Iterable[Message], timeout: float = 60.0, **config: Any
) -> list[Message]:
    """Produces in order and returns the messages with partition and offset."""
    client = producer(bootstrap, **config)
    written: list[Message] = []
    failed: list[KafkaError] = []
    for number, message in enumerate(messages):
        written.append(message)
        _enqueue(client, topic, message, _reporter(written, number, failed))
    left = client.flush(timeout)
    if left or failed:
        raise KafkaException(failed[0] if failed else KafkaError(KafkaError._TIMED_OUT))
    return written


def _reporter(written: list[Message], number: int, failed: list[KafkaError]) -> Callable[..., None]:
    def report(error: KafkaError | None, done: Any) -> None:
        if error is not None:
            failed.append(error)
            return
        written[number] = replace(
            written[number],
            partition=done.partition(),
            offset=done.offset(),
            timestamp=done.timestamp()[1],
        )

    return report


def _enqueue(client: Producer, topic: str, message: Message, report: Callable[..., None]) -> None:
    options: dict[str, Any] = {}
    if message.partition is not None:
        options["partition"] = message.partition
    if message.timestamp is not None:
        options["timestamp"] = message.timestamp
    if message.headers:
        options["headers"] = list(message.headers)
    while True:
        try:
            client.produce(topic, message.value, message.key, on_delivery=report, **options)
            client.poll(0)
            return
        except BufferError:
            client.poll(0.1)


def _dotted(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in config.items()}


# --- Avro -------------------------------------------------------------------


def frame(schema_id: int, body: bytes) -> bytes:
    """The Confluent header and a body."""
    return struct.pack(">bI", 0, schema_id) + body


def unframe(value: bytes) -> tuple[int, bytes]:
    """The schema id and the body of a framed value."""
    magic, schema_id = struct.unpack_from(">bI", value)
    if magic != 0:
        raise ValueError(f"magic byte {magic}")
    return schema_id, value[5:]


def _plain(schema: Any) -> Any:
    """The schema without logical types: tests compare numbers, not datetimes."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _plain(item) for key, item in schema.items() if key != "logicalType"}
    return schema


class Codec:
    """Encodes and decodes with one schema; framed if it has an id."""

    def __init__(self, schema: str | Mapping[str, Any], schema_id: int | None = None) -> None:
        self.text = schema if isinstance(schema, str) else json.dumps(schema)
        self.schema_id = schema_id
        self._schema = fastavro.parse_schema(_plain(json.loads(self.text)))

    @classmethod
    def load(cls, path: Path | str, schema_id: int | None = None) -> Codec:
        return cls(Path(path).read_text(), schema_id)

    def with_id(self, schema_id: int) -> Codec:
        return Codec(self.text, schema_id)

    def encode(self, record: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema, record)
        body = out.getvalue()
        return body if self.schema_id is None else frame(self.schema_id, body)

    def decode(self, value: bytes) -> Any:
        """Decodes bytes as encode() makes them; bytes left over are an error."""
        body = value if self.schema_id is None else unframe(value)[1]
        source = io.BytesIO(body)
        record = fastavro.schemaless_reader(source, self._schema, None)
        if source.tell() != len(body):
            raise ValueError(f"{len(body) - source.tell()} bytes left over")
        return record


class Decoder:
    """Decodes framed values of any schema, given a way to look ids up.

    Decoder(registry.schema).decode(message.value)
    """

    def __init__(self, lookup: Callable[[int], Any]) -> None:
        self._lookup = lookup
        self._codecs: dict[int, Codec] = {}

    def decode(self, value: bytes) -> Any:
        schema_id, _ = unframe(value)
        if schema_id not in self._codecs:
            self._codecs[schema_id] = Codec(json.dumps(self._lookup(schema_id)), schema_id)
        return self._codecs[schema_id].decode(value)


# --- reading ----------------------------------------------------------------


def consumer(bootstrap: str, isolation: str = "read_committed", **config: Any) -> Consumer:
    """A consumer that commits nothing by itself, of a group of its own by default."""
    base = {
        "bootstrap.servers": bootstrap,
        "group.id": f"test-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": isolation,
        **_QUIET,
    }
    return Consumer(base | _dotted(config))


def partitions(bootstrap: str, topic: str, timeout: float = 10.0) -> list[int]:
    client = consumer(bootstrap)
    try:
        return _partitions(client, topic, timeout)
    finally:
        client.close()


def _partitions(client: Consumer, topic: str, timeout: float) -> list[int]:
    found = client.list_topics(topic, timeout).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def read_topic(
    bootstrap: str,
    topic: str,
    *,
    isolation: str = "read_committed",
    start: Mapping[int, int] | None = None,
    timeout: float = 60.0,
) -> list[Message]:
    """All records from `start` (partition -> offset; the beginning) to the end.

    The end of a partition is where the broker says so: under read_committed
    the last stable offset. Sorted by partition and offset.
    """
    client = consumer(bootstrap, isolation)
    try:
        numbers = _partitions(client, topic, timeout)
        start = start or {}
        client.assign([TopicPartition(topic, p, start.get(p, OFFSET_BEGINNING)) for p in numbers])
        messages = _read_to_end(client, set(numbers), time.monotonic() + timeout)
    finally:
        client.close()
    return sorted(messages, key=lambda message: (message.partition, message.offset))


def _read_to_end(client: Consumer, waiting: set[int], deadline: float) -> list[Message]:
    messages: list[Message] = []
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no end of partitions {sorted(waiting)}")
        for got in client.consume(1000, 0.1):
            error = got.error()
            if error is None:
                messages.append(_message(got))
            elif error.code() == KafkaError._PARTITION_EOF:
                waiting.discard(got.partition())
            elif got.partition() in waiting or error.fatal():
                raise KafkaException(error)
    return messages


def _message(got: Any) -> Message:
    return Message(
        key=got.key(),
        value=got.value(),
        timestamp=got.timestamp()[1],
        headers=tuple(got.headers() or ()),
        partition=got.partition(),
        offset=got.offset(),
    )


def end_offsets(
    bootstrap: str, topic: str, isolation: str = "read_uncommitted", timeout: float = 20.0
) -> dict[int, int]:
    """The high watermarks, or under read_committed the last stable offsets."""
    client = consumer(bootstrap, isolation)
    try:
        return {
            p: client.get_watermark_offsets(TopicPartition(topic, p), timeout)[1]
            for p in _partitions(client, topic, timeout)
        }
    finally:
        client.close()


@dataclass(frozen=True)
class Committed:
    """What a group has committed for a partition."""

    offset: int
    metadata: str


def committed(
    bootstrap: str, group: str, topic: str, *, stable: bool = True, timeout: float = 20.0
) -> dict[int, Committed]:
    """A group's offsets with their metadata; partitions without one are left out.

    `stable` waits for transactions that have offsets pending.
    """
    isolation = "read_committed" if stable else "read_uncommitted"
    client = consumer(bootstrap, isolation, group_id=group)
    try:
        numbers = _partitions(client, topic, timeout)
        found = client.committed([TopicPartition(topic, p) for p in numbers], timeout)
    finally:
        client.close()
    failed = [place.error for place in found if place.error is not None]
    if failed:
        raise KafkaException(failed[0])
    return {p.partition: Committed(p.offset, p.metadata or "") for p in found if p.offset >= 0}
