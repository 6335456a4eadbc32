#!/usr/bin/env python3
"""House rules that neither the compiler nor clang-format checks. Prints FILE:LINE: what, exits 1 if there is anything.

    check_style.py [PATH ...]     files or folders; without one, the whole repository
"""

import bisect
import os
import re
import sys

FUNCTION_LINES = 70
FILE_LINES = 1000
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".venv", "node_modules"}
TEXT_FILES = (".c", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".yaml", ".yml", ".avsc", ".html", ".js",
              ".css", ".service", ".conf", ".rules", ".in")
TEXT_NAMES = {"Dockerfile", "Makefile", "run"}

BANNED = {
    "strcpy": "no bound; memcpy with a length, or snprintf",
    "strcat": "no bound; struct upt_buf, or snprintf",
    "sprintf": "no bound; snprintf",
    "vsprintf": "no bound; vsnprintf",
    "gets": "no bound; fgets",
    "strtok": "static state; strtok_r",
    "atoi": "no errors; strtol",
    "atol": "no errors; strtol",
    "atoll": "no errors; strtoll",
    "atof": "no errors; strtod",
    "gmtime": "static buffer; upt_format_time",
    "localtime": "static buffer, and all times are UTC; upt_format_time",
    "__builtin_prefetch": "calls to a function of nothing but these are dropped across files; upt_prefetch_line",
}
PREFETCH_HOME = "aggregate/state/mem.h"
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
# Written in two parts, so that this file passes its own check.
LEFT_OVER = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|home|root|Users)/[\w.-]")
GUARD = re.compile(r"UPT_[A-Z0-9_]+_H$")


def blank(match):
    """The same text with everything but line ends blanked, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """C without comments, strings and characters."""
    tokens = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(tokens, blank, text, flags=re.S)


class Lines:
    """Line numbers of offsets."""

    def __init__(self, text):
        self.ends = [match.start() for match in re.finditer("\n", text)]

    def at(self, offset):
        return bisect.bisect_left(self.ends, offset) + 1


def check_functions(code):
    """A body is what stands between a brace in the first column and the next closing one there."""
    lines = code.split("\n")
    opened = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            opened = number
        elif line.startswith("}") and opened is not None:
            begin = opened - 1
            while begin > 0 and lines[begin - 1].strip():
                begin -= 1
            length = number - begin
            if length > FUNCTION_LINES:
                yield begin + 1, f"a function of {length} lines; {FUNCTION_LINES} are allowed"
            opened = None


def check_guard(path, text, guards):
    match = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", text, flags=re.M)
    if match is None or match.group(1) != match.group(2):
        yield 1, "a header without an include guard"
        return
    line = Lines(text).at(match.start())
    name = match.group(1)
    stem = re.sub(r"\W", "_", os.path.basename(path)[:-2]).upper()
    if not GUARD.match(name) or not name.endswith(f"_{stem}_H"):
        yield line, f"the guard {name}; expected UPT_..._{stem}_H"
    if name in guards:
        yield line, f"the guard {name} is that of {guards[name]} too"
    guards[name] = path


def check_c(path, text, guards):
    code = code_only(text)
    lines = Lines(code)
    yield from check_functions(code)
    for match in BANNED_CALL.finditer(code):
        if match.group(1) == "__builtin_prefetch" and path.endswith(PREFETCH_HOME):
            continue
        yield lines.at(match.start()), f"{match.group(1)}(): {BANNED[match.group(1)]}"
    if not text.startswith("/*"):
        yield 1, "no comment that says what the file is"
    if path.endswith(".h"):
        yield from check_guard(path, text, guards)


def check_file(path, guards):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    count = text.count("\n")
    if count > FILE_LINES and path.endswith((".c", ".h", ".py", ".sh")):
        yield FILE_LINES + 1, f"a file of {count} lines; {FILE_LINES} are allowed"
    lines = Lines(text)
    for match in LEFT_OVER.finditer(text):
        yield lines.at(match.start()), f"left over: {match.group(0)}"
    for match in MACHINE_PATH.finditer(text):
        yield lines.at(match.start()), f"a path of one machine: {match.group(0)}"
    if path.endswith((".c", ".h")):
        yield from check_c(path, text, guards)


def files_under(root):
    if os.path.isfile(root):
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(TEXT_FILES) or name in TEXT_NAMES:
                yield os.path.join(folder, name)


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    roots = arguments or [os.path.dirname(os.path.dirname(here))]
    guards = {}
    found = 0
    for root in roots:
        for path in files_under(root):
            shown = os.path.relpath(path)
            try:
                faults = sorted(check_file(path, guards))
            except UnicodeDecodeError:
                faults = [(1, "not UTF-8")]
            for line, what in faults:
                print(f"{shown}:{line}: {what}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
