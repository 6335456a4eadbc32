"""Child processes of the tests, their ports and their directories.

Whatever a test starts must not outlive it, even if the test is killed with
SIGKILL. A parent-death signal is bound to the *thread* that forked, and tests
start services from short-lived threads; so a guard process holds the read end
of a pipe instead. It knows every session started and every directory made,
and removes them all when the pipe closes, which the kernel does for us.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KEEP = bool(os.environ.get("UPTAKE_KEEP"))  # leave directories for a look


class ServiceError(RuntimeError):
    """A service did not do what was asked; the text has the end of its log."""


# --- the guard --------------------------------------------------------------

_GUARD = r"""
import os, shutil, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
known = {"session": set(), "dir": set()}

def members(session):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    if f.read().rpartition(")")[2].split()[3] == session:
                        yield int(name)
            except OSError:
                pass

for line in sys.stdin:
    op, kind, what = line.rstrip("\n").split(" ", 2)
    (known[kind].add if op == "+" else known[kind].discard)(what)
for session in known["session"]:
    for pid in members(session):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
for path in known["dir"]:
    shutil.rmtree(path, ignore_errors=True)
"""


class _Guard:
    """The process that ends what we leave behind. Started on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def tell(self, operation: str, kind: str, what: object) -> None:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _GUARD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin is not None
            print(operation, kind, what, file=self._process.stdin, flush=True)


_guard = _Guard()


# --- directories ------------------------------------------------------------


def make_dir(name: str) -> Path:
    """A new directory that disappears with this process."""
    path = Path(tempfile.mkdtemp(prefix=f"uptake-{name}-"))
    if not KEEP:
        _guard.tell("+", "dir", path)
    return path


def remove_dir(path: Path) -> None:
    """Removes a directory that make_dir made."""
    if not KEEP:
        shutil.rmtree(path, ignore_errors=True)
        _guard.tell("-", "dir", path)


# --- ports ------------------------------------------------------------------

_PORT_MIN = 20000


class _Ports:
    """Hands out ports that no other test process has been given.

    They lie below the ephemeral range: a client that reconnects to a dead
    server's ephemeral port can connect to itself and block it for good.
    Byte N of the lock file stands for port N; record locks end with us.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: int | None = None
        self._owner = 0
        self._held: set[int] = set()

    def take(self) -> int:
        with self._lock:
            self._open()
            for port in random.sample(range(_PORT_MIN, self._limit()), 500):
                if port not in self._held and self._reserve(port):
                    self._held.add(port)
                    return port
        raise ServiceError(f"no free port from {_PORT_MIN} on")

    def _open(self) -> None:
        if self._file is None or self._owner != os.getpid():
            path = Path(tempfile.gettempdir()) / f"uptake-ports-{os.getuid()}"
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._owner = os.getpid()

    @staticmethod
    def _limit() -> int:
        try:
            text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
            low = int(text.split()[0])
        except (OSError, ValueError, IndexError):
            low = 32768
        return low if low > _PORT_MIN + 1000 else 32768

    def _reserve(self, port: int) -> bool:
        assert self._file is not None
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        if _bindable(port):
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, port)
        return False


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_ports = _Ports()


def free_port() -> int:
    """A free loopback port, ours until this process ends."""
    return _ports.take()


# --- waiting ----------------------------------------------------------------


def wait_until(
    what: str, condition: Callable[[], object], timeout: float = 60.0, every: float = 0.05
) -> object:
    """Polls until the condition holds and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise ServiceError(f"not within {timeout:g} s: {what}")
        time.sleep(every)


# --- services ---------------------------------------------------------------


def _kill_session(session: int) -> None:
    """SIGKILL to every process of a session, whatever group it is in."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[3]) == session:
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


_services: weakref.WeakSet[Service] = weakref.WeakSet()


class Service:
    """A program that can be started, ended in several ways, and started again.

    A subclass gives its command line and says when it is ready. Its own
    directory `dir` outlives a restart and is removed by close().
    """

    name = "service"
    start_timeout = 60.0

    def __init__(self) -> None:
        self.dir = make_dir(self.name)
        self.log = self.dir / f"{self.name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()
        self._frozen = False
        _services.add(self)

    # To be given by a subclass.

    def argv(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Variables to add to our own."""
        return {}

    def ready(self) -> bool:
        """Whether it serves; errors count as no."""
        return True

    # Start and end.

    def launch(self) -> None:
        """Starts the program without waiting for it."""
        if self.running:
            raise ServiceError(f"{self.name} is running already")
        argv = list(self.argv())
        with open(self.log, "ab") as log:
            try:
                self._child = subprocess.Popen(
                    argv,
                    cwd=self.dir,
                    env={**os.environ, **self.environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise ServiceError(f"cannot run {argv[0]}: {error.strerror}") from error
        self._sessions.add(self._child.pid)
        _guard.tell("+", "session", self._child.pid)
        self._frozen = False

    def wait_ready(self, timeout: float | None = None) -> None:
        limit = self.start_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        while True:
            if not self.running:
                raise ServiceError(f"{self.name} ended with {self.returncode}\n{self.tail()}")
            if self._is_ready():
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} not ready in {limit:g} s\n{self.tail()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return self.ready()
        except Exception:  # whatever a client raises while it cannot connect
            return False

    def start(self, timeout: float | None = None):
        """Starts it, waits until it is ready and returns it."""
        self.launch()
        try:
            self.wait_ready(timeout)
        except BaseException:
            self.kill9()
            raise
        return self

    def stop(self, timeout: float = 15.0) -> int | None:
        """SIGTERM, and SIGKILL if that does not help. Returns the exit code."""
        if self._child is None:
            return None
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._child.wait(10)
        self._end_sessions()
        return self.returncode

    def kill9(self) -> None:
        """SIGKILL. What the program itself has started is left alone."""
        if self._child is not None:
            self._signal(signal.SIGKILL)
            self._child.wait(10)

    def restart(self, timeout: float | None = None) -> None:
        """Starts it again on the same ports and data, ending it if it runs."""
        self.stop()
        self.start(timeout)

    def close(self) -> None:
        """Ends it and removes its directory. Idempotent."""
        self.kill9()
        self._end_sessions()
        remove_dir(self.dir)

    def __enter__(self):
        return self if self.running else self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        self.close()

    # Stalls.

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    # State.

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ServiceError(f"{self.name} has not been started")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        return None if self._child is None else self._child.poll()

    def tail(self, lines: int = 40) -> str:
        """The end of the log."""
        if not self.log.exists():
            return f"(no {self.log})"
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join([f"--- end of {self.log}:", *text[-lines:]])

    def wait_log(self, pattern: str, timeout: float = 60.0, after: int = 0) -> re.Match[str]:
        """Waits for a line that the pattern is found in, from a byte on."""
        found: re.Match[str] | None = None
        deadline = time.monotonic() + timeout
        while found is None:
            with open(self.log, "rb") as log:
                log.seek(after)
                text = log.read().decode(errors="replace")
            found = re.search(pattern, text, re.MULTILINE)
            if found is None and time.monotonic() > deadline:
                raise ServiceError(f"{self.name}: no {pattern!r} in {timeout:g} s\n{self.tail()}")
            if found is None:
                time.sleep(0.05)
        return found

    def _signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _end_sessions(self) -> None:
        """Ends what the program has started and left running."""
        for session in self._sessions:
            _kill_session(session)
            _guard.tell("-", "session", session)
        self._sessions.clear()


def _close_all() -> None:
    for service in list(_services):
        service.close()


atexit.register(_close_all)
