"""Compares what uptake wrote to Redis and to the dead-letter topic with the oracle.

Reads the input topic (read_committed, from its beginning to its present end), the writers' schemas
and every row, and prints each difference (the first 20) and a summary. Exit code 1 on a difference.

  python verify_redis.py --bootstrap HOST:PORT --registry URL --redis-port PORT

A row is evaluated at its own position (its fields `offset` and `as_of`). Unless --live is given, the
pipeline is taken to be idle at the end of the log: then rows, feature rows and totals must also hold
for the end. Scores, signals, alerts and phase are not checked.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional

import redis
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

import oracle
from oracle import Config, DeadLetter, Headers, Partition

SIGNALS = Path(__file__).resolve().parents[2] / "include" / "uptake" / "signal.h"
UNCHECKED = {
    *("segments", "controlled_alerts"),
    *re.findall(r"\bX\(\w+, \"(\w+)\"\)", SIGNALS.read_text(encoding="utf-8")),
    *("health", "health_band", "health_confidence", "phase", "open_alerts"),
    *("churn_risk_30d", "churn_risk_60d", "churn_risk_90d"),
}
POSITION = {"as_of", "next_change", "partition", "offset"}
SHOWN = 20
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Row = dict[str, str]
Place = tuple[str, int, int]  # topic, partition, offset


@dataclass
class Report:
    """What one partition found, and what it adds to the sums."""

    partition: int
    end_offset: Optional[int] = None
    clock: Optional[int] = None
    records: int = 0
    rows: int = 0
    fields: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    dead: dict[Place, DeadLetter] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    features: dict[str, Counter[str]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)


# ---------------------------------------------------------------- Kafka and the registry


def consumer(options: argparse.Namespace) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": options.bootstrap,
            "group.id": f"oracle-{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.message.max.bytes": 4 << 20,
            "queued.max.messages.kbytes": 65536,
            **dict(pair.split("=", 1) for pair in options.kafka),
        }
    )


def partitions_of(options: argparse.Namespace, topic: str) -> list[int]:
    client = consumer(options)
    found = client.list_topics(topic, timeout=30).topics[topic]
    client.close()
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def read_partition(options: argparse.Namespace, topic: str, partition: int) -> Iterator[Message]:
    """The visible records from the beginning to the first end met."""
    client = consumer(options)
    low, _ = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
    client.assign([TopicPartition(topic, partition, low)])
    while True:
        for message in client.consume(5000, timeout=1.0):
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                client.close()
                return
            elif message.error().fatal() or message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(message.error())


class Registry:
    """Schemas by id, with those that they refer to."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def __call__(self, schema_id: int) -> Optional[list[str]]:
        found = self.get(f"/schemas/ids/{schema_id}", (40403,))
        if found is None:
            return None
        if found.get("schemaType", "AVRO") != "AVRO":
            return [""]
        texts, seen, left = [found["schema"]], set(), list(found.get("references", ()))
        while left:
            reference = left.pop(0)
            place = f"/subjects/{urllib.parse.quote(reference['subject'], safe='')}/versions/{reference['version']}"
            other = None if place in seen else self.get(place, (40401, 40402, 40403))
            seen.add(place)
            if other is not None:
                texts.append(other["schema"])
                left += other.get("references", ())
        return texts

    def get(self, path: str, absent: tuple[int, ...]) -> Optional[dict[str, Any]]:
        """None: a 404 with one of these codes."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404 and json.load(error).get("error_code") in absent:
                return None
            raise


# ---------------------------------------------------------------- one partition


def check_partition(options: argparse.Namespace, number: int) -> Report:
    partition = Partition(make_config(options, number), options.wall_ticks.get(number, []))
    report = Report(number)
    lookup = Registry(options.registry) if options.registry else lambda schema_id: None
    for message in read_partition(options, options.input_topic, number):
        outcome = partition.record(
            message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or [], lookup
        )
        report.records += 1
        if outcome.dead:
            report.dead[options.input_topic, number, message.offset()] = outcome.dead
    partition.finish()
    report.clock, report.verdicts = partition.clock, partition.counts
    report.end_offset = partition.offsets[-1] if partition.offsets else None
    report.accounts = set(partition.alive)
    if partition.clock is not None:
        report.features, report.totals = partition.sums()
        check_accounts(options, partition, report)
    return report


def make_config(options: argparse.Namespace, number: int) -> Config:
    return Config(
        topic=options.input_topic,
        partition=number,
        framing="none" if options.schema_file else "confluent",
        schema=Path(options.schema_file).read_text() if options.schema_file else "",
        max_future=options.max_future,
        dedup_window=options.dedup_window,
        retention=options.retention,
        max_record_bytes=options.max_record_bytes,
        max_batch_events=options.max_batch_events,
        max_depth=options.max_depth,
        adoption_days=options.adoption_days,
        adoption_min_days=options.adoption_min_days,
    )


def check_accounts(options: argparse.Namespace, partition: Partition, report: Report) -> None:
    client = connect(options)
    for accounts in chunks(sorted(partition.alive), 500):
        pipe = client.pipeline(transaction=False)
        for account in accounts:
            pipe.hgetall(oracle.account_key(options.prefix, account))
            pipe.hgetall(oracle.features_key(options.prefix, account))
        replies = pipe.execute()
        for account, row, features in zip(accounts, replies[::2], replies[1::2]):
            check_account(options, partition, report, account, text(row), text(features))


def check_account(
    options: argparse.Namespace, partition: Partition, report: Report, account: str, found: Row, features: Row
) -> None:
    report.rows += 1
    name = f"account {account!r}"
    position = row_position(partition, found)
    if position is None:
        report.differences.append(f"{name}: no row, or one without partition, offset and as_of: {found}")
        return
    offset, as_of = position
    report.differences += [f"{name}: {problem}" for problem in check_as_of(options, partition, offset, as_of)]
    compare_at(options, partition, report, account, offset, as_of, found, features)
    end = partition.offsets[-1]
    if not options.live and (offset, as_of) != (end, partition.clock):
        compare_at(options, partition, report, account, end, partition.clock, found, features)


def row_position(partition: Partition, found: Row) -> Optional[tuple[int, int]]:
    """offset and as_of of a row of this partition."""
    try:
        own = int(found["partition"]) == partition.config.partition
        return (int(found["offset"]), int(found["as_of"])) if own else None
    except (KeyError, ValueError):
        return None


def check_as_of(options: argparse.Namespace, partition: Partition, offset: int, as_of: int) -> list[str]:
    """as_of is clock(offset) or a later tick."""
    clock, following = partition.clock_at(offset), partition.clock_after(offset)
    problems = []
    if clock is None or as_of < clock or (as_of > clock and as_of % oracle.MINUTE):
        problems.append(f"as_of {as_of} is neither the clock of offset {offset} ({clock}) nor a later tick")
    latest = partition.clock if following is None else following
    if options.clock == "log" and as_of > latest:
        problems.append(f"as_of {as_of} is after the next record's clock, or the end's, {latest}")
    return problems


def compare_at(
    options: argparse.Namespace,
    partition: Partition,
    report: Report,
    account: str,
    offset: int,
    as_of: int,
    found: Row,
    features: Row,
) -> None:
    """Compares a row with what is true at a position, its own or the end."""
    where = f"account {account!r} at offset {offset}, clock {as_of}"
    expected = partition.account_row(account, offset, as_of)
    if expected is None:
        report.differences.append(f"{where}: not known there")
        return
    own = (found["offset"], found["as_of"]) == (str(offset), str(as_of))
    compare(report, where, expected, found, POSITION, options)
    compare(report, f"{where}, :features", partition.features_hash(account, offset, as_of), features, set(), options)
    problem = check_next_change(found.get("next_change"), expected.get("next_change"), as_of)
    if own and problem:
        report.differences.append(f"{where}: {problem}")


def check_next_change(found: Optional[str], exact: Optional[str], as_of: int) -> Optional[str]:
    if found is None or exact is None:
        return None if found == exact else f"next_change {found}, the first change is at {exact}"
    if not found.isdecimal() or not as_of < int(found) <= int(exact):
        return f"next_change {found} not in ({as_of}, {exact}]"
    return None


def compare(
    report: Report, where: str, expected: Row, found: Row, skip: set[str], options: argparse.Namespace
) -> None:
    """Every field, also those that should not be there."""
    ignored = skip | UNCHECKED | set(options.ignore_field)
    for name in sorted((set(expected) | set(found)) - ignored):
        report.fields += 1
        if expected.get(name) != found.get(name):
            report.differences.append(f"{where}: {name} is {found.get(name)}, expected {expected.get(name)}")


# ---------------------------------------------------------------- sums over partitions


def check_sums(options: argparse.Namespace, reports: list[Report], total: Report) -> None:
    """Feature rows and totals hold for the end of every partition."""
    client = connect(options)
    with_clock = [r for r in reports if r.clock is not None]
    totals: Counter[str] = Counter()
    features: dict[str, Counter[str]] = {}
    for report in with_clock:
        totals.update(report.totals)
        for name, sums in report.features.items():
            features.setdefault(name, Counter()).update(sums)
    for name, sums in sorted(features.items()):
        clocks = [r.clock for r in with_clock if any(r.features.get(name, {}).values())]
        found = text(client.hgetall(oracle.feature_key(options.prefix, name)))
        if found or any(sums.values()):  # a row of zeros may be there or not
            check_sum(options, total, f"feature {name!r}", oracle.feature_row(sums, totals), found, clocks)
    if with_clock:
        found = text(client.hgetall(f"{options.prefix}totals"))
        check_sum(options, total, "totals", oracle.totals_row(totals), found, [r.clock for r in with_clock])
    check_keys(options, client, total, set(features))
    check_partitions(options, client, reports, total)


def check_sum(
    options: argparse.Namespace, total: Report, where: str, expected: Row, found: Row, clocks: list[int]
) -> None:
    total.rows += 1
    compare(total, where, expected, found, {"as_of"}, options)
    as_of = found.get("as_of", "")
    if not as_of.lstrip("-").isdecimal() or (clocks and int(as_of) > min(clocks) and options.clock == "log"):
        total.differences.append(f"{where}: as_of {as_of!r}, the least clock is {min(clocks, default=None)}")


def check_keys(options: argparse.Namespace, client: redis.Redis, total: Report, features: set[str]) -> None:
    """No row, hash or rank of an account or feature that is not known."""
    prefix = options.prefix.encode()
    known = {oracle.account_key(options.prefix, a) for a in total.accounts}
    known |= {oracle.features_key(options.prefix, a) for a in total.accounts}
    known |= {oracle.feature_key(options.prefix, f) for f in features}
    for key in client.scan_iter(match=glob_escape(options.prefix) + "*", count=5000):
        if key.startswith((prefix + b"account:", prefix + b"feature:")) and key not in known:
            total.differences.append(f"key {key!r} should not be there")
    accounts = {a.encode() for a in total.accounts}
    for rank in ("churn_risk", "health"):
        for member, _ in client.zscan_iter(f"{options.prefix}rank:{rank}", count=5000):
            if member not in accounts:
                total.differences.append(f"rank:{rank} holds {member!r}, which is not known")


def check_partitions(options: argparse.Namespace, client: redis.Redis, reports: list[Report], total: Report) -> None:
    found = text(client.hgetall(f"{options.prefix}partitions"))
    for report in reports:
        where = f"partitions, {report.partition}"
        total.rows += 1
        try:
            entry: dict[str, Any] = json.loads(found[str(report.partition)])
        except (KeyError, ValueError):
            total.differences.append(f"{where}: no entry or no JSON: {found.get(str(report.partition))}")
            continue
        total.fields += 2
        if entry.get("offset") != report.end_offset:
            total.differences.append(f"{where}: offset is {entry.get('offset')}, expected {report.end_offset}")
        as_of = entry.get("as_of")
        later = options.clock == "wall" and None not in (as_of, report.clock) and as_of >= report.clock
        if as_of != report.clock and not later:
            total.differences.append(f"{where}: as_of is {as_of}, expected {report.clock}")
        if report.end_offset is not None and not entry.get("end_offset", -1) > report.end_offset:
            total.differences.append(f"{where}: end_offset {entry.get('end_offset')} is not beyond the last record")


# ---------------------------------------------------------------- dead letters


def check_dead_letters(options: argparse.Namespace, total: Report) -> int:
    """Each expected letter exactly once, nothing else. Returns how many there are."""
    seen: Counter[Place] = Counter()
    count = 0
    for number in partitions_of(options, options.dead_topic):
        for message in read_partition(options, options.dead_topic, number):
            count += 1
            where = f"{options.dead_topic}/{number}/{message.offset()}"
            headers = message.headers() or []
            place = letter_place(headers)
            expected = total.dead.get(place) if place else None
            if expected is None:
                total.differences.append(f"{where}: a dead letter that is not expected, of {place}, {headers}")
                continue
            seen[place] += 1
            problems = letter_problems(expected, message.key(), message.value(), headers)
            total.differences += [f"{where}, of {place}: {problem}" for problem in problems]
    for place, letter in total.dead.items():
        if seen[place] != 1:
            total.differences.append(f"dead letter of {place} ({letter.reason}): {seen[place]} times, expected 1")
    return count


def letter_place(headers: Headers) -> Optional[Place]:
    """Topic, partition and offset that a dead letter names."""
    values = {name: value for name, value in headers if value is not None}
    try:
        return (
            values["uptake.topic"].decode(),
            int(values["uptake.partition"]),
            int(values["uptake.offset"]),
        )
    except (KeyError, ValueError):
        return None


def letter_problems(expected: DeadLetter, key: Optional[bytes], value: Optional[bytes], headers: Headers) -> list[str]:
    problems = []
    if key != expected.key:
        problems.append(f"key is {key!r}, expected {expected.key!r}")
    if value != expected.value:
        problems.append(f"value differs: {_start(value)}, expected {_start(expected.value)}")
    if without_detail(headers) != without_detail(expected.headers):
        problems.append(f"headers are {headers}, expected {expected.headers}")
    return problems


def without_detail(headers: Headers) -> Headers:
    """The same headers in the same order, with the text of uptake.detail left open."""
    return [(name, b"*" if name == "uptake.detail" else value) for name, value in headers]


def _start(value: Optional[bytes]) -> str:
    return "null" if value is None else f"{len(value)} bytes {value[:40].hex()}"


# ---------------------------------------------------------------- helpers


def connect(options: argparse.Namespace) -> redis.Redis:
    return redis.Redis(host=options.redis_host, port=options.redis_port, password=options.redis_password)


def text(row: dict[bytes, bytes]) -> Row:
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in row.items()}


def chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def glob_escape(pattern: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in pattern)


def duration(value: str) -> int:
    """Milliseconds of `5m`, `400d`, `250ms` or a bare number of milliseconds."""
    number = value.rstrip("mshd")
    return int(number) * UNITS[value[len(number) :] or "ms"]


def read_ticks(path: Optional[str]) -> dict[int, list[tuple[int, int]]]:
    """JSON: {"PARTITION": [[OFFSET, TICK], …]}; a tick runs after that offset."""
    content = json.loads(Path(path).read_text()) if path else {}
    return {int(number): [(offset, tick) for offset, tick in ticks] for number, ticks in content.items()}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--bootstrap", required=True)
    add("--registry", help="URL of the schema registry")
    add("--schema-file", help="framing: none, with the schema of this file")
    add("--redis-host", default="127.0.0.1")
    add("--redis-port", type=int, default=6379)
    add("--redis-password")
    add("--prefix", default="uptake:")
    add("--input-topic", default="usage-events")
    add("--dead-topic", default="usage-events-dead")
    add("--clock", choices=("log", "wall"), default="log", help="log also for --until-end")
    add("--ticks", help="file with the places of the wall ticks")
    add("--live", action="store_true", help="rows may be behind the end of the log: no sums are checked")
    add("--ignore-field", action="append", default=[], help="a field of rows not to be compared")
    add("--kafka", action="append", default=[], metavar="NAME=VALUE", help="a property of the Kafka client")
    add("--processes", type=int, default=2)
    for name, default in (("max-future", "5m"), ("dedup-window", "10m"), ("retention", "400d")):
        add(f"--{name}", type=duration, default=default)
    for name, size in (("max-record-bytes", 1 << 20), ("max-batch-events", 10_000), ("max-depth", 32)):
        add(f"--{name}", type=int, default=size)
    add("--adoption-days", type=int, default=28)
    add("--adoption-min-days", type=int, default=3)
    options = parser.parse_args()
    options.wall_ticks = read_ticks(options.ticks)
    return options


def merge(reports: list[Report]) -> Report:
    """Counts, differences, accounts and dead letters of all partitions."""
    total = Report(-1)
    for report in reports:
        total.records += report.records
        total.rows += report.rows
        total.fields += report.fields
        total.verdicts.update(report.verdicts)
        total.differences += report.differences
        total.dead |= report.dead
        total.accounts |= report.accounts
    return total


def main() -> int:
    options = parse_options()
    started = time.monotonic()
    numbers = partitions_of(options, options.input_topic)
    with Pool(options.processes) as pool:
        reports = pool.starmap(check_partition, [(options, number) for number in numbers], chunksize=1)
    total = merge(reports)
    if not options.live:
        check_sums(options, reports, total)
    letters = check_dead_letters(options, total)
    for difference in total.differences[:SHOWN]:
        print(f"DIFFERENCE {difference}")
    reasons = Counter(letter.reason for letter in total.dead.values())
    print(f"{len(numbers)} partitions, {total.records} records, {len(total.accounts)} accounts")
    print(f"verdicts: {dict(sorted(total.verdicts.items()))}")
    print(f"{total.rows} rows and {total.fields} fields compared")
    print(f"{letters} dead letters found, {len(total.dead)} expected: {dict(sorted(reasons.items()))}")
    print(f"{len(total.differences)} differences, {time.monotonic() - started:.0f} s")
    return 1 if total.differences else 0


if __name__ == "__main__":
    sys.exit(main())
