"""The C decoder against two others, on random writer schemas with values valid and broken.

Oracles: fastavro's schema resolution for what can be read, and the strict decoder of tests/oracle for the reason too
where something cannot. UPTAKE_DECODE_CLI names the decode_cli binary (else it is searched for under build/);
UPTAKE_DIFFERENTIAL_SCHEMAS how many schemas (600), UPTAKE_DIFFERENTIAL_SEED the first seed (1).
"""

import copy
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import unittest

import fastavro

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))

import avro_simple  # noqa: E402

LIMITS = {"bytes": 1 << 16, "events": 6, "depth": 5}
EVENT, BATCH = "uptake.v1.UsageEvent", "uptake.v1.UsageBatch"
PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
KINDS = [
    "USAGE", "LOGIN", "SIGNUP", "USER_REMOVED", "SEATS", "ONBOARDING_STEP", "VALUE", "TRAINING", "TICKET_OPENED",
    "TICKET_CLOSED", "SURVEY", "CONTACT", "PROFILE", "RELEASE", "RENEWED", "CHURNED", "OTHER",
]  # fmt: skip
TEXTS = ["", "a", "b", "acme", "é", "東京🚀", "x" * 31, "y" * 32, "z" * 33, "q" * 70, "\0", "null"]
NUMBERS = [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31)]
LONGS = NUMBERS + [2**31, 2**53 + 1, 2**63 - 1, -(2**63), 1767225600000]
REALS = [0.0, -0.0, 1.5, -2.25, 1e9, 1e300, float("inf"), float("-inf"), float("nan")]


def cli_path():
    named = os.environ.get("UPTAKE_DECODE_CLI")
    if named:
        return named
    found = sorted(ROOT.glob("build/*/tests/unit/avro/decode_cli"), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else None


class Cli:
    def __init__(self, path):
        limits = [str(LIMITS[name]) for name in ("bytes", "events", "depth")]
        self.process = subprocess.Popen([path, *limits], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, letter, data, answer=True):
        self.process.stdin.write(letter + struct.pack("<I", len(data)) + data)
        if not answer:
            return None
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"decode_cli ended with {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


# ---------------------------------------------------------------- random writer schemas


class Schemas:
    def __init__(self, rng):
        self.rng = rng
        self.names = 0

    def name(self):
        self.names += 1
        return f"{self.rng.choice(['', 'n.', 'uptake.v1.'])}T{self.names}"

    def any(self, depth=0):
        """Any type at all, for a field that the reader does not know."""
        rng = self.rng
        if depth > 2 or rng.random() < 0.4:
            return rng.choice(PRIMITIVES)
        pick = rng.randrange(6)
        if pick == 0:
            return {"type": "array", "items": self.any(depth + 1)}
        if pick == 1:
            return {"type": "map", "values": self.any(depth + 1)}
        if pick == 2:
            return {"type": "fixed", "name": self.name(), "size": rng.choice([0, 1, 4, 40])}
        if pick == 3:
            return {"type": "enum", "name": self.name(), "symbols": ["A", "B", "C"][: rng.randint(1, 3)]}
        if pick == 4:
            return self.union([self.any(depth + 1) for _ in range(rng.randint(1, 4))])
        name = self.name()
        fields = [{"name": f"f{i}", "type": self.any(depth + 1)} for i in range(rng.randint(0, 3))]
        if rng.random() < 0.3:
            fields.append({"name": "again", "type": ["null", name if "." in name else name]})
        return {"type": "record", "name": name, "fields": fields}

    def union(self, branches):
        seen, out = set(), []
        for branch in branches:
            for one in branch if isinstance(branch, list) else [branch]:
                key = one if isinstance(one, str) else one.get("name", one["type"])
                if key not in seen:
                    seen.add(key)
                    out.append(one)
        self.rng.shuffle(out)
        return out

    def wanted(self, good, noise):
        """A type that the reader's field can take, alone or in a union with others that it may not."""
        rng = self.rng
        if rng.random() < 0.04:
            return self.any()
        branch = copy.deepcopy(rng.choice(good))
        if rng.random() < 0.5:
            return branch
        return self.union([branch] + [copy.deepcopy(rng.choice(noise)) for _ in range(rng.randint(0, 3))])

    def kind(self):
        rng = self.rng
        symbols = rng.sample(KINDS + ["NEW", "OLD_ONE"], rng.randint(1, 19))
        name = rng.choice(["Kind", "uptake.v1.Kind", "my.Kind", "Kind", "Kind", "Sort"])
        schema = {"type": "enum", "name": name, "symbols": symbols}
        if rng.random() < 0.3:
            schema["default"] = symbols[0]
        return schema

    def event(self, name=EVENT):
        rng = self.rng
        text = ["string", "string", "bytes"]
        optional = text + ["null"]
        noise = ["null", "int", "boolean", "double", "string", "bytes", {"type": "array", "items": "string"}]
        whole = ["int", "long", "long"]
        values = [["null", "string"], ["string", "bytes"], ["int", "string"], "string", "string", "bytes"]
        maps = [{"type": "map", "values": v} for v in values]
        fields = [
            ("event_id", self.wanted(text, noise)),
            ("occurred_at", self.wanted(whole, ["null", "string", "float"])),
            ("account_id", self.wanted(text, noise)),
            ("user_id", self.wanted(optional, noise)),
            ("kind", self.wanted([self.kind()], ["null", "string", "int"])),
            ("feature", self.wanted(optional, noise)),
            ("quantity", self.wanted(whole + ["float", "double", "double"], ["null", "string"])),
            ("duration_ms", self.wanted(whole + ["null"], noise)),
            ("properties", self.wanted(maps, ["null", "string"])),
        ]
        needed = ("occurred_at", "account_id")
        fields = [f for f in fields if rng.random() < (0.99 if f[0] in needed else 0.8)]
        fields += [(f"extra{i}", self.any()) for i in range(rng.choice([0, 0, 1, 2, 3]))]
        if rng.random() < 0.7:
            rng.shuffle(fields)
        return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}

    def batch(self):
        rng = self.rng
        item = self.event(rng.choice([EVENT, "UsageEvent", "other.UsageEvent"]))
        if rng.random() < 0.2:
            item = self.union([item, "null"])
        events = {"type": "array", "items": item}
        if rng.random() < 0.2:
            events = self.union([events, "null"])
        fields = [{"name": "events", "type": events}]
        fields += [{"name": f"extra{i}", "type": self.any()} for i in range(rng.choice([0, 0, 1]))]
        rng.shuffle(fields)
        return {"type": "record", "name": BATCH, "fields": fields}


# ---------------------------------------------------------------- random values, written by hand


class Values:
    """Encodes random values. Strings as Avro says, blocks in every form that it allows."""

    def __init__(self, rng, schema):
        self.rng = rng
        self.names = {}
        self.collect(schema, "")

    def collect(self, schema, space):
        if isinstance(schema, list):
            for branch in schema:
                self.collect(branch, space)
        elif isinstance(schema, dict):
            if "name" in schema and "type" in schema:
                name = schema["name"]
                full = name if "." in name or not space else f"{space}.{name}"
                schema["full"] = full
                self.names[full] = schema
                space = full.rpartition(".")[0]
            for key in ("items", "values"):
                if key in schema:
                    self.collect(schema[key], space)
            for field in schema.get("fields", []):
                self.collect(field["type"], space)

    @staticmethod
    def long(n):
        n = (n << 1) ^ (n >> 63)
        n &= 2**64 - 1
        out = bytearray()
        while n > 0x7F:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        out.append(n)
        return bytes(out)

    def text(self):
        raw = self.rng.choice(TEXTS).encode()
        return self.long(len(raw)) + raw

    def blocks(self, item, most):
        rng, out = self.rng, b""
        for _ in range(rng.choice([0, 1, 1, 2])):
            items = [item() for _ in range(rng.randint(1, most))]
            if rng.random() < 0.3:
                body = b"".join(items)
                out += self.long(-len(items)) + self.long(len(body)) + body
            else:
                out += self.long(len(items)) + b"".join(items)
        return out + b"\0"

    def encode(self, schema, space="", depth=0):
        rng = self.rng
        if isinstance(schema, list):
            index = rng.randrange(len(schema))
            if depth > 6 and "null" in schema:
                index = schema.index("null")
            return self.long(index) + self.encode(schema[index], space, depth)
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "null":
            return b""
        if kind == "boolean":
            return rng.choice([b"\0", b"\1"])
        if kind == "int":
            return self.long(rng.choice(NUMBERS))
        if kind == "long":
            return self.long(rng.choice(LONGS))
        if kind == "float":
            return struct.pack("<f", rng.choice([0.0, -1.5, 0.1, float("inf")]))
        if kind == "double":
            return struct.pack("<d", rng.choice(REALS))
        if kind in ("string", "bytes"):
            return self.text()
        if kind == "fixed":
            return bytes(rng.randrange(256) for _ in range(schema["size"]))
        if kind == "enum":
            return self.long(rng.randrange(len(schema["symbols"])))
        if kind == "array":
            return self.blocks(lambda: self.encode(schema["items"], space, depth + 1), 3)
        if kind == "map":
            return self.blocks(lambda: self.text() + self.encode(schema["values"], space, depth + 1), 3)
        if kind == "record":
            inner = schema["full"].rpartition(".")[0]
            return b"".join(self.encode(f["type"], inner, depth + 1) for f in schema["fields"])
        full = kind if "." in kind or not space else f"{space}.{kind}"
        return self.encode(self.names[full], space, depth)


def broken(rng, data):
    """The same bytes with something wrong, or not."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        pick = rng.randrange(5)
        at = rng.randrange(len(out) + 1)
        if pick == 0:
            del out[at:]
        elif pick == 1:
            out[at:at] = bytes([rng.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0xC3])])
        elif pick == 2 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif pick == 3 and out:
            del out[at % len(out)]
        else:
            out[at:at] = rng.choice([b"\xff" * 9 + b"\x01", b"\x80" * 10, b"\xff\xff\xff\xff\x0f", b"\xed\xa0\x80"])
    return bytes(out)


# ---------------------------------------------------------------- oracles


def without_logical_types(node):
    if isinstance(node, dict):
        return {k: without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    if isinstance(node, list):
        return [without_logical_types(item) for item in node]
    return node


def bits(value):
    return struct.pack(">d", value).hex()


def shown(event):
    """An oracle's event as decode_cli shows it. NaN: any."""
    out = {name: event[name] for name in ("event_id", "account_id", "feature", "kind", "occurred_at", "duration_ms")}
    out["user_id"] = event["user_id"] or None
    out["quantity"] = "nan" if event["quantity"] != event["quantity"] else bits(float(event["quantity"]))
    out["properties"] = dict(event["properties"])
    return out


def shown_cli(event):
    out = dict(event)
    number = struct.unpack(">d", bytes.fromhex(event["quantity"]))[0]
    out["quantity"] = "nan" if number != number else event["quantity"]
    out["properties"] = dict(event["properties"])
    return out


class Oracles:
    def __init__(self):
        self.json, self.strict, self.fast = {}, {}, {}
        for name in (EVENT, BATCH):
            text = (ROOT / "schemas" / f"{name}.avsc").read_text()
            self.strict[name] = avro_simple.parse_schema(text)
            self.fast[name] = fastavro.parse_schema(without_logical_types(json.loads(text)))
        self.strict[BATCH].fields[0].schema.limited = True

    def plan(self, text):
        try:
            writer = avro_simple.parse_schema(text)
            if writer.type != "record" or writer.fullname not in self.strict:
                return None
            return avro_simple.resolver(writer, self.strict[writer.fullname])
        except avro_simple.BadSchema:
            return None

    def verdict(self, plan, data):
        """The reason, or the value."""
        try:
            value = avro_simple.decode(data, plan, 0, LIMITS["depth"], LIMITS["events"])
        except avro_simple.TooLarge:
            return "too_large", None
        except avro_simple.BadAvro:
            return "bad_avro", None
        return "none", value

    def fastavro(self, writer, name, data):
        return fastavro.schemaless_reader(io.BytesIO(data), writer, self.fast[name])


def events_of(value):
    return value["events"] if "events" in value else [value]


@unittest.skipUnless(cli_path(), "decode_cli is not built")
class DifferentialTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.oracles = Oracles()
        cls.cli = Cli(cli_path())

    @classmethod
    def tearDownClass(cls):
        if cls.cli.close() != 0:
            raise AssertionError("decode_cli failed")

    def test_random_schemas(self):
        seed = int(os.environ.get("UPTAKE_DIFFERENTIAL_SEED", "1"))
        counts = {}
        for n in range(int(os.environ.get("UPTAKE_DIFFERENTIAL_SCHEMAS", "600"))):
            with self.subTest(seed=seed + n):
                self.one_schema(random.Random(seed + n), counts)
        for reason in ("none", "bad_avro", "too_large", "bad_schema", "bad_account_id"):
            self.assertGreater(counts.get(reason, 0), 20, f"{reason} was hardly tried: {counts}")

    def one_schema(self, rng, counts):
        schemas = Schemas(rng)
        schema = schemas.batch() if rng.random() < 0.4 else schemas.event()
        text = json.dumps(schema)
        plan = self.oracles.plan(text)
        answer = self.cli.send(b"S", text.encode())
        self.assertEqual(answer["schema"], "bad" if plan is None else "good", f"{answer}\n{text}")
        if plan is None:
            counts["bad_schema"] = counts.get("bad_schema", 0) + 1
            return
        name = schema["name"]
        writer = fastavro.parse_schema(json.loads(text))
        values = Values(rng, schema)
        for _ in range(12):
            data = values.encode(schema)
            for record in (data, broken(rng, data)):
                reason = self.one_record(plan, writer, name, record, text)
                counts[reason] = counts.get(reason, 0) + 1

    def one_record(self, plan, writer, name, record, text):
        expected, value = self.oracles.verdict(plan, record)
        events = events_of(value) if expected == "none" else []
        accounts = {event["account_id"] for event in events}
        key = min(accounts) if accounts else "a"
        if len(accounts) > 1:
            expected = "bad_account_id"
        self.cli.send(b"K", key.encode(), answer=False)
        answer = self.cli.send(b"R", record)
        where = f"{answer}\n{value}\n{record.hex()}\n{text}"
        self.assertEqual(answer["reason"], expected, where)
        if expected == "none":
            self.assertEqual([shown_cli(e) for e in answer["events"]], [shown(e) for e in events], where)
            # The decoder and the strict oracle were written to one contract; fastavro knows only Avro.
            theirs = events_of(self.oracles.fastavro(writer, name, record))
            self.assertEqual([shown_cli(e) for e in answer["events"]], [shown(e) for e in theirs], where)
        return expected


if __name__ == "__main__":
    unittest.main()
