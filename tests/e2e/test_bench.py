"""The benches that files from elsewhere are run through, `churn` and `silence`: such files work, or end in one clear line."""

from __future__ import annotations

import gzip
import random
import subprocess
import tempfile
import unittest
from datetime import date, timedelta
from pathlib import Path

from bench import churn

BENCH = Path(__file__).resolve().parents[1] / "bench"
FIRST = date(2020, 1, 6)
HEADER, LABELS = "course,enrollment,day,a,b\n", "course,enrollment,churned\n"


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


class Bench(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    def bench(self, name: str, *args: str | Path) -> subprocess.CompletedProcess:
        command = [str(BENCH / name), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, timeout=230, check=False)

    def refused(self, code: int, why: str, name: str, *args: str | Path) -> None:
        run = self.bench(name, *args)
        self.assertEqual((run.returncode, run.stdout), (code, ""), run.stderr)
        self.assertRegex(run.stderr, rf"^\w+: [^\n]*{why}[^\n]*\n$")


class Churn(Bench):
    def test_odd_files(self) -> None:
        """Names that keys encode; any order; a day on two lines; CRLF; a day without uses; days after the cut; an account
        without a label; a course that nobody leaves; a byte order mark; a column more in the labels."""
        names = {("Y 2", "e{1}"), ("Y 2", "e%2"), ("all stay", "é 3"), ("all stay", "4")}
        lines = [f"{course},{name},{day(number)},2,1" for course, name in sorted(names)
                 for number in (0, 0, 3, 45) if number < 40 or name == "e%2"]
        lines += [f"Y 2,e{{1}},{day(29)},0,0", f"Y 2,no label,{day(1)},1,1", f"Y 2,nothing,{day(1)},0,0"]
        random.Random(1).shuffle(lines)
        left = {"e{1}": 1}
        labels = [f"{course},{name},{left.get(name, 0)},x" for course, name in names] + ["Y 2,nothing,1,x"]
        events = self.file("e.csv", "\ufeff" + "\r\n".join([HEADER.strip(), "", *lines, ""]))
        told = self.file("l.csv", "\r\n".join(["course,enrollment,churned,note", *labels, ""]))
        run = self.bench("churn", "--events", events, "--labels", told)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("day 10: risk 0.5000/- (4/0)", run.stdout)
        self.assertRegex(run.stdout, r"day 30: risk 0\.5000/- \(4/0\)  health 0\.5000/- .*left 0\.250\n")
        self.assertNotIn("nan", run.stdout)

    def test_lines_of_a_day_add_up(self) -> None:
        lines = f"{HEADER}c,1,{day(1)},1,4\nc,2,{day(0)},1,1\nc,1,{day(1)},2,0\n"
        data = churn.Data(self.file("e.csv", lines), self.file("l.csv", f"{LABELS}c,1,1\n"))
        self.assertEqual(data.accounts["c-1"].days, {2: [3, 4]})

    def test_refused(self) -> None:
        good, labels = f"{HEADER}c,1,{day(0)},1,1\n", f"{LABELS}c,1,1\n"
        cases = [
            (65, ":1: columns course,enrollment,day", "", labels),
            (65, ":1: columns course,enrollment,churned", good, ""),
            (65, ":2: 4 columns; allowed: 5", f"{HEADER}c,1,{day(0)},1\n", labels),
            (65, ":2: Invalid isoformat", f"{HEADER}c,1,6.1.2020,1,1\n", labels),
            (65, ":2: invalid literal", f"{HEADER}c,1,{day(0)},1.5,1\n", labels),
            (65, ":2: -1; allowed", f"{HEADER}c,1,{day(0)},-1,1\n", labels),
            (65, ":2: allowed: course,enrollment", good, f"{LABELS}c,1,yes\n"),
            (65, "no label of an account", good, f"{LABELS}c,2,1\n"),
            (65, "is an account of", f"{good}c-1,2,{day(0)},1,1\nc,1-2,{day(0)},1,1\n", labels),
        ]
        for code, why, events, told in cases:
            with self.subTest(why):
                self.refused(code, why, "churn", "--events", self.file("e.csv.gz", events),
                             "--labels", self.file("l.csv", told))
        files = ("--events", self.file("e.csv", good), "--labels", self.file("l.csv", labels))
        self.refused(65, "one course", "churn", *files, "--leave-courses-out")
        self.refused(65, "0 of 1 courses begin before", "churn", *files, "--by-time", "2019-01-01")
        self.refused(66, "No such file", "churn", "--events", self.folder / "none", "--labels", files[3])
        self.refused(66, "Not a gzipped file", "churn", "--events", files[1].rename(self.folder / "f.csv.gz"),
                     "--labels", files[3])


class Silence(Bench):
    ROWS = [f"{who},{day(number)}" for who, days in (("gone", 40), ("here", 400)) for number in range(0, days, 2)]

    def test_gz_and_order(self) -> None:
        events = "\n".join(["account,day", *self.ROWS]) + "\n"
        plain = self.bench("silence", "--all", "--events", self.file("plain.csv", events))
        mixed = "\r\n".join(["account,day", *random.Random(1).sample(self.ROWS, len(self.ROWS))]) + "\r\n"
        packed = self.bench("silence", "--all", "--events", self.file("packed.csv.gz", mixed))
        self.assertIn(" 1 accounts left", plain.stdout)
        self.assertEqual((plain.returncode, packed.returncode, packed.stdout), (0, 0, plain.stdout), packed.stderr)

    def test_nothing_to_judge(self) -> None:
        for text in ("", "account,day\n", f"account,day\na,{day(0)}\n"):
            self.refused(65, "nothing to judge; wanted: lines account,day", "silence", "--events", self.file("e.csv", text))


if __name__ == "__main__":
    unittest.main()
