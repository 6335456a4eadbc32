#!/usr/bin/env python3
"""Do the tests notice when a promise is broken? Plants the faults of faults.py one at a time in a copy of the work tree, builds, and
runs the test that must fail.

    run.py              all of them (end to end: Kafka and an hour)
    run.py --fast       those that a unit test or the simulation notices
    run.py --part I/N   of these every N-th, beginning with the I-th: for several at once
    run.py --only NAME  these (more than once: several)
    run.py --list       names and promises
    run.py --texts      only whether each fault's text is there exactly once (a second; in ctest)

A fault whose text is not there exactly once, that does not compile, or that makes another test fail than the one it names is an
error of the list. Exits 1 if a fault was missed or was an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
import faults  # noqa: E402
from faults import Fault  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LIMIT = {"unit": 100.0, "sim": 300.0, "pack": 300.0, "signals": 300.0, "protocol": 300.0, "latest": 300.0, "scenario": 100.0, "e2e": 1200.0}  # seconds; a test that hangs has noticed, too


class ListError(Exception):
    """The list is wrong, not the tests."""


def run(argv: list[str], limit: float, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code (-1: still running after the limit) and what was said."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(argv, cwd=cwd, env={**os.environ, **(env or {})}, stdout=said, stderr=said,
                                 stdin=subprocess.DEVNULL)
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)  # lets a test end what it has started
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        said.seek(0)
        return code, said.read()


class Tree:
    """The copy, its build, and the tests in it."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.jobs = jobs
        self.build = folder / "build"
        shutil.copytree(ROOT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build", ".git", "__pycache__"))
        self.must(["cmake", "-G", "Ninja", "-S", str(folder), "-B", str(self.build), "-DCMAKE_BUILD_TYPE=Debug",
                   "-DCMAKE_C_FLAGS_DEBUG=-O1", "-DUPTAKE_CRASH_POINTS=ON"])

    def must(self, argv: list[str]) -> None:
        code, said = run(argv, 1200, self.folder)
        if code != 0:
            raise ListError(f"{' '.join(argv)}\n{said[-3000:]}")

    def make(self, tests: list[str]) -> None:
        self.must(["cmake", "--build", str(self.build), f"-j{self.jobs}", "--target", *sorted({self.target(t) for t in tests})])

    @staticmethod
    def target(test: str) -> str:
        kind, _, rest = test.partition(":")
        return {"unit": rest.rpartition("/")[2], "sim": "sim_state", "pack": "sim_pack", "signals": "sim_signals", "protocol": "sim_protocol", "latest": "sim_protocol", "scenario": "run_scenarios", "e2e": "uptake"}[kind]

    def try_test(self, test: str, env: dict[str, str], case: str = "") -> tuple[int, str]:
        """case: where a program can run it alone, it does; one that waits in vain does so for a short time."""
        kind, _, rest = test.partition(":")
        if kind == "unit":
            argv = [str(self.build / "tests/unit" / rest)]
            env = {"UPTAKE_TEST_ONLY": case, "UPTAKE_TEST_WAIT_MS": "4000", **env} if case else env
        elif kind == "scenario":
            argv = [str(self.build / "tests/scenarios/run_scenarios"), f"tests/scenarios/{rest}.txt"]
        elif kind == "sim":
            argv = [sys.executable, "tests/sim/run_sim.py", "--binary", str(self.build / "tests/sim/sim_state"), "--seeds", rest]
        elif kind == "pack":
            argv = [str(self.build / "tests/sim/sim_pack"), "1", rest]
        elif kind == "signals":
            argv = [sys.executable, "tests/sim/run_signals.py", "--binary", str(self.build / "tests/sim/sim_signals"), "--seeds", rest]
        elif kind in ("protocol", "latest"):
            seeds, _, first = rest.partition("@")
            argv = [str(self.build / "tests/sim/sim_protocol"), "--first", first or "1", "--seeds", seeds, *(["--latest"] if kind == "latest" else [])]
        else:
            module, _, case = rest.partition(".")
            argv = ["tests/support/python.sh", "-m", f"e2e.{module}", case]
            env = {"UPTAKE_BIN": str(self.build / "uptake"), **env}
        return run(argv, LIMIT[kind], self.folder, env)

    def plant(self, fault: Fault) -> None:
        path = self.folder / fault.file
        text = path.read_text()
        if text.count(fault.old) != 1:
            raise ListError(f"its text is {text.count(fault.old)} times in {fault.file}")
        path.write_text(text.replace(fault.old, fault.new))

    def restore(self, fault: Fault) -> None:
        shutil.copyfile(ROOT / fault.file, self.folder / fault.file)


def noticed(test: str, case: str, code: int, said: str) -> bool:
    """Whether the test that failed, or in which the program died or hung, is the one that the fault names."""
    if test.startswith(("sim:", "signals:")):
        return "replay with" in said or "ended early" in said
    if test.startswith(("protocol:", "latest:")):
        return "replay: " in said
    if test.startswith("pack:"):
        return "never packed: " in said or "ssertion" in said or code < 0
    if test.startswith("scenario:"):
        return re.search(rf"^\[  FAILED  \] {re.escape(case)}", said, re.M) is not None
    if test.startswith("e2e:"):
        return code == -1 or re.search(rf"^(FAIL|ERROR): {case}\b", said, re.M) is not None
    begun = re.findall(r"^\[ RUN      \] (\w+)", said, re.M)
    ended = re.findall(r"^\[  (?:FAILED |     OK) \] (\w+)", said, re.M)
    died = begun[-1] if len(begun) > len(ended) else None
    return case == died or case in re.findall(r"^\[  FAILED  \] (\w+)", said, re.M)


def check(tree: Tree, fault: Fault) -> str | None:
    """Plants one; None: it was noticed."""
    try:
        tree.plant(fault)
        tree.make([fault.test])
        code, said = tree.try_test(fault.test, fault.env, fault.case)
        if code == 0:
            return "MISSED"
        return None if noticed(fault.test, fault.case, code, said) else f"another test failed:\n{said[-2000:]}"
    except ListError as error:
        return f"error of the list: {error}"
    finally:
        tree.restore(fault)


def unmodified(tree: Tree, chosen: list[Fault]) -> None:
    """Every test that is used passes as long as nothing is wrong."""
    used = {(f.test, tuple(sorted(f.env.items()))): f for f in chosen}
    tree.make([f.test for f in used.values()])
    for fault in used.values():
        code, said = tree.try_test(fault.test, fault.env)
        if code != 0:
            raise ListError(f"{fault.test} fails without any fault ({code}):\n{said[-4000:]}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--part", default="1/1", metavar="I/N")
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--texts", action="store_true")
    options = parser.parse_args()
    chosen = [f for f in faults.FAULTS if not (options.fast and f.test.startswith("e2e:"))]
    if options.only:
        chosen = [f for f in chosen if f.name in options.only]
    part, parts = map(int, options.part.split("/"))
    chosen = chosen[part - 1 :: parts]
    if options.list:
        print("\n".join(f"{f.name:<28} {f.promise}" for f in chosen))
        return 0
    if not chosen or len({f.name for f in faults.FAULTS}) != len(faults.FAULTS):
        print("no such fault, or two of one name", file=sys.stderr)
        return 64
    if options.texts:
        stale = [f for f in chosen if (ROOT / f.file).read_text().count(f.old) != 1]
        for fault in stale:
            print(f"{fault.name}: its text is not exactly once in {fault.file}")
        return 1 if stale else 0
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="uptake-mutate-") as folder:
        begun = time.monotonic()
        try:
            tree = Tree(Path(folder), max(1, 2 // parts))
            unmodified(tree, chosen)
        except ListError as error:
            print(error)
            return 1
        print(f"copied, built, and passing without a fault: {time.monotonic() - begun:.0f} s\n")
        print(f"{'fault':<28} | {'promise':<72} | {'caught by':<60} | seconds", flush=True)
        for fault in chosen:
            began = time.monotonic()
            problem = check(tree, fault)
            wrong += problem is not None
            by = f"{fault.test} {fault.case}".rstrip() if problem is None else problem
            print(f"{fault.name:<28} | {fault.promise:<72} | {by:<60} | {time.monotonic() - began:.1f}", flush=True)
    print(f"\n{len(chosen) - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
