#!/usr/bin/env python3
"""Checks aggregate/score/SIGNALS.md: the numbers 1 to 112, each once and in order; every home exists, by its whole name, in
the program's own tables; every test exists. Homes, and the table that each is looked up in:

    signal NAME          include/uptake/signal.h
    rule NAME            rules_keys.c, and default.rules.yaml
    component NAME       parts.c (names), model.c (upt_part_names)
    row: FIELD           aggregate/view/format.c
    feature row: FIELD   aggregate/view/sums.lua
    segment NAME         segment_field.c, signals, and the kinds of leaves in segment_read.c
    record: FIELD        schemas/uptake.v1.AccountHealth.avsc and ChurnAlert.avsc
    key: PATH            default.rules.yaml
    command NAME         ingest/cmd_*.c
    - REASON

A test is FILE: NAME, a registered unit test, a Python test or the whole title of a scenario; that of a signal names it, that
of a rule watches it. And that every signal is defined in aggregate/score/README.md, and that none of its definitions is of none."""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNT = 112
SCORE = "aggregate/score/"


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def words(text: str) -> list[str]:
    return re.findall(r'"(\w+)"', text)


def defined() -> list[str]:
    """Names in the first column of the table of signals."""
    section = between(read(SCORE + "README.md"), "\n## Signals\n", "\n## ")
    rows = re.findall(r"^\| ([a-z0-9_, ]+) \|", section, re.M)
    return [name for row in rows for name in row.split(", ") if name != "signal"]


def keys(text: str) -> list[str]:
    """Dotted paths of a YAML file with mappings only, in blocks or in braces."""
    found, path = [], []
    for line in text.splitlines():
        match = re.match(r"( *)(\w+):(.*)", line)
        if match:
            path = [*path[:len(match[1]) // 2], match[2]]
            found.append(".".join(path))
            inner = re.match(r" *\{(.*)\}", match[3])
            found += [".".join([*path, name]) for name in re.findall(r"(\w+):", inner[1])] if inner else []
    return found


def fields(schema: object) -> list[str]:
    """Names of the fields of a schema, and of the records in it."""
    if isinstance(schema, list):
        return [name for one in schema for name in fields(one)]
    if not isinstance(schema, dict):
        return []
    inner = [name for field in schema.get("fields", []) for name in [field["name"], *fields(field["type"])]]
    return inner + fields(schema.get("items")) + (fields(schema["type"]) if isinstance(schema.get("type"), dict) else [])


def tables() -> dict[str, set[str]]:
    signals = re.findall(r'\bX\(\w+, "(\w+)"\)', read("include/uptake/signal.h"))
    field = read(SCORE + "segment_field.c")
    windows = [f"{name}_{w}" for name in re.findall(r'WINDOWS\("(\w+)"', field) for w in ("1h", "24h", "7d", "30d")]
    rules = keys(read(SCORE + "default.rules.yaml"))
    known = words(between(read(SCORE + "rules_keys.c"), "upt_rule_names[UPT_RULES] = {", "};"))
    schemas = [json.loads(read(f"schemas/uptake.v1.{name}.avsc")) for name in ("AccountHealth", "ChurnAlert")]
    parts = between(read(SCORE + "parts.c"), "names[] = {", "}") + between(read(SCORE + "model.c"), "upt_part_names[UPT_C_COUNT] = {", "}")
    sums = read("aggregate/view/sums.lua")
    leaves = words(between(read(SCORE + "segment_read.c"), "kind_names[KINDS_N] = {", "}"))[4:]
    commands = [name for path in (ROOT / "ingest").glob("cmd_*.c")
                for name in re.findall(r'^    \.name = "([\w-]+)",$', path.read_text(encoding="utf-8"), re.M)]
    return {
        "signal": set(signals),
        "rule": {name for name in known if f"rules.{name}" in rules},
        "component": set(words(parts)),
        "row:": set(re.findall(r'UPT_NAME\(\d+, "([a-z]\w*)"\)', read("aggregate/view/format.c"))),
        "feature row:": {*re.findall(r"'(\w+)'", between(sums, "f = {", "}")), *re.findall(r"share\('(\w+)'", sums)},
        "segment": {*signals, *windows, *re.findall(r'(?:\{|DAILY\()"(\w+)"', field), *leaves},
        "record:": set(fields(schemas)),
        "key:": set(rules),
        "command": set(commands),
    }


def block(path: str, name: str) -> str | None:
    """A test's text; None: there is none of that name."""
    text = read(path)
    if path.endswith(".txt"):
        found = re.search(rf"^scenario {re.escape(name)}\n(.*?)(?=^scenario |\Z)", text, re.M | re.S)
    elif path.endswith(".py"):
        found = re.search(rf"^    def {re.escape(name)}\(self.*?(?=^    def |^class |\Z)", text, re.M | re.S)
    else:
        run = re.search(rf"cmocka_unit_test\({re.escape(name)}\)", text)
        found = re.search(rf"^{re.escape(name)}\(void \*\*state\)\n.*?^}}", text, re.M | re.S) if run else None
    return found[0] if found else None


def error(known: dict[str, set[str]], home: str, test: str) -> str | None:
    if home.startswith("- "):
        return "a reason is missing" if len(home) < 20 else "no home, but a test" if test else None
    kind, _, name = home.rpartition(" ")
    if kind not in known:
        return f"allowed: {', '.join(known)}, -"
    if name not in known[kind]:
        return f"no {kind} {name}"
    path, _, title = test.partition(": ")
    if not (ROOT / path).is_file():
        return f"no file {path}"
    text = block(path, title)
    if text is None:
        return f"{path} has no test: {title}"
    said = re.search(rf"\b{name}\b", text) is not None
    return f"{title} says nothing of {name}" if kind in ("signal", "rule") and not said else None


def main() -> int:
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in read(SCORE + "SIGNALS.md").splitlines()
        if re.match(r"\| \d", line)
    ]
    known = tables()
    errors = [f"no table of {kind} found" for kind, names in known.items() if not names]
    if [row[0] for row in rows] != [str(n) for n in range(1, COUNT + 1)]:
        errors.append(f"allowed: the numbers 1 to {COUNT}, each once and in order")
    for row in rows:
        if len(row) != 4 or not row[1]:
            errors.append(f"{row[0]}: allowed: four columns")
            continue
        said = error(known, row[2], row[3])
        if said is not None:
            errors.append(f"{row[0]} {row[1]}: {said}")
    if sorted(known["signal"]) != sorted(defined()):
        errors.append(f"README.md defines others than there are: {known['signal'] ^ set(defined())}")
    for said in errors:
        print(f"{SCORE}SIGNALS.md: {said}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
