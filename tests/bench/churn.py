"""How well churn_risk_30d and health, as they stand in Redis, tell who leaves.

    tests/bench/churn --events FILE --labels FILE [--model FILE | --leave-courses-out | --by-time DATE]

FILES (.gz or not, with a header line, in any order): course,enrollment,day,COUNT of each feature… and
course,enrollment,churned. Lines of the same day add up; a line without uses is no use; an account without a label is
replayed and not judged; days after the 30th are not replayed. A figure that these accounts do not give is a dash.
An account is course-enrollment, its segment the course; each count is that many USAGE events at noon of its day; every
course is moved to the same first day. They go through a real broker, `uptake run --until-end` and a real Redis. The log
is cut after day 10, 15, 20, 25 and 30, an empty batch moves the clock of each partition past the following midnight,
and the rows are read. Courses that the model does not know are the rule: their segment adds nothing to the risk.

Printed for each cut: AUC over all accounts seen / over those active in the last 3 days, of churn_risk_30d and of
100 - health, and the calibration error of the risk: mean over tenths of the predictions of |predicted - observed|.
Every account that used the product has a risk. Health is withheld for some days: "health" is over the accounts that
have one, "health, all" counts those that have none as the median of the others.

--leave-courses-out: five times fitted to four fifths of the courses, judged on the rest; what is printed is all of them
together. --by-time: fitted to the courses that begin before a date, judged on the others: as it is, and with the
log-odds moved by what the outcomes of other judged courses say, once of those that are known on that day in the
courses' own time (42 days after their start), once of all others.
Fits are made with fit_default_model.py (if this Python or $FIT_PYTHON has numpy; else the shipped file is the base, which has seen all
courses of its own) and `uptake fit`.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import math
import os
import subprocess
import sys
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.kafka_util import Codec, Message, frame, produce  # noqa: E402
from support.services import Services  # noqa: E402
from support.uptake_proc import Uptake, binary, config_for  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CUTS = (10, 15, 20, 25, 30)
HOT_DAYS = 3
FIRST = datetime.date(2026, 1, 5)
DAY_MS = 86_400_000
NOON_MS = DAY_MS // 2
PARTITIONS = 4
BATCH_MOST, BATCH_BYTES = 5000, 500_000
OUTCOME_DAYS = 42  # from the start of a course until its outcomes are known
AT = "5,10,10,15,15,15,20,20,25,25,30,30,30,30"  # how often each day counts: the later, the more there is to know
FIT = ("--at", AT, "--ridge", "5000", "--keep", "gone_odds,seat_use", "--no-segments", "--no-report")
TOPIC = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(10**15), "retention.ms": "-1"}


# --- the files ---------------------------------------------------------------


def refuse(code: int, text: str) -> NoReturn:
    """As the commands do: 64 use, 65 data, 66 a file that cannot be read."""
    print(f"churn: {text}", file=sys.stderr)
    raise SystemExit(code)


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines with their numbers, empty ones left out."""
    try:
        opened = gzip.open(path, "rt", newline="", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(
            newline="", encoding="utf-8-sig")
        with opened as file:
            reader = csv.reader(file)
            yield from ((reader.line_num, line) for line in reader if line)
    except (OSError, EOFError, zlib.error) as error:
        refuse(66, f"{path}: {error}")
    except (UnicodeError, csv.Error) as error:
        refuse(65, f"{path}: {error}")


def header_of(path: Path, lines: Iterator[tuple[int, list[str]]], columns: list[str], more: str) -> list[str]:
    header = next(lines, (1, []))[1]
    if header[:len(columns)] != columns:
        refuse(65, f"{path}:1: columns {','.join(columns)}{more} are wanted")
    return header


@dataclass
class Account:
    course: str
    days: dict[int, list[int]] = field(default_factory=dict)  # day of the course, from 1: counts
    churned: int | None = None


class Data:
    def __init__(self, events: Path, labels: Path) -> None:
        lines = rows_of(events)
        self.header = header_of(events, lines, ["course", "enrollment", "day"], " and one for each feature")
        self.features = self.header[3:]
        self.raw: list[list[str]] = []
        self.start: dict[str, datetime.date] = {}
        self.accounts: dict[str, Account] = {}
        used = []
        for number, line in lines:
            day, counts = self.read(events, number, line)
            self.raw.append(line)
            self.start[line[0]] = min(day, self.start.get(line[0], day))
            used.append((f"{line[0]}-{line[1]}", line[0], day, counts))
        for name, course, day, counts in used:
            if any(counts):
                account = self.accounts.setdefault(name, Account(course))
                if account.course != course:
                    refuse(65, f"{events}: {name} is an account of {account.course} and of {course}")
                days = account.days
                at = (day - self.start[course]).days + 1
                days[at] = [a + b for a, b in zip(days.get(at, [0] * len(counts)), counts, strict=True)]
        self.label(labels)

    def read(self, path: Path, number: int, line: list[str]) -> tuple[datetime.date, list[int]]:
        if len(line) != len(self.header):
            refuse(65, f"{path}:{number}: {len(line)} columns; allowed: {len(self.header)}, as in the header")
        try:
            day, counts = datetime.date.fromisoformat(line[2]), [int(count) for count in line[3:]]
        except ValueError as error:
            refuse(65, f"{path}:{number}: {error}; allowed: a day as 2026-01-31, then whole numbers")
        if any(count < 0 for count in counts):
            refuse(65, f"{path}:{number}: {min(counts)}; allowed: counts of 0 and more")
        return day, counts

    def label(self, path: Path) -> None:
        lines = rows_of(path)
        header_of(path, lines, ["course", "enrollment", "churned"], "")
        self.labels: list[list[str]] = []
        for number, line in lines:
            if len(line) < 3 or line[2] not in ("0", "1"):
                refuse(65, f"{path}:{number}: allowed: course,enrollment, then churned 0 or 1")
            self.labels.append(line[:3])
            account = self.accounts.get(f"{line[0]}-{line[1]}")
            if account is not None:
                account.churned = int(line[2])
        if all(account.churned is None for account in self.accounts.values()):
            refuse(65, f"{path}: no label of an account that the events show")

    def write(self, folder: Path, courses: set[str]) -> tuple[Path, Path]:
        """The lines of some courses as files of the same form."""
        events, labels = folder / "events.csv", folder / "labels.csv"
        with events.open("w", newline="") as file:
            csv.writer(file).writerows([self.header, *(line for line in self.raw if line[0] in courses)])
        with labels.open("w", newline="") as file:
            wanted = (line for line in self.labels if line[0] in courses)
            csv.writer(file).writerows([["course", "enrollment", "churned"], *wanted])
        return events, labels


# --- through the product -----------------------------------------------------


@dataclass
class Row:
    account: str
    risk: float | None
    health: float | None
    hot: bool


class Replay:
    """One log, cut five times; a topic, a group and a prefix of its own."""

    number = 0

    def __init__(self, services: Services, data: Data, courses: set[str], model: Path | None) -> None:
        Replay.number += 1
        self.services, self.data = services, data
        self.name = f"churn-{Replay.number}"
        self.accounts = {name: a for name, a in data.accounts.items() if a.course in courses}
        services.kafka.create_topic(self.name, PARTITIONS, TOPIC)
        event = (ROOT / "schemas/uptake.v1.UsageEvent.avsc").read_text()
        batch = (ROOT / "schemas/uptake.v1.UsageBatch.avsc").read_text()
        self.codec = Codec(event)
        self.batch_id = services.registry.register(f"{self.name}-value", batch)
        over = {
            "group": self.name, "clock": "log", "trust_timestamps": True, "state_topic": f"{self.name}-state",
            "input": {"topic": self.name},
            "output": {f"{kind}_topic": f"{self.name}-{kind}" for kind in ("health", "alerts", "dead")},
            "redis": {"prefix": f"{self.name}:"}, **({"model_file": str(model)} if model else {}),
        }
        self.config = config_for(services, over)

    def batch(self, items: Sequence[bytes]) -> bytes:
        blocks = zigzag(len(items)) + b"".join(items) if items else b""
        return frame(self.batch_id, blocks + b"\0")

    def event(self, account: str, at: int, kind: str, feature: str | None, properties: dict[str, str]) -> bytes:
        return self.codec.encode({"event_id": "", "occurred_at": at, "account_id": account, "user_id": None, "kind": kind,
                                  "feature": feature, "quantity": 1.0, "duration_ms": None, "properties": properties})

    def messages(self, first: int, last: int) -> Iterator[Message]:
        """The days first to last of all courses, then the clocks past the midnight that follows."""
        by_day = defaultdict(list)
        for name, account in self.accounts.items():
            for day, counts in account.days.items():
                if first <= day <= last:
                    by_day[day].append((name, counts))
        for day in sorted(by_day):
            at = ms_of(day) + NOON_MS
            for name, counts in by_day[day]:
                account = self.accounts[name]
                items = []
                if day == min(account.days):
                    items.append(self.event(name, at, "PROFILE", None, {"segment": account.course}))
                for feature, count in zip(self.data.features, counts, strict=True):
                    items += [self.event(name, at, "USAGE", feature, {})] * count
                most = max(1, min(BATCH_MOST, BATCH_BYTES // max(map(len, items))))
                for some in range(0, len(items), most):
                    yield Message(name.encode(), self.batch(items[some:some + most]), timestamp=at)
        for partition in range(PARTITIONS):
            yield Message(b"clock", self.batch([]), timestamp=ms_of(last + 1) + 3_600_000, partition=partition)

    def rows(self, day: int) -> list[Row]:
        names = [name for name, account in self.accounts.items() if min(account.days) <= day]
        pipeline = self.services.redis.client().pipeline(transaction=False)
        for name in names:
            pipeline.hmget(f"{self.name}:account:{{{in_key(name)}}}", "churn_risk_30d", "health", "as_of")
        result = []
        for name, (risk, health, as_of) in zip(names, pipeline.execute(), strict=True):
            if as_of is None:
                refuse(65, f"account {name} has no row: names of accounts, courses and features that the product takes are wanted")
            hot = any(day - HOT_DAYS < active <= day for active in self.accounts[name].days)
            result.append(Row(name, figure(risk), figure(health), hot))
        return result

    def run(self) -> dict[int, list[Row]]:
        found, before = {}, 0
        for cut in CUTS:
            produce(self.services.kafka.bootstrap, self.name, self.messages(before + 1, cut), timeout=120, linger_ms=50)
            uptake = Uptake(self.config, name=f"{self.name}-{cut}", args=["--until-end"])
            uptake.launch()
            code = uptake.wait(240)
            if code != 0:
                raise SystemExit(f"uptake run --until-end: exit code {code}\n{uptake.tail()}")
            uptake.stop()
            found[cut], before = self.rows(cut), cut
        return found


def in_key(name: str) -> str:
    """Of a name in a key of Redis the bytes 0x00 to 0x20, 0x7F, {, } and % are percent-encoded."""
    return "".join(f"%{ord(c):02X}" if c <= " " or c in "\x7f{}%" else c for c in name)


def zigzag(n: int) -> bytes:
    n, out = n << 1, bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def ms_of(day: int) -> int:
    return ((FIRST - datetime.date(1970, 1, 1)).days + day - 1) * DAY_MS


def figure(text: str | bytes | None) -> float | None:
    return None if text is None else float(text)


# --- figures -----------------------------------------------------------------


def auc(pairs: Iterable[tuple[float, int]]) -> float:
    """Ties count by half. NaN if all came out the same."""
    ordered = sorted(pairs)
    ones = sum(label for _, label in ordered)
    ranks, at = 0.0, 0
    while at < len(ordered):
        end = at
        while end < len(ordered) and ordered[end][0] <= ordered[at][0]:
            end += 1
        ranks += sum(label for _, label in ordered[at:end]) * (at + 1 + end) / 2
        at = end
    zeros = len(ordered) - ones
    return (ranks - ones * (ones + 1) / 2) / (ones * zeros) if ones and zeros else math.nan


def calibration_error(pairs: Iterable[tuple[float, int]]) -> float:
    ordered = sorted(pairs)
    tenths = [ordered[len(ordered) * i // 10:len(ordered) * (i + 1) // 10] for i in range(10)]
    return sum(abs(sum(p - y for p, y in tenth)) for tenth in tenths) / len(ordered) if ordered else math.nan


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def shown(value: float, decimals: int = 4) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 50.0


class Figures:
    """Rows of one or several replays, judged together."""

    def __init__(self, data: Data, found: Iterable[dict[int, list[Row]]]) -> None:
        self.data = data
        self.rows: dict[int, list[Row]] = defaultdict(list)
        for part in found:
            for cut, rows in part.items():
                self.rows[cut] += [row for row in rows if data.accounts[row.account].churned is not None]

    def label(self, row: Row) -> int:
        return self.data.accounts[row.account].churned or 0

    def cell(self, values: list[tuple[Row, float]]) -> str:
        every = [(value, self.label(row)) for row, value in values]
        hot = [(value, self.label(row)) for row, value in values if row.hot]
        return f"{shown(auc(every))}/{shown(auc(hot))} ({len(every)}/{len(hot)})"

    def risks(self, cut: int) -> list[tuple[Row, float]]:
        return [(row, row.risk) for row in self.rows[cut] if row.risk is not None]

    def show(self, title: str) -> None:
        print(f"{title}: AUC over all accounts / over those active in the last {HOT_DAYS} days (how many)")
        for cut in CUTS:
            risks = self.risks(cut)
            scores = [(row, 100 - row.health) for row in self.rows[cut] if row.health is not None]
            middle = median([value for _, value in scores])
            every = [(row, middle if row.health is None else 100 - row.health) for row in self.rows[cut]]
            left = [float(self.label(row)) for row, _ in risks]
            error = calibration_error([(value, self.label(row)) for row, value in risks])
            print(f"  day {cut}: risk {self.cell(risks)}  health {self.cell(scores)}  health, all {self.cell(every)}  "
                  f"calibration error {shown(error)}, predicted {shown(mean([v for _, v in risks]), 3)}, "
                  f"left {shown(mean(left), 3)}", flush=True)

    def show_recalibrated(self, known_by_date: bool) -> None:
        """Log-odds of a course moved by what has come out in others; by ridge with the weight of one tenth."""
        cells = []
        for cut in CUTS:
            risks = self.risks(cut)
            by_course = defaultdict(list)
            for row, value in risks:
                by_course[self.data.accounts[row.account].course].append((logit(value), self.label(row)))
            moved = []
            for course, values in by_course.items():
                today = self.data.start[course] + datetime.timedelta(days=cut)
                known = [pair for other, pairs in by_course.items() for pair in pairs if other != course and
                         (not known_by_date or self.data.start[other] + datetime.timedelta(days=OUTCOME_DAYS) <= today)]
                by = shift(known)
                moved += [(1 / (1 + math.exp(-value - by)), label) for value, label in values]
            cells.append(f"day {cut} {shown(calibration_error(moved))} (AUC {shown(auc(moved))})")
        known = "known by then" if known_by_date else "of the other courses"
        print(f"  calibration error, moved by the outcomes {known}: {', '.join(cells)}", flush=True)


def logit(p: float) -> float:
    p = min(1 - 1e-6, max(1e-6, p))
    return math.log(p / (1 - p))


def shift(pairs: list[tuple[float, int]], prior: float = 10.0) -> float:
    """What to add to the log-odds so that as many leave as did, shrunk towards 0."""
    by = 0.0
    for _ in range(30 if pairs else 0):
        ps = [1 / (1 + math.exp(-value - by)) for value, _ in pairs]
        miss = sum(label for _, label in pairs) - sum(ps) - prior * by
        by += miss / (sum(p * (1 - p) for p in ps) + prior)
    return by


# --- fits --------------------------------------------------------------------


def base_model(events: Path, labels: Path, folder: Path) -> list[str]:
    python = os.environ.get("FIT_PYTHON", sys.executable)
    fit = [python, str(ROOT / "tests/bench/fit_default_model.py"), "--no-report", str(events), str(labels)]
    if subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False).returncode != 0:
        print("no numpy: all but the risk is from the shipped model", file=sys.stderr)
        return []
    made = subprocess.run(fit, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        why = (made.stderr.strip().splitlines() or ["-"])[-1]
        print(f"fit_default_model.py: {why}: all but the risk is from the shipped model", file=sys.stderr)
        return []
    path = folder / "base.model"
    path.write_text(made.stdout)
    return ["--base", str(path)]


def fitted(data: Data, courses: set[str], folder: Path, name: str) -> Path:
    """A model that has seen these courses only."""
    events, labels = data.write(folder, courses)
    model = folder / f"{name}.model"
    fit = [str(binary()), "fit", "--events", str(events), "--labels", str(labels), "--output", str(model), *FIT,
           *base_model(events, labels, folder)]
    if subprocess.run(fit, check=False).returncode != 0:
        refuse(65, f"no model can be fitted to {len(courses)} of the courses")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", type=Path, help="instead of the shipped one")
    what.add_argument("--leave-courses-out", action="store_true")
    what.add_argument("--by-time", type=datetime.date.fromisoformat, metavar="DATE")
    options = parser.parse_args()
    data = Data(options.events, options.labels)
    courses = sorted(data.start)
    early = {course for course in courses if options.by_time and data.start[course] < options.by_time}
    if options.leave_courses_out and len(courses) == 1:
        refuse(65, f"{options.events}: one course; to leave courses out two at least are wanted")
    if options.by_time and len(early) in (0, len(courses)):
        refuse(65, f"{options.events}: {len(early)} of {len(courses)} courses begin before {options.by_time}; "
                   "some on both sides are wanted")
    with tempfile.TemporaryDirectory() as name, Services() as services:
        folder = Path(name)
        if options.by_time:
            model = fitted(data, early, folder, "early")
            figures = Figures(data, [Replay(services, data, set(courses) - early, model).run()])
            figures.show(f"fitted to {len(early)} earlier courses, judged on {len(courses) - len(early)} later ones")
            figures.show_recalibrated(True)
            figures.show_recalibrated(False)
        elif options.leave_courses_out:
            parts = [set(courses[i::5]) for i in range(min(5, len(courses)))]
            models = [fitted(data, set(courses) - part, folder, f"fold-{i}") for i, part in enumerate(parts)]
            found = [Replay(services, data, part, model).run() for part, model in zip(parts, models, strict=True)]
            Figures(data, found).show("left out by course")
        else:
            found = Replay(services, data, set(courses), options.model).run()
            Figures(data, [found]).show(f"model {options.model or 'shipped'}")


if __name__ == "__main__":
    main()
