#!/usr/bin/env python3
"""Checks aggregate/score/SIGNALS.md: the numbers 1 to 112, each once and in order; every home exists in the source; every
test exists. A home is `signal NAME` (include/uptake/signal.h), `rule NAME` (rules_keys.c and default.rules.yaml),
`row: FIELD` (a field of aggregate/view), `health: KEY` (default.rules.yaml), `function NAME` (defined in aggregate/), or
`- REASON`. A test is `FILE: TEXT`, TEXT standing in that file. And that every signal is defined in
aggregate/score/README.md, and that none of its definitions is of none."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT = 112


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def signals() -> list[str]:
    return re.findall(r'\bX\(\w+, "(\w+)"\)', read("include/uptake/signal.h"))


def defined() -> list[str]:
    """Names in the first column of the table of signals."""
    section = read("aggregate/score/README.md").partition("\n## Signals\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z0-9_, ]+) \|", section, re.M)
    return [name for row in rows for name in row.split(", ") if name != "signal"]


def home_error(where: str) -> str | None:
    kind, _, name = where.partition(" ")
    if kind == "-":
        return None if len(name) > 20 else "a reason is missing"
    if kind == "signal":
        return None if name in signals() else f"no signal {name}"
    if kind == "rule":
        known = f'= "{name}",' in read("aggregate/score/rules_keys.c")
        shipped = re.search(rf"^  {name}:$", read("aggregate/score/default.rules.yaml"), re.M)
        return None if known and shipped else f"no rule {name}"
    if kind == "row:":
        view = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "aggregate/view").glob("*.[cl]*"))
        return None if f'"{name}' in view or f"'{name}" in view else f"no field {name}"
    if kind == "health:":
        return None if re.search(rf"\b{name}:", read("aggregate/score/default.rules.yaml")) else f"no weight {name}"
    if kind == "function":
        defined = any(
            re.search(rf"^{name}\(", p.read_text(encoding="utf-8"), re.M) for p in (ROOT / "aggregate").glob("*/*.c")
        )
        return None if defined else f"no function {name}"
    return "allowed: signal, rule, row:, health:, function, -"


def test_error(where: str, test: str) -> str | None:
    if where.startswith("-"):
        return None if test == "" else "no home, but a test"
    path, _, text = test.partition(": ")
    if not (ROOT / path).is_file():
        return f"no file {path}"
    return None if text and text in read(path) else f"{path} does not hold: {text}"


def main() -> int:
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in read("aggregate/score/SIGNALS.md").splitlines()
        if re.match(r"\| \d", line)
    ]
    errors = []
    if [row[0] for row in rows] != [str(n) for n in range(1, COUNT + 1)]:
        errors.append(f"allowed: the numbers 1 to {COUNT}, each once and in order")
    for row in rows:
        if len(row) != 4 or not row[1]:
            errors.append(f"{row[0]}: allowed: four columns")
            continue
        for error in (home_error(row[2]), test_error(row[2], row[3])):
            if error is not None:
                errors.append(f"{row[0]} {row[1]}: {error}")
    if sorted(signals()) != sorted(defined()):
        errors.append(f"README.md defines others than there are: {set(signals()) ^ set(defined())}")
    for error in errors:
        print(f"aggregate/score/SIGNALS.md: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
