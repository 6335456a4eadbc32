"""`uptake fit`: from the log and from a file the same model, the same every time; labels from silence, from events, from a
file; errors for people."""

from __future__ import annotations

import datetime
import os
import random
import re
import subprocess
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import xxhash
from support.kafka_util import Codec, Message, produce
from support.services import Services
from support.uptake_proc import binary, config_for, to_yaml

ROOT = Path(__file__).resolve().parents[2]
DAY_MS = 86_400_000
FIRST = datetime.date(2025, 1, 6)
DAYS = 400
ACCOUNTS = 400
TOPIC = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1"}


def life(chance: random.Random, number: int) -> list[tuple[int, int]]:
    """(day, uses) of an account: the lively stay longer. Those of segment `loose` leave three times as often."""
    start, lively = chance.randrange(0, 60), chance.uniform(0.08, 0.9)
    leave = 0.02 * (1 - lively) ** 2 * (3 if number % 2 else 1)
    days = []
    for day in range(start, DAYS):
        if chance.random() < lively:
            days.append((day, 1 + int(chance.expovariate(0.5) * lively)))
        if chance.random() < leave:
            break
    return days


def name(number: int) -> str:
    return f"account-{number}"


def population() -> dict[int, list[tuple[int, int]]]:
    chance = random.Random(5)
    lives = {number: life(chance, number) for number in range(ACCOUNTS)}
    return {number: days for number, days in lives.items() if days}


def date_of(day: int) -> str:
    return (FIRST + datetime.timedelta(days=day)).isoformat()


def fit(*args: str, good: bool = True) -> subprocess.CompletedProcess:
    run = subprocess.run([str(binary()), "fit", *args], capture_output=True, text=True, errors="replace", timeout=120, check=False)
    if good and run.returncode != 0:
        raise AssertionError(f"exit {run.returncode}\n{run.stderr}")
    return run


def risk_part(model: Path) -> list[str]:
    """Rows of [risk] and [segments]."""
    text = model.read_text()
    return [line for line in text[text.index("[risk]"):text.index("[silence]")].splitlines() if line and line[0] != "#"]


def outcomes(model: Path) -> tuple[int, int]:
    """How many outcomes were known, and how many of them left."""
    known, left = re.findall(r"; of (\d+) the outcome is known, (\d+) \(", model.read_text())[0]
    return int(known), int(left)


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name)
        cls.lives = population()
        rows = [(day, name(n), uses) for n, days in cls.lives.items() for day, uses in days]
        text = "".join(f"{account},{date_of(day)},{uses}\n" for day, account, uses in sorted(rows))
        cls.events = cls.path / "events.csv"
        cls.events.write_text("account,day,search\n" + text)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def test_silence_is_the_label(self) -> None:
        one, two = self.path / "one.model", self.path / "two.model"
        said = fit("--events", str(self.events), "--output", str(one)).stdout
        fit("--events", str(self.events), "--output", str(two), "--no-report")
        self.assertEqual(one.read_bytes(), two.read_bytes())
        found = {what: float(auc) for what, auc in re.findall(r"left out by (\w+): .*?AUC ([\d.]+)", said)}
        self.assertEqual(set(found), {"account", "time"})  # no segments here
        self.assertGreater(found["account"], 0.8, said)
        self.assertGreater(found["time"], 0.75, said)
        errors = [float(e) for e in re.findall(r"calibration error ([\d.]+)", said)]
        self.assertLess(errors[0], 0.03, said)
        self.assertEqual(said.count("predicted"), 2)
        self.assertIn("lead: ", said)
        check = subprocess.run([str(binary()), "fit", "--events", str(self.events), "--base", str(one), "--output", str(two),
                                "--no-report", "--version", "again"], capture_output=True, text=True, check=False)
        self.assertEqual(check.returncode, 0, check.stderr)  # what it wrote, it reads
        self.assertIn("\nversion again\n", two.read_text())

    def test_other_ways_to_give_a_file(self) -> None:
        """From a pipe, and as a spreadsheet writes it."""
        one, two = self.path / "file.model", self.path / "pipe.model"
        fit("--events", str(self.events), "--output", str(one), "--no-report")
        text = "\ufeff" + self.events.read_text().replace("\n", "\r\n")
        subprocess.run([str(binary()), "fit", "--events", "-", "--output", str(two), "--no-report"], input=text.encode(), check=True)
        self.assertEqual(one.read_bytes(), two.read_bytes())

    def test_labelled_file(self) -> None:
        labels = self.path / "labels.csv"
        last = {n: days[-1][0] for n, days in self.lives.items()}
        labels.write_text("account,churned,day\n" + "".join(
            f"{name(n)},{int(day < DAYS - 60)},{date_of(day) if day < DAYS - 60 else ''}\n" for n, day in last.items()))
        said = fit("--events", str(self.events), "--labels", str(labels), "--output", str(self.path / "l.model")).stdout
        self.assertGreater(float(re.findall(r"AUC ([\d.]+)", said)[0]), 0.8, said)
        # The outcomes turned round: what is a low risk becomes a high one.
        turned = self.path / "turned.csv"
        turned.write_text("account,churned\n" + "".join(f"{name(n)},{int(day >= DAYS - 60)}\n" for n, day in last.items()))
        fit("--events", str(self.events), "--labels", str(turned), "--output", str(self.path / "t.model"), "--no-report")
        self.assertIn("days_silent   0.000000", "\n".join(risk_part(self.path / "t.model")))
        # Columns after the day say what they like.
        more = self.path / "more.csv"
        more.write_text("account,churned,day,how\n" + "".join(f"{line},FADES\n" for line in labels.read_text().splitlines()[1:]))
        fit("--events", str(self.events), "--labels", str(more), "--output", str(self.path / "m.model"), "--no-report")
        fit("--events", str(self.events), "--labels", str(labels), "--output", str(self.path / "l.model"), "--no-report")
        self.assertEqual((self.path / "m.model").read_bytes(), (self.path / "l.model").read_bytes())
        # Without days in the file an outcome is that of all horizons.
        self.assertIn("\n# Not fitted: 60 and 90 days,", (self.path / "t.model").read_text())
        self.assertNotIn("Not fitted", (self.path / "l.model").read_text())

    def test_outcomes_by_hand(self) -> None:
        """50 accounts use the product on each of days 0 to 199, 30 up to day 49. Silence is 60 days: outcomes are known of
        days up to 199 - 60 - 30 = 109, for all alike; those of the 30 from day 19 on, 91 days or 13 weekly samples, left."""
        events, model = self.path / "hand.csv", self.path / "hand.model"
        rows = [(day, number) for number in range(80) for day in range(200 if number < 50 else 50)]
        events.write_text("account,day\n" + "".join(f"{name(n)},{date_of(day)}\n" for day, n in sorted(rows)))
        fit("--events", str(events), "--output", str(model), "--no-report")
        known, left = outcomes(model)
        self.assertEqual(left, 30 * 13)
        self.assertGreaterEqual(known, 80 * 15)
        self.assertLessEqual(known, 80 * 16)

    def test_report_is_of_what_was_left_out(self) -> None:
        """Outcomes by chance: on what it was fitted to it would look good, on the rest it is no better than chance."""
        labels, chance = self.path / "chance.csv", random.Random(3)
        labels.write_text("account,churned\n" + "".join(f"{name(n)},{chance.randrange(2)}\n" for n in list(self.lives)[:150]))
        said = fit("--events", str(self.events), "--labels", str(labels), "--at", "70", "--ridge", "1",
                   "--output", str(self.path / "chance.model")).stdout
        self.assertLess(float(re.findall(r"account: .*?AUC ([\d.]+)", said)[0]), 0.48, said)

    def test_a_weight_at_its_limit(self) -> None:
        """By chance, and hardly held: of these accounts tenure would have a weight of 13."""
        labels, model, chance = self.path / "limit.csv", self.path / "limit.model", random.Random(3)
        labels.write_text("account,churned\n" + "".join(f"{name(n)},{chance.randrange(2)}\n" for n in list(self.lives)[:150]))
        fit("--events", str(self.events), "--labels", str(labels), "--at", "70", "--ridge", "1", "--output", str(model), "--no-report")
        self.assertIn("tenure_days   10.000000", "\n".join(risk_part(model)))

    def test_what_uptake_refuses_is_not_written(self) -> None:
        """Kept weights so large that the intercept would be beyond the file's limits: the old file stays."""
        base, model, kept = self.path / "large.model", self.path / "kept.model", ["tenure_days", "tenure_weeks", "gap_mean", "gap_spread", "silence_x_gap"]
        fit("--events", str(self.events), "--output", str(base), "--no-report")
        base.write_text(re.sub(rf"(?m)^({'|'.join(kept)}) +\S+ (?=\S+ \S+ )", r"\1 10 ", base.read_text()))
        model.write_text("the old one")
        run = fit("--events", str(self.events), "--base", str(base), "--keep", ",".join(kept), "--output", str(model), "--no-report", good=False)
        self.assertEqual((run.returncode, len(run.stderr.strip().splitlines())), (65, 1), run.stderr)
        self.assertRegex(run.stderr, r"intercept_30d: -?\d.*; allowed: -50 to 50; a higher --ridge helps$")
        self.assertEqual(model.read_text(), "the old one")
        self.assertEqual(list(self.path.glob("kept.model.*")), [])

    def test_errors(self) -> None:
        bad = self.path / "bad.csv"
        out = str(self.path / "x.model")
        cases = [
            ("account,day,search\nA,2025-01-06\n", ":2: 2 columns; allowed: 3"),
            ("account,day,search\nA,2025-13-06,1\n", ":2: 2025-13-06: allowed: a day as 2026-01-31"),
            ("account,day,search\nA,2025-01-06,x\n", ":2: search x: allowed: a whole number"),
            ("name,day\n", ":1: name: allowed: columns account, or course,enrollment"),
            ("", ":1: empty; allowed: a header line"),
            ("account,day,_x\n", ":1: _x: allowed: names of features"),
            ("account,day\nA,2025-01-06\n", "at least 20 of each"),
            ("account,day\nA,2025-01-06\nB\0,2025-01-06\n", ":3: a NUL byte; allowed: text"),
            ("account,day\n" + "A" * 5000 + ",2025-01-06\n", ":2: too long a line; allowed: 4095 bytes"),
        ]
        cases.append(("course,enrollment,day\nco\udcff,1,2025-01-06\n", "bytes of UTF-8"))
        for text, wanted in cases:
            bad.write_text(text, errors="surrogateescape")
            run = fit("--events", str(bad), "--output", out, good=False)
            self.assertEqual(run.returncode, 65, text)
            self.assertIn(wanted, run.stderr)
            self.assertEqual(len(run.stderr.strip().splitlines()), 1, run.stderr)
            self.assertFalse(Path(out).exists())
        for args, wanted in ((["--at", "0"], "--at 0"), (["--keep", "nothing"], "--keep nothing"),
                             (["--version", os.fsdecode(b"v\xff")], "of UTF-8 is wanted"), ([], "-c FILE")):
            run = fit("--output", out, *args, good=False)
            self.assertEqual(run.returncode, 64)
            self.assertIn(wanted, run.stderr)
        for text, wanted in (("account,churned,when,day\nA,1,,\n", ":1: when: allowed: a column day after churned, then any others"),
                             ("account,churned\nA,1,2025-01-06,FADES\n", ":2: allowed: churned 0 or 1, then perhaps the day"),
                             ("account,churn\nA,FADES\n", ":1: allowed: a column churned after the account")):
            bad.write_text(text)
            run = fit("--events", str(self.events), "--labels", str(bad), "--output", out, good=False)
            self.assertEqual((run.returncode, wanted in run.stderr), (65, True), run.stderr)
        bad.write_text("account,churned\nnobody,1\n")
        run = fit("--events", str(self.events), "--labels", str(bad), "--output", out, good=False)
        self.assertEqual((run.returncode, run.stderr),
                         (65, f"uptake fit: {bad}: none of its 1 accounts is in the events; allowed: names as there\n"))
        nowhere = str(self.path / "nowhere" / "file")
        events = ["--events", str(self.events)]
        for args, code in ((["-c", nowhere, *events, "--output", out], 64), (["--events", nowhere, "--output", out], 66),
                           ([*events, "--labels", nowhere, "--output", out], 66), ([*events, "--output", nowhere], 73)):
            run = fit(*args, good=False)
            self.assertEqual((run.returncode, len(run.stderr.strip().splitlines())), (code, 1), run.stderr)
            self.assertEqual(run.stdout, "")  # before any work
        pipe, link, folder = self.path / "pipe", self.path / "link", self.path / "folder"
        os.mkfifo(pipe)
        (self.path / "kept").write_text("kept")
        link.symlink_to(self.path / "kept")
        folder.mkdir()
        for path in (pipe, link, folder, Path("/dev/stdout")):
            before = path.lstat().st_mode
            run = fit(*events, "--output", str(path), good=False)
            self.assertEqual((run.returncode, run.stdout), (73, ""))
            self.assertEqual(run.stderr, f"uptake fit: --output {path}: a plain file is wanted, or a name that is free\n")
            self.assertEqual(path.lstat().st_mode, before)
        self.assertEqual(link.read_text(), "kept")


class Log(unittest.TestCase):
    """The same events from the topic, with segments, and what RENEWED and CHURNED say."""

    def messages(self, lives: dict[int, list[tuple[int, int]]], codec: Codec, more: list[tuple]) -> list[Message]:
        made = []
        for number, days in lives.items():
            for day, uses in days:
                made += [(day, 1, number, "USAGE", "search", {})] * uses
            segment = {"segment": "loose ends" if number % 2 else "steady"}
            made.append((days[0][0], 0, number, "PROFILE", None, segment))
        made += [(day, 2, number, kind, None, dict(*properties)) for number, day, kind, *properties in more]
        made.sort(key=lambda m: (m[0], name(m[2]), m[1]))
        result = []
        for day, _, number, kind, feature, properties in made:
            at = ((FIRST - datetime.date(1970, 1, 1)).days + day) * DAY_MS + DAY_MS // 2
            record = {"event_id": "", "occurred_at": at, "account_id": name(number), "user_id": None, "kind": kind,
                      "feature": feature, "quantity": 1.0, "duration_ms": None, "properties": properties}
            result.append(Message(name(number).encode(), codec.encode(record), timestamp=at))
        return result

    def counted(self, lives: dict[int, list[tuple[int, int]]], until: int, *args: str) -> tuple[int, int]:
        """Outcomes of the same lives from a file, of the days before `until`."""
        with tempfile.TemporaryDirectory() as folder:
            events, model = Path(folder) / "events.csv", Path(folder) / "file.model"
            rows = sorted((day, name(n), uses) for n, days in lives.items() for day, uses in days if day < until)
            events.write_text("account,day,search\n" + "".join(f"{account},{date_of(day)},{uses}\n" for day, account, uses in rows))
            fit("--events", str(events), "--output", str(model), "--no-report", *args)
            return outcomes(model)

    def test_first_day_of_all_partitions(self) -> None:
        """The first partition begins 50 days after the second: --at counts from the second's first day."""
        lives = {n: [(day + 50, uses) for day, uses in days] if n % 2 else days for n, days in population().items()}
        at = ("--at", "80,110,140")
        with tempfile.TemporaryDirectory() as folder, Services() as services:
            text = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
            services.kafka.create_topic("late", 2, TOPIC)
            codec = Codec(text, services.registry.register("late-value", text))
            trained = [(n, days[0][0], "TRAINING") for n, days in lives.items()]  # which is kept beside the account: freed with it
            made = [replace(m, partition=1 - int(m.key.decode().rpartition("-")[2]) % 2) for m in self.messages(lives, codec, trained)]
            produce(services.kafka.bootstrap, "late", made, linger_ms=50)
            config, model = Path(folder) / "late.yaml", Path(folder) / "late.model"
            config.write_text(to_yaml(config_for(services, {"input": {"topic": "late"}})))
            fit("-c", str(config), "--output", str(model), "--no-report", *at)
            self.assertEqual(outcomes(model), self.counted(lives, DAYS + 49, *at))

    def test_renewed(self) -> None:
        """Accounts that renewed give the tables of [renewed], by the days before; those that left, renewed far too late or have no date give none."""
        lives, due, ends = population(), 250, (30, 60, 90, 180)
        for n in range(56):
            lives[1000 + n] = [(day, 1) for day in range(5, 245 - 3 * n)]
        more: list[tuple] = [(n, 5, "PROFILE", {"renewal_date": date_of(due)}) for n in range(1000, 1056)]
        more += [(n, due + (30 if n == 1000 else -1), "RENEWED") for n in range(1000, 1040)]
        more += [(n, due + 31, "RENEWED") for n in range(1040, 1048)]
        more += [(n, due - 1, "CHURNED") for n in range(1048, 1056)] + [(n, due, "RENEWED") for n in range(1048, 1056)]
        more += [(n, due, "RENEWED") for n in list(lives)[:40]]
        wanted = []
        for first, end in zip((0, *(end + 1 for end in ends)), ends):
            values = []
            for n in range(1000, 1040):
                left = first + xxhash.xxh3_64_intdigest(name(n).encode()) % (end - first + 1)
                if n > 1000 and left == 0:
                    continue  # RENEWED came the day before
                yesterday = due - left - 1  # today has no use yet: it is looked at in its first hour
                values.append(sum(2 ** (-(yesterday - day) / 21) for day, _ in lives[n] if day <= yesterday))
            values.sort()
            for k in range(21):
                place = k / 20 * (len(values) - 1)
                low = int(place)
                value = values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])
                wanted.append((end, k / 20, value))
        with tempfile.TemporaryDirectory() as folder, Services() as services:
            text = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
            services.kafka.create_topic("renewed", 2, TOPIC)
            codec = Codec(text, services.registry.register("renewed-value", text))
            produce(services.kafka.bootstrap, "renewed", self.messages(lives, codec, more), linger_ms=50)
            config, model, again = (Path(folder) / file for file in ("renewed.yaml", "renewed.model", "again.model"))
            over = {"input": {"topic": "renewed"}}
            config.write_text(to_yaml(config_for(services, over)))
            fit("-c", str(config), "--output", str(model), "--no-report")
            rows = re.findall(r"(?m)^(30|60|90|180) (\S+) (\S+) (\S+)$", model.read_text())
            self.assertEqual([int(end) for end, *_ in rows], [end for end, *_ in wanted])
            for (end, share, frequency, breadth), (_, place, value) in zip(rows, wanted):
                self.assertEqual(float(share), place)
                self.assertAlmostEqual(float(frequency), value, delta=3e-6, msg=f"{end} days, share {share}")
                self.assertGreaterEqual(float(breadth), 0)
            self.assertRegex(model.read_text(), r"\n# \[renewed\]: by days before the renewal \d\d accounts of up to 30, 40 accounts of up to 60, ")
            config.write_text(to_yaml(config_for(services, {**over, "model_file": str(model)})))
            said = subprocess.run([str(binary()), "show", "--model", "-c", str(config)], capture_output=True, text=True, timeout=60, check=True).stdout
            self.assertIn("\nAdoption is compared with the accounts that renewed, at the same time: 0 to 30, 31 to 60, 61 to 90, 91 to 180 days before;\n", said)
            # A base's tables stay where the events have no renewals.
            events = Path(folder) / "events.csv"
            events.write_text("account,day,search\n" + "".join(sorted((f"{name(n)},{date_of(day)},{uses}\n" for n, days in population().items() for day, uses in days),
                                                                      key=lambda line: line.split(",")[1])))
            fit("--events", str(events), "--base", str(model), "--output", str(again), "--no-report")
            self.assertEqual(re.findall(r"(?m)^(30|60|90|180) (\S+) (\S+) (\S+)$", again.read_text()), rows)
            fit("--events", str(events), "--output", str(again), "--no-report")
            self.assertNotIn("renewed", again.read_text())

    def test_labels_of_generate(self) -> None:
        """What `generate` says of who leaves, `fit` takes, and it is of the accounts on the topic."""
        with tempfile.TemporaryDirectory() as folder, Services() as services:
            services.kafka.create_topic("made", 2, TOPIC)
            config, labels, model = (Path(folder) / file for file in ("made.yaml", "labels.csv", "made.model"))
            config.write_text(to_yaml(config_for(services, {"input": {"topic": "made"}})))
            made = subprocess.run([str(binary()), "generate", "-c", str(config), "--accounts", "150", "--users", "2", "--days", "200",
                                   "--churn-share", "0.5", "--labels", str(labels)], capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(made.returncode, 0, made.stderr)
            head, *lines = labels.read_text().splitlines()
            self.assertEqual((head, len(lines)), ("account,churned,day,how,cadence,users", 150))
            for line in lines:
                _, churned, day, how, *_ = line.split(",")
                self.assertEqual((churned == "1", day != ""), (how in ("FADES", "STOPS", "HEAVY_UNTIL_LAST_DAY"), how != "STAYS"), line)
            fit("-c", str(config), "--labels", str(labels), "--output", str(model), "--no-report")
            known, left = outcomes(model)
            self.assertGreater(left, 20)
            self.assertGreater(known - left, 20)

    def test_log(self) -> None:
        lives = population()
        # Twenty of those that go on are said to have churned on day 100; as many of those that left early, to have renewed.
        stay = [n for n, days in lives.items() if days[0][0] < 40 and days[-1][0] > DAYS - 10][:40]
        gone = [n for n, days in lives.items() if days[-1][0] < 80][:20]
        self.assertGreater(len(stay), 30)
        self.assertGreater(len(gone), 15)
        churned, renewed = [(n, 100, "CHURNED") for n in stay], [(n, 250, "RENEWED") for n in gone]
        with tempfile.TemporaryDirectory() as folder, Services() as services:
            text = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
            models = {}
            for topic, extra in (("plain", []), ("churned", churned), ("renewed", renewed)):
                services.kafka.create_topic(topic, 2, TOPIC)
                codec = Codec(text, services.registry.register(f"{topic}-value", text))
                produce(services.kafka.bootstrap, topic, self.messages(lives, codec, extra), linger_ms=50)
                config = Path(folder) / f"{topic}.yaml"
                config.write_text(to_yaml(config_for(services, {"input": {"topic": topic}})))
                models[topic] = Path(folder) / f"{topic}.model"
                said = fit("-c", str(config), "--output", str(models[topic])).stdout
                again = Path(folder) / "again.model"
                fit("-c", str(config), "--output", str(again), "--no-report")
                self.assertEqual(models[topic].read_bytes(), again.read_bytes())
                if topic == "plain":
                    self.assertGreater(float(re.findall(r"AUC ([\d.]+)", said)[0]), 0.8, said)
            text = {topic: model.read_text() for topic, model in models.items()}
            counts = {topic: outcomes(model) for topic, model in models.items()}
        # The log's last day is under way: what is known of it says nothing yet.
        self.assertEqual(counts["plain"], self.counted(lives, DAYS - 1))
        segments = dict(re.findall(r"^(loose%20ends|steady) (-?[\d.]+)", text["plain"], re.M))
        self.assertGreater(float(segments["loose%20ends"]), float(segments["steady"]) + 0.2)
        # CHURNED takes away all later samples of those accounts; those of the 30 days before, four a account, have left.
        samples = {topic: int(re.findall(r"(\d+) samples of", t)[0]) for topic, t in text.items()}
        self.assertLess(samples["churned"], samples["plain"] - 20 * len(stay))
        self.assertGreater(counts["churned"][1], counts["plain"][1] + 3 * len(stay))
        # RENEWED says that they were there: samples of the weeks before their silence was over turn.
        self.assertLess(counts["renewed"][1], counts["plain"][1] - 3 * len(gone))
        self.assertEqual(samples["renewed"], samples["plain"])


if __name__ == "__main__":
    unittest.main()
