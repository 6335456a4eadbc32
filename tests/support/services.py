"""The real services the tests run against: Apache Kafka, a schema registry, Redis.

Each runs on loopback, on ports of its own, in a directory of its own, and
can be killed, frozen and started again on the same ports and data.

    with Services() as services:
        services.kafka.create_topic("usage-events", 6)
        services.registry.register("usage-events-value", schema)
        services.redis.client().ping()
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .process import Service, ServiceError, free_port, wait_until

HOST = "127.0.0.1"

_SUPPORT = Path(__file__).resolve().parent


def cache_dir() -> Path:
    """Where install.sh puts what it fetches."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("UPTAKE_CACHE") or f"{home}/uptake")


def _versions() -> dict[str, str]:
    lines = (_SUPPORT / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


_VERSIONS = _versions()
_WARM = cache_dir() / "warm"  # what `warm` below leaves for faster starts
_recording = False  # whether JVMs leave their class archives there


def _installed(name: str) -> Path:
    path = cache_dir() / name
    if not path.is_dir():
        raise ServiceError(f"no {path}; run {_SUPPORT / 'install.sh'}")
    return path


def _java(heap_mb: int, archive: str, jit: bool = False) -> list[str]:
    """A small JVM: short starts and little CPU count more than peak speed."""
    java = ["java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
    if not jit:
        java.append("-XX:TieredStopAtLevel=1")
    path = _WARM / archive
    if path.exists():
        java += [f"-XX:SharedArchiveFile={path}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    elif _recording:
        java.append(f"-XX:ArchiveClassesAtExit={path}")
    return java


# --- Kafka ------------------------------------------------------------------

_CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"

_KAFKA_CONFIG: dict[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # A broker back from kill -9 is let in again once its old session is over.
    "broker.session.timeout.ms": 1500,
    "broker.heartbeat.interval.ms": 300,
    "controlled.shutdown.enable": "false",
    # The default of 128 MiB does not fit the heap.
    "log.cleaner.dedupe.buffer.size": 2097152,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
}


class Kafka(Service):
    """One broker and controller in one process (KRaft).

    `advertised` is the port clients are told to use, for a proxy in front.
    `bootstrap` leads there; `direct` always leads to the broker itself, as
    does what the broker says to itself.
    `listeners` maps further listener names to their security protocols; their
    ports are in `ports`, their settings go to `config`.
    """

    name = "kafka"

    def __init__(
        self,
        *,
        config: Mapping[str, object] | None = None,
        advertised: int | None = None,
        abort_scan_ms: int | None = None,
        listeners: Mapping[str, str] | None = None,
        format_args: Sequence[str] = (),
        heap_mb: int = 256,
        jit: bool = False,
    ) -> None:
        super().__init__()
        self.data = self.dir / "data"
        self.protocols = {"CLIENT": "PLAINTEXT", "INTERNAL": "PLAINTEXT", **(listeners or {})}
        self.ports = {name: free_port() for name in [*self.protocols, "CONTROLLER"]}
        self.config = dict(config or {})
        if abort_scan_ms is not None:
            key = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
            self.config[key] = abort_scan_ms
        self._advertised = advertised
        self._format_args = list(format_args)
        self._heap_mb = heap_mb
        self._jit = jit

    @property
    def port(self) -> int:
        """Where a proxy connects to."""
        return self.ports["CLIENT"]

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self._advertised or self.port}"

    @property
    def direct(self) -> str:
        return f"{HOST}:{self.ports['INTERNAL']}"

    def argv(self) -> list[str]:
        properties = self._write_config()
        if not self.data.exists():
            self._format(properties)
        return [
            *_java(self._heap_mb, "kafka.jsa", self._jit),
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            self._classpath(),
            "kafka.Kafka",
            str(properties),
        ]

    def ready(self) -> bool:
        # A fenced broker is not in the metadata.
        return bool(self.admin().list_topics(timeout=2).brokers)

    def admin(self, **config: object) -> Any:
        """A confluent_kafka AdminClient that talks to the broker itself."""
        from confluent_kafka.admin import AdminClient

        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 200}
        return AdminClient({"bootstrap.servers": self.direct, **quiet, **config})

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        """Creates a topic and waits until each partition has a leader."""
        from confluent_kafka.admin import NewTopic

        admin = self.admin()
        settings = {key: str(value) for key, value in (config or {}).items()}
        topic = NewTopic(name, partitions, 1, config=settings)
        admin.create_topics([topic], operation_timeout=20)[name].result(30)

        def led() -> bool:
            found = admin.list_topics(name, timeout=5).topics[name].partitions
            return len(found) == partitions and all(p.leader >= 0 for p in found.values())

        wait_until(f"leaders of {name}", led)

    def delete_topic(self, name: str) -> None:
        admin = self.admin()  # its end would be that of the request, too
        admin.delete_topics([name], operation_timeout=20)[name].result(30)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> None:
        """Moves the start of each given partition up to an offset."""
        from confluent_kafka import TopicPartition

        places = [TopicPartition(topic, p, offset) for p, offset in before.items()]
        admin = self.admin()
        for future in admin.delete_records(places).values():
            future.result(30)

    def tool(self, main_class: str, *args: str, timeout: float = 60.0) -> str:
        """Runs one of Kafka's own command line tools and returns its output."""
        # Their class archive is the broker's: same class path, same start.
        command = [*_java(128, "kafka.jsa"), "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        command += ["-cp", self._classpath(), main_class, *args]
        done = subprocess.run(
            command, cwd=self.dir, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise ServiceError(f"{main_class} {args}: {done.returncode}\n{said}")
        return done.stdout

    def _classpath(self) -> str:
        jars = _installed(f"kafka-{_VERSIONS['KAFKA_VERSION']}") / "lib"
        return ":".join(sorted(str(jar) for jar in jars.glob("*.jar")))

    def _write_config(self) -> Path:
        client = self._advertised or self.port
        addresses = {name: f"{HOST}:{port}" for name, port in self.ports.items()}
        told = {name: addresses[name] for name in self.protocols} | {"CLIENT": f"{HOST}:{client}"}
        protocols = self.protocols | {"CONTROLLER": "PLAINTEXT"}
        values = {
            **_KAFKA_CONFIG,
            "controller.quorum.voters": f"1@{addresses['CONTROLLER']}",
            "listeners": ",".join(f"{n}://{a}" for n, a in addresses.items()),
            "advertised.listeners": ",".join(f"{n}://{a}" for n, a in told.items()),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
            "log.dirs": self.data,
            **self.config,
        }
        path = self.dir / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        return path

    def _format(self, properties: Path) -> None:
        """Makes the data directory, where possible from one made before."""
        template = _WARM / "kafka-data"
        if template.is_dir() and not self._format_args:
            shutil.copytree(template, self.data)
            return
        args = ["format", "-t", _CLUSTER_ID, "-c", str(properties), *self._format_args]
        self.tool("kafka.tools.StorageTool", *args)


# --- the schema registry ----------------------------------------------------


class Registry(Service):
    """Apicurio behind its Confluent-compatible interface; ids survive restarts."""

    name = "registry"

    def __init__(self, *, heap_mb: int = 256) -> None:
        super().__init__()
        self.port = free_port()
        self._heap_mb = heap_mb

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def environment(self) -> dict[str, str]:
        # Every commit reaches the file, so that kill -9 loses nothing.
        return {"REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{self.dir}/schemas;WRITE_DELAY=0"}

    def argv(self) -> list[str]:
        version = _VERSIONS["APICURIO_VERSION"]
        home = _installed(f"apicurio-{version}")
        libraries = sorted(str(jar) for jar in (home / "lib").glob("*.jar"))
        classpath = [str(home / f"apicurio-registry-app-{version}-runner.jar"), *libraries]
        return [
            *_java(self._heap_mb, "registry.jsa"),
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={self.port}",
            "-Dquarkus.datasource.jdbc.initial-size=2",
            "-Dquarkus.datasource.jdbc.min-size=2",
            "-cp",
            ":".join(classpath),
            "io.quarkus.runner.GeneratedMain",
        ]

    def ready(self) -> bool:
        self.subjects()
        return True

    def register(self, subject: str, schema: str | Mapping[str, Any], references: Sequence[Mapping[str, Any]] = ()) -> int:
        """Registers an Avro schema (JSON text or the parsed form); returns its id. References: name, subject, version."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        path = f"/subjects/{urllib.parse.quote(subject, safe='')}/versions"
        return int(self._call("POST", path, {"schema": text, "schemaType": "AVRO", "references": list(references)})["id"])

    def schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id, parsed."""
        return json.loads(self._call("GET", f"/schemas/ids/{schema_id}")["schema"])

    def subjects(self) -> list[str]:
        return self._call("GET", "/subjects")

    def set_compatibility(self, level: str, subject: str | None = None) -> None:
        """NONE, BACKWARD, … for one subject or for all."""
        suffix = "" if subject is None else f"/{urllib.parse.quote(subject, safe='')}"
        self._call("PUT", f"/config{suffix}", {"compatibility": level})

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:500]
            raise ServiceError(f"registry: {method} {path}: {error.code} {text}") from error


# --- Redis ------------------------------------------------------------------


class Redis(Service):
    """redis-server. Without `aof` nothing is kept: kill9 and restart lose everything.

    With `fsync="everysec"` kill9 may lose acknowledged writes: while a sync is
    under way the server keeps up to two seconds of them in memory. "always"
    loses none.
    `acl` holds lines of an ACL file, which then rules alone; `user` and
    `password` are what url and client() log in with.
    """

    name = "redis"
    start_timeout = 20.0

    def __init__(
        self,
        *,
        aof: bool = False,
        fsync: str = "everysec",
        requirepass: str | None = None,
        acl: Sequence[str] | None = None,
        user: str | None = None,
        password: str | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.port = free_port()
        self.data = self.dir / "data"
        self.user = user
        self.password = password or requirepass
        self._acl = acl
        self._config = {
            "port": self.port,
            "bind": HOST,
            "dir": self.data,
            "save": "",
            "appendonly": "yes" if aof else "no",
            "appendfsync": fsync,
            "enable-debug-command": "local",
            **({"requirepass": requirepass} if requirepass else {}),
            **(config or {}),
        }
        self._snapshots = 0

    @property
    def url(self) -> str:
        login = ""
        if self.password is not None:
            quoted = urllib.parse.quote(self.password, safe="")
            login = f"{self.user or ''}:{quoted}@"
        return f"redis://{login}{HOST}:{self.port}"

    def argv(self) -> list[str]:
        self.data.mkdir(exist_ok=True)
        values = dict(self._config)
        if self._acl is not None:
            path = self.dir / "users.acl"
            path.write_text("".join(f"{line}\n" for line in self._acl))
            values["aclfile"] = path
        file = self.dir / "redis.conf"
        file.write_text("".join(f"{key} {_quoted(value)}\n" for key, value in values.items()))
        return ["redis-server", str(file)]

    def ready(self) -> bool:
        import redis

        try:
            return bool(self.client(socket_timeout=2).ping())
        except redis.exceptions.BusyLoadingError:
            return False
        except (redis.exceptions.AuthenticationError, redis.exceptions.ResponseError):
            return True  # it answers; this login may not ping

    def client(self, **options: Any) -> Any:
        """A redis.Redis with text answers and no retries, unless told otherwise."""
        import redis

        return redis.Redis(
            **{
                "host": HOST,
                "port": self.port,
                "username": self.user,
                "password": self.password,
                "decode_responses": True,
                "socket_timeout": 10,
                "retry": None,  # an outage is to be seen
                **options,
            }
        )

    def snapshot(self) -> Path:
        """A copy of the data directory at this instant, as a crash would leave it."""
        self._snapshots += 1
        target = self.dir / f"snapshot-{self._snapshots}"
        frozen = self._frozen
        if not frozen:
            self.freeze()
        try:
            shutil.copytree(self.data, target)
        finally:
            if not frozen:
                self.thaw()
        return target

    def restore(self, snapshot: Path | None = None) -> None:
        """kill -9, go back to a snapshot (None: to nothing), start again."""
        self.kill9()
        shutil.rmtree(self.data, ignore_errors=True)
        if snapshot is not None:
            shutil.copytree(snapshot, self.data)
        self.start()


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


# --- all of them ------------------------------------------------------------


class Services:
    """The given services, started side by side; by default one of each.

    None leaves one out: Services(registry=None).
    """

    _DEFAULT: Any = object()

    def __init__(
        self,
        *,
        kafka: Kafka | None = _DEFAULT,
        registry: Registry | None = _DEFAULT,
        redis: Redis | None = _DEFAULT,
        more: Sequence[Service] = (),
    ) -> None:
        default = Services._DEFAULT
        self._kafka = Kafka() if kafka is default else kafka
        self._registry = Registry() if registry is default else registry
        self._redis = Redis() if redis is default else redis
        named = (self._kafka, self._registry, self._redis)
        self._all = [*(service for service in named if service is not None), *more]
        self.start_seconds: dict[str, float] = {}

    @property
    def kafka(self) -> Kafka:
        return _present(self._kafka, "kafka")

    @property
    def registry(self) -> Registry:
        return _present(self._registry, "registry")

    @property
    def redis(self) -> Redis:
        return _present(self._redis, "redis")

    def start(self) -> Services:
        began = time.monotonic()

        def wait(service: Service) -> None:
            service.wait_ready()
            self.start_seconds[service.name] = round(time.monotonic() - began, 2)

        try:
            for service in self._all:
                service.launch()
            with ThreadPoolExecutor(len(self._all)) as pool:
                list(pool.map(wait, self._all))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends them and removes their directories."""
        with ThreadPoolExecutor(max(1, len(self._all))) as pool:
            list(pool.map(lambda service: service.stop(), self._all))
        for service in self._all:
            service.close()

    def __enter__(self) -> Services:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def _present(service: Any, name: str) -> Any:
    if service is None:
        raise ServiceError(f"these Services were made without {name}")
    return service


def warm() -> None:
    """Prepares faster starts: a formatted data directory and class archives.

    The archives are written as the JVMs end, of the classes used so far.
    """
    global _recording
    shutil.rmtree(_WARM, ignore_errors=True)
    _WARM.mkdir(parents=True)
    kafka, registry = Kafka(), Registry()
    kafka.argv()
    shutil.copytree(kafka.data, _WARM / "kafka-data")
    _recording = True
    for service in (kafka, registry):
        service.start()
        if isinstance(service, Kafka):
            service.create_topic("warm", 1)
        service.stop(timeout=60)
        service.close()


if __name__ == "__main__":
    if sys.argv[1:] != ["warm"]:
        sys.exit("usage: python -m support.services warm")
    warm()
