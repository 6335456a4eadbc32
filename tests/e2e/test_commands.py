"""Commands as a person uses them: errors in one line, the demo, the live page in a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from support.browser import Browser
from support.fakes import Registry
from support.kafka_util import end_offsets
from support.process import free_port, wait_until
from support.services import Services
from support.uptake_proc import binary, config_for, to_yaml

ROOT = Path(__file__).resolve().parents[2]
EX_USAGE, EX_UNAVAILABLE, EX_CANTCREAT, EX_IOERR, EX_CONFIG = 64, 69, 73, 74, 78


def uptake(*args: str, timeout: float = 60, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([str(binary()), *args], capture_output=True, text=True, timeout=timeout, env=env)


class Errors(unittest.TestCase):
    def bad_config(self, text: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "uptake.yaml"
            path.write_text(text)
            run = uptake("run", "-c", str(path))
        self.assertEqual(run.returncode, EX_CONFIG, run.stderr)
        self.assertEqual(len(run.stderr.strip().splitlines()), 1, run.stderr)
        return run.stderr

    def test_usage(self) -> None:
        for args in ((), ("nonsense",), ("run",), ("run", "--no-such"), ("demo", "--port", "many")):
            run = uptake(*args)
            self.assertEqual(run.returncode, EX_USAGE, (args, run.stderr))
            self.assertTrue(run.stderr.strip())

    def test_configuration(self) -> None:
        base = 'kafka: {bootstrap.servers: "127.0.0.1:1"}\nredis: {url: "redis://127.0.0.1:1"}\n'
        registry = 'registry: {url: "http://127.0.0.1:1"}\n'
        self.assertRegex(self.bad_config(base + registry + "grup: x\n"), r"uptake\.yaml:4: .*group")
        self.assertRegex(self.bad_config(base + registry + "flush_interval: soon\n"), r"uptake\.yaml:4: .*flush_interval")
        self.assertIn("enable.auto.commit", self.bad_config(base.replace('1"}', '1", enable.auto.commit: "true"}', 1) + registry))
        self.assertIn("yaml:", self.bad_config(base + "redis: ]["))
        self.assertTrue(self.bad_config(base))

    def test_secret_in_a_shared_file(self) -> None:
        text = ('kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\nredis.password: hunter2\n'
                "rules_file: /nowhere\n")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "uptake.yaml"
            path.write_text(text)
            for mode, warned in ((0o644, 1), (0o600, 0)):
                path.chmod(mode)
                for args in (("check", "--offline"), ("run",)):
                    said = uptake(*args, "-c", str(path))
                    self.assertEqual(said.returncode, EX_CONFIG)  # for the rules file alone
                    lines = [line for line in (said.stdout + said.stderr).splitlines() if "redis.password: /" in line]
                    self.assertEqual(len(lines), warned, said)
                    self.assertTrue(all(f"run: chmod 600 {path}" in line for line in lines), lines)
                    self.assertNotIn("hunter2", said.stdout + said.stderr)

    def test_bad_property_once(self) -> None:
        """What is wrong with properties of Kafka is said once, though no client can be made."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "uptake.yaml"
            path.write_text('kafka: {bootstrap.servers: "127.0.0.1:1", fetch.wait.max.ms: never}\nregistry: {url: "http://127.0.0.1:1"}\n'
                            'redis: {url: "redis://127.0.0.1:1"}\n')
            check = uptake("check", "-c", str(path))
        self.assertEqual(check.returncode, EX_CONFIG, check)
        self.assertEqual(re.findall(r"(?m)^error +(\S+)", check.stdout), ["kafka", "redis", "registry"], check.stdout)

    def test_unreadable_as_json(self) -> None:
        """`check --json` is JSON also where the configuration cannot be read."""
        base = 'kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\n'
        with tempfile.TemporaryDirectory() as folder:
            for name, text, said in (("unknown", base + "grup: x\n", r"unknown\.yaml:3: .*grup"), ("broken", "a: ][", r"broken\.yaml:1: "),
                                     ("missing", None, r"missing\.yaml: ")):
                path = Path(folder) / f"{name}.yaml"
                if text is not None:
                    path.write_text(text)
                plain, check = (uptake("check", *option, "-c", str(path)) for option in ((), ("--json",)))
                self.assertEqual((plain.returncode, check.returncode, check.stderr), (EX_CONFIG, EX_CONFIG, ""), check)
                got = json.loads(check.stdout)
                [finding] = got.pop("findings")
                self.assertEqual(got, {"ok": False, "errors": 1, "notes": 0, "configuration": None})
                self.assertEqual((finding["level"], finding["about"]), ("error", "configuration"))
                self.assertRegex(finding["text"], said)
                self.assertIn(finding["text"], plain.stderr)

    def test_token_of_others(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, token = Path(folder) / "uptake.yaml", Path(folder) / "token"
            path.write_text('kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\n'
                            f"admin.token_file: {token}\n")
            for text, mode, code, said in (("word\n", 0o600, 0, None), ("word\n", 0o644, 0, f"note .*run: chmod 600 {token}"),
                                           ("\nword\n", 0o600, EX_CONFIG, f"error .*the first line of {token} is empty")):
                token.write_text(text)
                token.chmod(mode)
                check = uptake("check", "--offline", "-c", str(path))
                self.assertEqual(check.returncode, code, check)
                lines = [line for line in check.stdout.splitlines() if "admin.token_file: " in line and str(token) in line and line.split()[0] in ("note", "error")]
                self.assertEqual(len(lines), 0 if said is None else 1, check)
                if said:
                    self.assertRegex(lines[0], said)

    def test_open_port(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "uptake.yaml"
            for listen, warned in (("0.0.0.0:0", 1), ("127.0.0.1:0", 0)):
                path.write_text('kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\n'
                                f"admin.listen: {listen}\n")
                check = uptake("check", "--offline", "-c", str(path))
                self.assertEqual(check.returncode, 0, check)
                self.assertEqual(len(re.findall(r"(?m)^note +admin +admin\.listen: 0\.0\.0\.0:0 answers other machines", check.stdout)), warned, check)

    def instance(self, folder: Path, name: str, group: str, servers: str) -> subprocess.Popen:
        """Begins `run` with that name, which its lock file in the folder shows; it waits for its broker in vain."""
        path = folder / f"{name}.yaml"
        path.write_text(f'kafka: {{{servers}}}\nregistry: {{url: "http://127.0.0.1:1"}}\ngroup: {group}\ninstance: one\nadmin.listen: "off"\n')
        process = subprocess.Popen([str(binary()), "run", "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, "TMPDIR": str(folder)})
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_instances(self) -> None:
        """A name is a whole group's and one cluster's."""
        with tempfile.TemporaryDirectory() as name:
            folder, here = Path(name), "bootstrap.servers: '127.0.0.1:1'"
            names = lambda: len(list(folder.glob("uptake-*.lock")))  # noqa: E731
            self.instance(folder, "first", "g" * 127 + "1", here)
            wait_until("the first name", lambda: names() == 1, 20)
            same = self.instance(folder, "same", "g" * 127 + "1", here)
            self.assertIn("is in use by another process", same.communicate(timeout=20)[1])
            self.assertEqual(same.returncode, EX_CONFIG)
            self.instance(folder, "group", "g" * 127 + "2", here)
            wait_until("another group's", lambda: names() == 2, 20)
            for number, servers in enumerate(("bootstrap.servers: '127.0.0.1:2'", "metadata.broker.list: '127.0.0.1:3'", "metadata.broker.list: '127.0.0.1:4'")):
                self.instance(folder, f"cluster{number}", "g" * 127 + "1", servers)
                wait_until("another cluster's", lambda: names() == 3 + number, 20)

    def test_model_of_a_process(self) -> None:
        """A port on any address is asked at a loopback address."""
        admin = Registry()  # any server would do
        self.addCleanup(admin.close)
        admin.answers["/status.json"] = (200, b'{"model": {"version": "of the process"}}')
        for listen in ("127.0.0.1", "0.0.0.0", "*"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "uptake.yaml"
                path.write_text('kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\n'
                                f'admin.listen: "{listen}:{admin.port}"\n')
                shown = json.loads(uptake("show", "--model", "--json", "-c", str(path)).stdout)
            self.assertEqual((shown["process"], shown["no_process"]), ({"version": "of the process"}, None), listen)

    def test_output_that_cannot_be_written(self) -> None:
        """Exit 74 and one line; an exit code that is not 0 stays, and so does the way a closed pipe ends it."""
        with tempfile.TemporaryDirectory() as folder:
            good, bad = Path(folder) / "good.yaml", Path(folder) / "bad.yaml"
            good.write_text('kafka: {bootstrap.servers: "127.0.0.1:1"}\nregistry: {url: "http://127.0.0.1:1"}\n')
            bad.write_text(good.read_text() + "rules_file: /nowhere\n")
            check = ("check", "--offline", "--json", "-c")
            for args, code in ((("--help",), EX_IOERR), (("--version",), EX_IOERR), (("--list-metrics",), EX_IOERR), (("top", "--help"), EX_IOERR),
                               ((*check, str(good)), EX_IOERR), ((*check[:2], "-c", str(good)), EX_IOERR), ((*check, str(bad)), EX_CONFIG)):
                with open("/dev/full", "w") as full:
                    run = subprocess.run([str(binary()), *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
                self.assertEqual(run.returncode, code, args)
                self.assertRegex(run.stderr, r"\Auptake: standard output cannot be written: (No space left on device|a write failed)\n\Z", args)
            for restored, code in ((True, -signal.SIGPIPE), (False, 0)):
                reader, writer = os.pipe()
                os.close(reader)
                run = subprocess.run([str(binary()), "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=60, restore_signals=restored)
                os.close(writer)
                self.assertEqual((run.returncode, run.stderr), (code, b""))

    def test_closed_descriptors(self) -> None:
        """What is printed goes to no socket that would have the number of a closed standard output."""
        heard = []

        def serve(listener: socket.socket) -> None:
            with listener.accept()[0] as peer:
                while data := peer.recv(4096):
                    heard.append(data)
                    peer.sendall(b"-ERR no\r\n" if b"INFO" in data else b"+OK\r\n")

        for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):
            heard.clear()
            with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
                path = Path(folder) / "uptake.yaml"
                # The bad property: no client of Kafka is there to take the number.
                path.write_text('kafka: {bootstrap.servers: "127.0.0.1:1", fetch.wait.max.ms: never}\n'
                                f"input: {{framing: none, schema_file: {ROOT}/schemas/uptake.v1.UsageEvent.avsc}}\n"
                                f'redis: {{url: "redis://127.0.0.1:{listener.getsockname()[1]}"}}\n')
                server = threading.Thread(target=serve, args=(listener,), daemon=True)
                server.start()
                run = subprocess.run(["sh", "-c", f'exec "$0" check -c "$1" {closed}', str(binary()), str(path)], capture_output=True, timeout=60)
                server.join(20)
            self.assertEqual(run.returncode, EX_CONFIG, (closed, run, heard))
            self.assertEqual(b"standard output cannot be written" in run.stderr, "2>&-" not in closed)
            self.assertIn(b"PING", b"".join(heard))
            self.assertNotIn(b"answers, but not to INFO", b"".join(heard), closed)

    def test_help(self) -> None:
        run = uptake("--help")
        self.assertEqual(run.returncode, 0)
        commands = [c for c in re.findall(r"^  ([a-z][a-z-]+) +\S", run.stdout, re.M) if c != "uptake"]
        self.assertGreaterEqual(len(commands), 8)
        for command in commands:
            self.assertEqual(uptake(command, "--help").returncode, 0, command)


class AlertRules(unittest.TestCase):
    def test_metrics_exist(self) -> None:
        listed = set(re.findall(r"^\| `(\w+)` \|", uptake("--list-metrics").stdout, re.M))
        rules = re.split(r"^ +- alert: ", (ROOT / "deploy/prometheus-rules.yml").read_text(), flags=re.M)[1:]
        self.assertGreater(len(rules), 5)
        for rule in rules:
            named = set(re.findall(r"\buptake_\w+", re.search(r"^ +expr: (.+)$", rule, re.M)[1]))
            self.assertTrue(named, rule)
            self.assertEqual(named - listed, set(), rule)
            self.assertRegex(rule, r'\n +annotations:\n +action: ".{20,}"\n')


class HugePages(unittest.TestCase):
    """The loader says when a program begins: the pipeline does twice, the second time with huge pages asked for."""

    def begins(self, *args: str, **env: str) -> int:
        base = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
        run = uptake(*args, env={**base, "LD_SHOW_AUXV": "1", **env})
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout.count("AT_EXECFN")

    def test_asked_for_once(self) -> None:
        self.assertEqual(self.begins("run", "--help"), 2)
        self.assertEqual(self.begins("check", "--help"), 1)

    def test_choice_of_the_user(self) -> None:
        self.assertEqual(self.begins("run", "--help", GLIBC_TUNABLES=""), 1)


class Generate(unittest.TestCase):
    """What would go wrong later is said before anything is sent."""

    def test_said_first(self) -> None:
        backfill = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
        with Services() as services, tempfile.TemporaryDirectory() as folder:
            self.services, self.folder = services, Path(folder)
            self.generate("none", EX_UNAVAILABLE, r"^uptake generate: there is no topic none\. Make it with: kafka-topics\.sh .* --topic none ")
            self.assertNotIn("none-value", services.registry.subjects())
            services.kafka.create_topic("good", 1, backfill)
            services.kafka.create_topic("week", 1, {**backfill, "retention.ms": "604800000"})
            services.kafka.create_topic("append", 1, {**backfill, "message.timestamp.type": "LogAppendTime"})
            self.generate("good", EX_CANTCREAT, r"labels\.csv: ", "--labels", str(self.folder / "no" / "labels.csv"))
            bare = {"framing": "none", "schema_file": str(ROOT / "schemas/uptake.v1.UsageEvent.avsc")}
            self.generate("good", EX_USAGE, r"UsageBatch\.avsc: set it to that, or leave --batch out$", "--batch", "4", **bare)
            batch = {**bare, "schema_file": str(ROOT / "schemas/uptake.v1.UsageBatch.avsc")}
            self.generate("good", EX_USAGE, r"UsageEvent\.avsc: set it to that$", **batch)
            self.assertEqual(end_offsets(services.kafka.bootstrap, "good"), {0: 0})
            for how, args in ((bare, ()), (batch, ("--batch", "4")), ({}, ())):
                self.generate("good", 0, "", *args, **how)
            self.generate("week", 0, r"^uptake generate: warning: topic week keeps records for 168 hours .*retention\.ms=-1$")
            self.generate("append", 0, r"^uptake generate: warning: topic append has LogAppendTime.*\(too_late\)")

    def generate(self, topic: str, code: int, wanted: str, *args: str, **how: str) -> None:
        path = self.folder / "generate.yaml"
        path.write_text(to_yaml(config_for(self.services, {"input": {"topic": topic, **how}})))
        begun = time.monotonic()
        run = uptake("generate", "-c", str(path), "--accounts", "5", "--events", "300", *args)
        said = [line for line in run.stderr.splitlines() if not line.startswith("{")]  # librdkafka of a broker that begins
        self.assertEqual((run.returncode, len(said)), (code, int(wanted != "")), run.stderr)
        self.assertRegex("".join(said), wanted or "^$")
        self.assertLess(time.monotonic() - begun, 25)


class Demo(unittest.TestCase):
    def test_page_moves(self) -> None:
        port = free_port()
        with tempfile.TemporaryFile("w+") as log, Browser(1200, 900) as browser:
            demo = subprocess.Popen([str(binary()), "demo", "--port", str(port)], stdout=log, stderr=log)
            try:
                wait_until("the page", lambda: self.listens(port), 60)
                browser.open(f"http://127.0.0.1:{port}/")
                first = self.shown(browser)
                wait_until("totals that move", lambda: self.shown(browser) != first, 60, 0.5)
                severe = [line for line in browser.console() if "SEVERE" in str(line)]
                self.assertEqual(severe, [])
                demo.terminate()
                self.assertEqual(demo.wait(60), 0)
            finally:
                demo.kill()

    @staticmethod
    def listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    @staticmethod
    def shown(browser: Browser) -> str:
        """The figures that the page shows."""
        for _ in range(120):
            text = browser.text()
            figures = re.findall(r"\d[\d,.\u202f ]{2,}", text)
            if len(figures) > 5:
                return " ".join(figures)
            time.sleep(0.5)
        raise AssertionError("the page shows no figures:\n" + text)


if __name__ == "__main__":
    unittest.main()
