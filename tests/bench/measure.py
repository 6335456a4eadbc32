"""What compare.py and stages.py share: a program's use of the machine, the machine itself, the page that holds the figures."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.uptake_proc import binary  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests/bench/BENCHMARKS.md"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Use:
    """cpu: user and system seconds of all threads from start to end, as wait4 says; peak: resident MiB (VmHWM, looked at
    every 20 ms: ru_maxrss would begin with what Python held when it forked); wall: seconds."""

    cpu: float
    peak: float
    wall: float
    out: str


def _peak(pid: int) -> float:
    try:
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else 0.0


def measured(argv: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 3600) -> Use:
    """Runs a program to its end and says what it used. Its standard error is shown if it fails."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen([str(arg) for arg in argv], cwd=cwd, env={**os.environ, **(env or {})},
                                 stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            pid, peak = 0, 0.0
            while pid == 0:
                peak = _peak(child.pid) or peak
                if time.monotonic() - began > timeout:
                    raise SystemExit(f"{argv[0]} still runs after {timeout:.0f} s")
                time.sleep(0.02)
                pid, status, use = os.wait4(child.pid, os.WNOHANG)
            child.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if child.returncode is None:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        wall = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            said = err.read().decode(errors="replace")
            raise SystemExit(f"{argv[0]}: exit {child.returncode}\n{said[-4000:]}")
        return Use(use.ru_utime + use.ru_stime, peak, wall, out.read().decode(errors="replace"))


def process_cpu(pid: int) -> float:
    """User and system seconds of a process that still runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def first_line(*argv: str) -> str:
    """The first line that a program prints, or nothing."""
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _cache(name: str) -> str:
    cache = binary().parent / "CMakeCache.txt"
    found = re.search(rf"^{name}:\w+=(.*)$", cache.read_text(), re.MULTILINE) if cache.exists() else None
    return found[1] if found else ""


def machine(more: Sequence[str] = ()) -> list[str]:
    """Machine, kernel, compiler, flags, versions, load: the lines above a table."""
    system = re.search(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kind = _cache("CMAKE_BUILD_TYPE")
    flags = _cache(f"CMAKE_C_FLAGS_{kind.upper()}")
    libraries = ", ".join(f"{name} {first_line('pkg-config', '--modversion', module)}"
                          for name, module in [("librdkafka", "rdkafka"), ("libavro", "avro-c"), ("hiredis", "hiredis")])
    return [
        f"- {_processor()}, {os.cpu_count()} processors, {memory:.0f} GiB; load average before the run {os.getloadavg()[0]:.1f}",
        f"- Linux {platform.release()}, {system[1] if system else platform.system()}",
        f"- {first_line(_cache('CMAKE_C_COMPILER') or 'cc', '--version')}, {kind or 'unknown build'}: `{flags}` and the hardening "
        "of the release preset, for every C program here alike; `uptake` itself also across files (LTO), its hot rooms with -O3",
        f"- {libraries}; {first_line('redis-server', '--version').split(' sha=')[0]}",
        f"- commit {first_line('git', '-C', str(ROOT), 'describe', '--always', '--dirty') or 'unknown'}, "
        f"{time.strftime('%Y-%m-%d', time.gmtime())}",
        *more,
    ]


def ratio(ones: Sequence[Mapping[str, float]], others: Sequence[Mapping[str, float]]) -> str:
    """Of the rounds' ratios of processor time the median, the least and the greatest."""
    ratios = [one["cpu"] / other["cpu"] for one, other in zip(ones, others, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def asked_to_write(program: str) -> bool:
    """Whether --write, the only argument there is, was given."""
    if sys.argv[1:] not in ([], ["--write"]):
        print(f"usage: tests/bench/{program} [--write]", file=sys.stderr)
        raise SystemExit(64)
    return len(sys.argv) > 1


def publish(section: str, lines: Sequence[str], write: bool) -> None:
    """Prints the lines and, if asked to, puts them between the section's marks in BENCHMARKS.md."""
    text = "\n".join(lines)
    print(text, flush=True)
    if not write:
        return
    begin, end = f"<!-- {section} begins -->", f"<!-- {section} ends -->"
    page = PAGE.read_text()
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE} has no marks of {section}")
    before, rest = page.split(begin, 1)
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}")
