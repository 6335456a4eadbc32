"""Writes the fuzzers' seeds: decode_schemas.json (the writer schemas that fuzz_decode picks from) and corpus/.

    make_corpus.py [FOLDER]     needs fastavro; FOLDER defaults to this one

A seed of fuzz_decode is one byte (which schema), one byte (limits, 0: the contract's) and the record. A seed of
fuzz_schema is a schema, a NUL and a record. Deterministic: the same files each time.
"""

import copy
import io
import json
import pathlib
import sys

import fastavro

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def own(name):
    return json.loads((ROOT / "schemas" / f"uptake.v1.{name}.avsc").read_text())


def plain(node):
    """Without documentation and logical types: the fuzzer has no use for them."""
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k not in ("doc", "logicalType")}
    return [plain(item) for item in node] if isinstance(node, list) else node


def event(*fields):
    return {"type": "record", "name": "uptake.v1.UsageEvent", "fields": [{"name": n, "type": t} for n, t in fields]}


NEEDED = (("account_id", "string"), ("occurred_at", "long"))
NODE = {"type": "record", "name": "Node", "fields": [
    {"name": "v", "type": "int"},
    {"name": "next", "type": ["null", "Node"]},
    {"name": "all", "type": {"type": "map", "values": {"type": "array", "items": "Node"}}},
]}  # fmt: skip
KIND = {"type": "enum", "name": "Kind", "symbols": ["LOGIN", "NEW", "USAGE"]}


def writers():
    """Each schema with records of it."""
    full = {
        "event_id": "e-1", "occurred_at": 1767225600000, "account_id": "acme", "user_id": "u", "kind": "USAGE",
        "feature": "reports.export", "quantity": 2.5, "duration_ms": 17, "properties": {"plan": "pro", "é": "東京"},
    }  # fmt: skip
    bare = {"account_id": "acme", "occurred_at": -1}
    extra = plain(own("UsageEvent"))
    extra["fields"][3:3] = [{"name": "node", "type": NODE}, {"name": "raw", "type": ["boolean", "bytes", "float"]}]
    node = {"v": -3, "next": {"v": 1, "next": None, "all": {}}, "all": {"k": [{"v": 2, "next": None, "all": {}}]}}
    yield plain(own("UsageEvent")), [full, dict(full, user_id=None, feature=None, duration_ms=None, properties={})]
    yield plain(own("UsageBatch")), [{"events": [full, full]}, {"events": []}]
    yield extra, [dict(full, node=node, raw=b"\x00\xff"), dict(full, node=node, raw=True)]
    yield event(*NEEDED), [bare]
    yield event(
        ("quantity", ["null", "int", "float"]), ("occurred_at", "int"), ("account_id", "bytes"), ("kind", KIND),
        ("duration_ms", ["int", "null"]), ("properties", {"type": "map", "values": ["null", "string", "bytes"]}),
    ), [
        {"quantity": 3, "occurred_at": 5, "account_id": b"acme", "kind": "NEW", "duration_ms": None,
         "properties": {"a": "b", "c": b"d"}},
    ]  # fmt: skip
    yield event(
        *NEEDED, ("z", {"type": "array", "items": "null"}),
        ("y", {"type": "array", "items": {"type": "record", "name": "E", "fields": []}}),
        ("x", {"type": "fixed", "name": "F", "size": 3}), ("b", {"type": "map", "values": "F"}),
    ), [dict(bare, z=[None, None], y=[{}], x=b"xyz", b={"k": b"abc"})]  # fmt: skip
    item = copy.deepcopy(event(*NEEDED, ("user_id", ["string", "null"])))
    item["name"] = "some.where.UsageEvent"
    yield {"type": "record", "name": "uptake.v1.UsageBatch", "fields": [
        {"name": "events", "type": ["null", {"type": "array", "items": ["null", item]}]},
        {"name": "sdk", "type": "string"},
    ]}, [{"events": [dict(bare, user_id="u"), dict(bare, user_id=None)], "sdk": "c"}]  # fmt: skip
    yield event(*NEEDED, ("r", {"type": "record", "name": "Endless", "fields": [{"name": "r", "type": "Endless"}]})), []
    longer = plain(own("UsageEvent"))
    longer["fields"] += [{"name": "node", "type": NODE}, {"name": "more", "type": "string"}]
    yield longer, [dict(full, node=node, more="é" * 40), dict(full, event_id="e" * 36, user_id=None, node=node, more="")]


def encode(schema, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), record)
    return out.getvalue()


def main(folder):
    schemas = []
    for kind in ("decode", "schema"):
        (folder / "corpus" / kind).mkdir(parents=True, exist_ok=True)
    for number, (schema, records) in enumerate(writers()):
        schemas.append(schema)
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode()
        for n, data in enumerate([encode(schema, record) for record in records] or [b"\x02a\x02"]):
            (folder / "corpus" / "decode" / f"{number}-{n}").write_bytes(bytes([number, 0]) + data)
            (folder / "corpus" / "schema" / f"{number}-{n}").write_bytes(text + b"\0" + data)
    (folder / "decode_schemas.json").write_text(json.dumps(schemas, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
