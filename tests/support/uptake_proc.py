"""The binary under test as a service that can be killed, stalled and asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import Service, ServiceError, free_port
from .services import HOST, Services

_ROOT = Path(__file__).resolve().parents[2]


def binary() -> Path:
    """$UPTAKE_BIN, or the release build."""
    path = Path(os.environ.get("UPTAKE_BIN") or _ROOT / "build/release/uptake").resolve()
    if not os.access(path, os.X_OK):
        raise ServiceError(f"no {path}; build it or set UPTAKE_BIN")
    return path


# --- configuration ----------------------------------------------------------


def to_yaml(value: Mapping[str, Any], indent: int = 0) -> str:
    """Nested mappings as YAML blocks; lists and scalars as JSON, which is YAML."""
    lines = []
    for key, item in value.items():
        lead = f"{' ' * indent}{key}:"
        if isinstance(item, Mapping) and item:
            lines.append(f"{lead}\n{to_yaml(item, indent + 2)}")
        else:
            lines.append(f"{lead} {json.dumps(item, ensure_ascii=False)}\n")
    return "".join(lines)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section."""
    result = dict(base)
    for key, item in over.items():
        both = isinstance(item, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], item) if both else item
    return result


def config_for(services: Services, over: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The least configuration for these services, and what is given on top."""
    base = {
        "kafka": {"bootstrap.servers": services.kafka.bootstrap},
        "redis": {"url": services.redis.url},
        "registry": {"url": services.registry.url},
    }
    return merged(base, over or {})


# --- the process ------------------------------------------------------------


@dataclass(frozen=True)
class Exit:
    """How a process ended: its code (-N: by signal N), and after how long."""

    code: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a command that runs to its end left behind."""

    code: int
    out: str
    err: str
    seconds: float


class Uptake(Service):
    """`uptake run -c FILE`. Needs no admin address: it is given a free one.

    `config` is the configuration as nested mappings, or its text; text must
    then name the address that `admin_port` says.
    """

    start_timeout = 60.0

    def __init__(
        self,
        config: Mapping[str, Any] | str,
        *,
        name: str = "uptake",
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        admin_port: int | None = None,
        command: Sequence[str] = ("run",),
    ) -> None:
        self.name = name
        super().__init__()
        self.admin_port = free_port() if admin_port is None else admin_port
        self.config_file = self.dir / "uptake.yaml"
        self._args = list(args)
        self._env = dict(env or {})
        self._command = list(command)
        self.configure(config)

    def configure(self, config: Mapping[str, Any] | str) -> None:
        """Writes the configuration; a running process sees it at SIGHUP or not at all."""
        if not isinstance(config, str):
            admin = {"admin": {"listen": f"{HOST}:{self.admin_port}"}}
            config = to_yaml(merged(admin, config))
        self.config_file.write_text(config)

    def argv(self) -> list[str]:
        return [str(binary()), *self._command, "-c", str(self.config_file), *self._args]

    def environment(self) -> Mapping[str, str]:
        return self._env

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    # Ways to end it.

    def terminate(self, timeout: float = 60.0) -> Exit:
        """SIGTERM; an error if it is still there after the time-out."""
        began = time.monotonic()
        self.thaw()
        self._signal(signal.SIGTERM)
        return Exit(self.wait(timeout), time.monotonic() - began)

    def wait(self, timeout: float = 60.0) -> int:
        """Waits for it to end by itself and returns the exit code."""
        if self._child is None:
            raise ServiceError(f"{self.name} has not been started")
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            late = f"{self.name} still runs after {timeout:g} s"
            raise ServiceError(f"{late}\n{self.tail()}") from None

    def hangup(self) -> None:
        """SIGHUP: re-read rules, model and log level."""
        self._signal(signal.SIGHUP)

    # What it says.

    def get(self, path: str, timeout: float = 20.0) -> tuple[int, str]:
        """Status code and body of an admin page."""
        url = f"http://{HOST}:{self.admin_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def status(self) -> dict[str, Any]:
        """/status.json."""
        return json.loads(self._page("/status.json"))

    def metrics(self) -> dict[str, float]:
        """/metrics: sample (`name` or `name{labels}`, as written) -> value."""
        return parse_metrics(self._page("/metrics"))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 if there is none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for sample, value in self.metrics().items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )

    def logs(self) -> list[str]:
        """The lines on standard error (and output) of all runs so far."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def log_records(self) -> list[dict[str, Any]]:
        """Those of the log lines that are JSON objects."""
        records = []
        for line in self.logs():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
        return records

    def _page(self, path: str) -> str:
        code, body = self.get(path)
        if code != 200:
            raise ServiceError(f"{self.name}: {path}: {code} {body[:500]}")
        return body


_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*(?:\{.*\})?)\s+(\S+)", re.MULTILINE)


def parse_metrics(text: str) -> dict[str, float]:
    """Samples of the Prometheus text format, time stamps left out."""
    return {sample: float(value) for sample, value in _SAMPLE.findall(text)}


def run(
    *args: str,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> Result:
    """Runs a command of the binary to its end: run("check", "-c", file)."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [str(binary()), *args],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        tail = (error.stderr or b"")[-2000:]
        late = f"uptake {' '.join(args)} still runs after {timeout:g} s"
        raise ServiceError(f"{late}\n{tail!r}") from error
    return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
