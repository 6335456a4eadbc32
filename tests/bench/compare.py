"""`uptake run` beside the loops under it and the programs that would be written instead, on one topic, in turn.

    tests/bench/compare [--write]          --write: puts the table into BENCHMARKS.md

Starts a broker, a registry and Redis, fills a topic with bench_load, and lets every contender read it from its start to
its end, ROUNDS times, each round beginning with another one. Rows in Redis are compared with those of uptake, number
by number, after every run: a difference ends the benchmark. BENCHMARKS.md says what is measured and what a peer leaves out.
Variables: EVENTS, ROUNDS, ACCOUNTS, PARTITIONS, RATE (events a second by their time stamps), THREADS (of uptake),
ONLY (names of contenders, by commas; uptake is always one), JAVA_OPTS.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from measure import ROOT, Use, asked_to_write, first_line, machine, measured, process_cpu, publish, ratio  # noqa: E402
from support.services import _VERSIONS, Kafka, Services, cache_dir  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402

EVENTS = int(os.environ.get("EVENTS", "1000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "100000"))
PARTITIONS = int(os.environ.get("PARTITIONS", "4"))
RATE = int(os.environ.get("RATE", "10000"))
THREADS = os.environ.get("THREADS")
ONLY = [name for name in os.environ.get("ONLY", "").split(",") if name]
JAVA_OPTS = os.environ.get("JAVA_OPTS", "-Xmx4g -XX:+UseParallelGC")
TOPIC = "usage-events"
TOPIC_CONFIG = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1"}
SCHEMA = ROOT / "schemas/uptake.v1.UsageEvent.avsc"
PEERS = ROOT / "tests/bench/peers"
WINDOWS = ("1h", "24h", "7d", "30d")
USAGE_FIELDS = [f"{what}_{window}" for what in ("events", "units") for window in WINDOWS]
ACCOUNT_FIELDS = [*USAGE_FIELDS, *(f"logins_{window}" for window in WINDOWS), "users_24h", "users_7d", "users_30d", "users_total",
                  "features_30d", "first_seen", "last_seen"]
FEATURE_FIELDS = [*USAGE_FIELDS, "accounts_30d", "users_30d"]

Rows = dict[str, tuple[int, ...]]


@dataclass
class Contender:
    """run: does the whole work once; gives its use of the machine, start-up taken out, and the seconds of that."""

    name: str
    what: str
    run: Callable[[Services, int], tuple[Use, float]]
    rows: Callable[[Services], Rows] | None = None
    figures: list[dict[str, float]] = field(default_factory=list)


# --- contenders -------------------------------------------------------------


def built(name: str) -> Path:
    return binary().parent / "tests/bench" / name


def check_records(name: str, use: Use) -> dict[str, float]:
    said = json.loads(use.out)
    if said["records"] != EVENTS:
        raise SystemExit(f"{name} read {said['records']} of {EVENTS} records")
    return said


def discard(*how: str) -> Callable[[Services, int], tuple[Use, float]]:
    def run(services: Services, _round: int) -> tuple[Use, float]:
        use = measured([built("bench_load"), "discard", services.kafka.bootstrap, TOPIC, *how])
        check_records("bench_load discard", use)
        return use, 0.0

    return run


def uptake(services: Services, number: int) -> tuple[Use, float]:
    name = f"compare-{number}"
    outputs = {"health_topic": f"{name}-health", "alerts_topic": f"{name}-alerts", "dead_topic": f"{name}-dead"}
    over: dict[str, object] = {"clock": "log", "group": name, "state_topic": f"{name}-state", "output": outputs}
    if THREADS:
        over["threads"] = int(THREADS)
    process = Uptake(config_for(services, over), name=name, args=["--until-end"])
    use = measured(process.argv(), cwd=process.dir)
    process.close()
    return use, 0.0


def native(program: Path) -> Callable[[Services, int], tuple[Use, float]]:
    def run(services: Services, _round: int) -> tuple[Use, float]:
        use = measured([program, services.kafka.bootstrap, TOPIC, services.redis.port, SCHEMA])
        check_records(program.name, use)
        return use, 0.0

    return run


def streams(classpath: str, variant: str) -> Callable[[Services, int], tuple[Use, float]]:
    def run(services: Services, number: int) -> tuple[Use, float]:
        state = services.kafka.dir / f"streams-{variant}-{number}"
        use = measured(["java", *JAVA_OPTS.split(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classpath,
                        "PeerStreams", services.kafka.bootstrap, TOPIC, services.redis.port, SCHEMA, state, variant])
        said = check_records("Kafka Streams", use)
        return Use(said["end_cpu"] - said["startup_cpu"], use.peak, use.wall, use.out), said["startup_cpu"]

    return run


def build_rust() -> Path | None:
    """The Rust peer, or None where it cannot be had."""
    target = binary().parent / "tests/bench/peer_rust"
    if shutil.which("cargo") is None:
        print("no cargo here: the Rust peer is left out", flush=True)
        return None
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(PEERS / "rust/Cargo.toml")]
    env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    if subprocess.run(command, env=env, check=False).returncode != 0:
        print("cargo cannot build the Rust peer: it is left out", flush=True)
        return None
    return target / "release/peer"


def build_streams() -> str | None:
    """The class path of the Kafka Streams peer, or None where it cannot be had."""
    if shutil.which("javac") is None or shutil.which("mvn") is None:
        print("no javac or no mvn here: the Kafka Streams peers are left out", flush=True)
        return None
    version = _VERSIONS["KAFKA_VERSION"]
    libraries = cache_dir() / f"peer-streams-{version}"
    classes = binary().parent / "tests/bench/peer_streams"
    command = ["mvn", "-q", "-B", "-f", str(PEERS / "streams/pom.xml"), f"-Dkafka.version={version}",
               "dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
    if not libraries.is_dir() and subprocess.run(command, check=False).returncode != 0:
        shutil.rmtree(libraries, ignore_errors=True)
        print("mvn cannot fetch Kafka Streams: those peers are left out", flush=True)
        return None
    subprocess.run(["javac", "-nowarn", "-d", str(classes), "-cp", f"{libraries}/*", str(PEERS / "streams/PeerStreams.java")], check=True)
    return f"{classes}:{libraries}/*"


def contenders() -> list[Contender]:
    def wanted(*names: str) -> bool:
        return not ONLY or any(name in ONLY for name in names)

    found = [
        Contender("callback", "librdkafka callback queue, consume and discard", discard()),
        Contender("poll", "`rd_kafka_consumer_poll`, consume and discard", discard("poll")),
        Contender("uptake", "`uptake run --until-end`, everything on", uptake, uptake_rows),
        Contender("c", "C, straightforward: poll, libavro, hiredis", native(built("peer_c")), peer_rows),
    ]
    rust = build_rust() if wanted("rust") else None
    if rust is not None:
        found.append(Contender("rust", "Rust, tuned: rdkafka, serde_avro_fast, hashbrown, redis", native(rust), peer_rows))
    classpath = build_streams() if wanted("streams-kv", "streams-live") else None
    if classpath is not None:
        found.append(Contender("streams-live", "Kafka Streams, hand-made store of live objects", streams(classpath, "live"), peer_rows))
        found.append(Contender("streams-kv", "Kafka Streams, in-memory KeyValueStore with serdes", streams(classpath, "kv"), peer_rows))
    return [one for one in found if one.name == "uptake" or wanted(one.name)]


# --- rows -------------------------------------------------------------------


def read_rows(services: Services, prefix: str, fields: list[str]) -> Rows:
    """These fields of every row below a prefix, units in millionths; rows that are all 0 are left out."""
    redis = services.redis.client()
    keys = [key for key in redis.scan_iter(match=f"{prefix}*", count=10000) if not key.endswith(":features")]
    rows: Rows = {}
    for begin in range(0, len(keys), 1000):
        pipe = redis.pipeline(transaction=False)
        for key in keys[begin : begin + 1000]:
            pipe.hmget(key, fields)
        for key, values in zip(keys[begin : begin + 1000], pipe.execute(), strict=True):
            if None in values:
                raise SystemExit(f"{key} has no {fields[values.index(None)]}")
            row = tuple(round(float(v) * 1e6) if name.startswith("units") else int(v) for name, v in zip(fields, values, strict=True))
            if any(row):
                rows[key[len(prefix) :]] = row
    return rows


def uptake_rows(services: Services) -> Rows:
    accounts = {f"account {key.strip('{}')}": row for key, row in read_rows(services, "uptake:account:", ACCOUNT_FIELDS).items()}
    features = {f"feature {key.strip('{}')}": row for key, row in read_rows(services, "uptake:feature:", FEATURE_FIELDS).items()}
    return accounts | features


def peer_rows(services: Services) -> Rows:
    """Peers write a feature's part of each partition; here they are added up (an account is in one of them)."""
    rows = {f"account {key}": row for key, row in read_rows(services, "peer:account:", ACCOUNT_FIELDS).items()}
    for key, row in read_rows(services, "peer:feature:", FEATURE_FIELDS).items():
        name = f"feature {key.rpartition(':')[0]}"
        rows[name] = tuple(a + b for a, b in zip(rows.get(name, (0,) * len(FEATURE_FIELDS)), row, strict=True))
    return rows


def check_rows(one: Contender, rows: Rows, reference: Rows) -> None:
    if rows == reference:
        return
    wrong = sorted(key for key in rows.keys() | reference.keys() if rows.get(key) != reference.get(key))
    shown = []
    for key in wrong[:5]:
        names = ACCOUNT_FIELDS if key.startswith("account") else FEATURE_FIELDS
        none = (None,) * len(names)
        pairs = zip(names, rows.get(key, none), reference.get(key, none), strict=True)
        shown.append(f"\n  {key}: " + ", ".join(f"{name} {a}, uptake: {b}" for name, a, b in pairs if a != b))
    raise SystemExit(f"{one.name}: {len(wrong)} of {len(reference)} rows differ from uptake's:{''.join(shown)}")


# --- measuring --------------------------------------------------------------


def log_bytes(services: Services, of_input: bool) -> int:
    """Bytes of records in the broker's log: of the input topic, or of all others that contenders write."""
    total = 0
    for folder in services.kafka.data.iterdir():
        if folder.is_dir() and folder.name.startswith(f"{TOPIC}-") == of_input and not folder.name.startswith("__cluster"):
            total += sum(file.stat().st_size for file in folder.glob("*.log"))
    return total


def measure(services: Services, one: Contender, number: int, fetched: int) -> None:
    redis = services.redis.client()
    redis.flushall()
    before, broker, written = redis.info(), process_cpu(services.kafka.pid), log_bytes(services, False)
    use, startup = one.run(services, number)
    after = redis.info()
    millions = EVENTS / 1e6

    def grown(*names: str) -> float:
        return sum(after[name] - before[name] for name in names)

    one.figures.append({
        "cpu": use.cpu / millions,
        "redis": grown("used_cpu_user", "used_cpu_sys") / millions,
        "broker": (process_cpu(services.kafka.pid) - broker) / millions,
        "peak": use.peak,
        "wall": use.wall,
        "startup": startup,
        "fetched": fetched / EVENTS,
        "written": (log_bytes(services, False) - written) / EVENTS,
        "to_redis": grown("total_net_input_bytes") / EVENTS,
        "from_redis": grown("total_net_output_bytes") / EVENTS,
    })


def one_round(services: Services, all_of_them: list[Contender], number: int, fetched: int) -> int:
    """Each contender once, beginning with another one every round. Returns how many rows were compared."""
    found: dict[str, Rows] = {}
    for i in range(len(all_of_them)):
        one = all_of_them[(number + i) % len(all_of_them)]
        measure(services, one, number, fetched)
        if one.rows is not None:
            found[one.name] = one.rows(services)
        last = one.figures[-1]
        print(f"round {number + 1}: {one.name}: {last['cpu']:.3f} CPU-s per million, {last['wall']:.1f} s", file=sys.stderr, flush=True)
    for one in all_of_them:
        if one.rows is not None:
            check_rows(one, found[one.name], found["uptake"])
    return len(found["uptake"])


# --- the table --------------------------------------------------------------


def median(one: Contender, what: str) -> float:
    return statistics.median(figure[what] for figure in one.figures)


def table(all_of_them: list[Contender]) -> list[str]:
    ours = next(one for one in all_of_them if one.name == "uptake")
    lines = [
        "| program | CPU-seconds per million events | events/s per core | CPU, times that of `uptake` | Redis, CPU-s per million "
        "| broker, CPU-s per million | peak MiB | bytes an event: fetched, written to Kafka, to Redis, from Redis |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in all_of_them:
        cpu = median(one, "cpu")
        wire = ", ".join(f"{median(one, what):.0f}" for what in ("fetched", "written", "to_redis", "from_redis"))
        lines.append(f"| {one.what} | {cpu:.2f} | {1e6 / cpu:,.0f} | {ratio(one.figures, ours.figures)} | {median(one, 'redis'):.2f} "
                     f"| {median(one, 'broker'):.2f} | {median(one, 'peak'):.0f} | {wire} |")
    lines.append("")
    for one in all_of_them:
        if one.name in ("callback", "poll"):
            lines.append(f"- `uptake` takes {ratio(ours.figures, one.figures)} times the CPU of: {one.what}")
        if median(one, "startup") > 0:
            lines.append(f"- {one.what}: start-up, left out above: {median(one, 'startup'):.1f} CPU-s")
    return lines


def versions() -> list[str]:
    java = first_line("java", "-version")
    return [f"- Kafka {_VERSIONS['KAFKA_VERSION']}; {java or 'no Java'}, `{JAVA_OPTS}`; {first_line('rustc', '--version') or 'no Rust'}, "
            "opt-level 3, fat LTO, with the librdkafka that its crate brings"]


def main() -> None:
    write = asked_to_write("compare")
    all_of_them = contenders()
    head = machine(versions())
    # A broker as it comes: compiled for speed, and waiting 3 s for further members before a group's first assignment.
    kafka = Kafka(config={"group.initial.rebalance.delay.ms": 3000}, jit=True)
    with Services(kafka=kafka) as services:
        services.kafka.create_topic(TOPIC, PARTITIONS, TOPIC_CONFIG)
        schema_id = services.registry.register(f"{TOPIC}-value", json.loads(SCHEMA.read_text()))
        fill = measured([built("bench_load"), "fill", services.kafka.bootstrap, TOPIC, schema_id, EVENTS, ACCOUNTS, RATE])
        value = json.loads(fill.out)["value_bytes"] / EVENTS
        fetched = log_bytes(services, True)
        discard()(services, 0)  # the broker has served the topic once before anything is measured
        rows = 0
        for number in range(ROUNDS):
            rows = one_round(services, all_of_them, number, fetched)
    head.append(f"- {EVENTS:,} events, one a record of {value:.1f} B, uncompressed, {PARTITIONS} partitions, {ACCOUNTS:,} accounts, {RATE:,} "
                f"events/s by time stamp; median of {ROUNDS} rounds, in brackets the least and the greatest")
    head.append(f"- compared after every run: {rows:,} rows, {len(ACCOUNT_FIELDS)} numbers an account and "
                f"{len(FEATURE_FIELDS)} a feature, all equal")
    publish("compare", [*head, "", *table(all_of_them)], write)


if __name__ == "__main__":
    main()
