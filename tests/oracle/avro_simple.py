"""A small, strict Avro decoder with schema resolution by name.

parse_schema(text, …)     -> Schema                  (BadSchema)
resolver(writer, reader)  -> function(Cursor, depth) (BadSchema)
decode(data, function, …) -> value                   (BadAvro, TooLarge)

A resolver is a plain function that reads one value of the writer's schema from
the cursor and returns it in the shape of the reader's schema. `depth` is the
number of records, arrays and maps around the value that is about to be read.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Optional

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED = ("record", "error", "enum", "fixed")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

# reader type -> writer types that may be promoted to it (itself included)
PROMOTIONS = {
    "null": ("null",),
    "boolean": ("boolean",),
    "int": ("int",),
    "long": ("long", "int"),
    "float": ("float", "int", "long"),
    "double": ("double", "int", "long", "float"),
    "bytes": ("bytes", "string"),
    "string": ("string", "bytes"),
}


class BadSchema(Exception):
    """The schema cannot be parsed or never can be resolved."""


class BadAvro(Exception):
    """The data do not fit the schema."""


class TooLarge(Exception):
    """A limit on depth or on the number of array items was met."""


# ---------------------------------------------------------------- schemas


@dataclass
class Field:
    name: str
    schema: "Schema"
    has_default: bool
    default: Any


@dataclass(eq=False)
class Schema:
    """`type` is a primitive's name, record, enum, fixed, array, map or union."""

    type: str
    fullname: str = ""
    fields: list[Field] = field(default_factory=list)  # record
    symbols: list[str] = field(default_factory=list)  # enum
    default: Optional[str] = None  # enum
    size: int = 0  # fixed
    items: Optional["Schema"] = None  # array, map (its values)
    branches: list["Schema"] = field(default_factory=list)  # union
    limited: bool = False  # array in a reader's schema: its items are bounded

    @property
    def name(self) -> str:
        return self.fullname.rpartition(".")[2]


class Names(dict[str, Schema]):
    """Named schemas by full name; of those that only other texts define, each from its first use on."""

    def __init__(self, others: Iterable[Any]) -> None:
        super().__init__()
        self.others: dict[str, tuple[Any, str]] = {}  # definition and the namespace around it
        for other in others:
            self._gather(other, "")

    def __missing__(self, full: str) -> Schema:
        if full not in self.others:
            raise BadSchema(f"unknown type {full}")
        return _parse(*self.others[full], self)

    def _gather(self, node: Any, namespace: str) -> None:
        if isinstance(node, list):
            for branch in node:
                self._gather(branch, namespace)
        if not isinstance(node, dict):
            return
        if node.get("type") in NAMED:
            full = _full_name(node, namespace)
            self.others.setdefault(full, (node, namespace))
            namespace = full.rpartition(".")[0]
        for inner in (node, *node.get("fields", ())):
            for key in ("type", "items", "values"):
                self._gather(inner.get(key), namespace)


def parse_schema(text: str, others: Iterable[str] = ()) -> Schema:
    """Others: the texts of the schemas that it refers to, directly or not."""
    try:
        return _parse(json.loads(text), "", Names(json.loads(other) for other in others))
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"not JSON: {error}") from None


def _parse(node: Any, namespace: str, names: Names) -> Schema:
    if isinstance(node, str):
        return _parse_name(node, namespace, names)
    if isinstance(node, list):
        return _parse_union(node, namespace, names)
    if not isinstance(node, dict) or not isinstance(node.get("type"), str):
        raise BadSchema("a schema is a name, a list or an object with a type")
    kind = node["type"]
    if kind in NAMED and names.others and _full_name(node, namespace) in names:
        return names[_full_name(node, namespace)]  # it came with another's definition
    if kind in ("record", "error"):
        return _parse_record(node, namespace, names)
    if kind == "enum":
        return _parse_enum(node, namespace, names)
    if kind == "fixed":
        return _parse_fixed(node, namespace, names)
    if kind == "array":
        return Schema("array", items=_parse(_need(node, "items"), namespace, names))
    if kind == "map":
        return Schema("map", items=_parse(_need(node, "values"), namespace, names))
    return _parse_name(kind, namespace, names)


def _parse_name(name: str, namespace: str, names: Names) -> Schema:
    if name in PRIMITIVES:
        return Schema(name)
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    return names[full]


def _parse_union(node: list, namespace: str, names: Names) -> Schema:
    branches = [_parse(branch, namespace, names) for branch in node]
    kinds = [branch.fullname or branch.type for branch in branches]
    if "union" in kinds or len(set(kinds)) != len(kinds):
        raise BadSchema("a union holds a union, or a type twice")
    return Schema("union", branches=branches)


def _parse_record(node: dict, namespace: str, names: Names) -> Schema:
    schema = _named("record", node, namespace, names)
    inner = schema.fullname.rpartition(".")[0]
    for entry in _need_list(node, "fields"):
        if not isinstance(entry, dict) or not _is_name(entry.get("name")):
            raise BadSchema("a field without a valid name")
        if entry["name"] in [f.name for f in schema.fields]:
            raise BadSchema(f"field {entry['name']} twice")
        kind = _parse(_need(entry, "type"), inner, names)
        schema.fields.append(Field(entry["name"], kind, "default" in entry, entry.get("default")))
    return schema


def _parse_enum(node: dict, namespace: str, names: Names) -> Schema:
    schema = _named("enum", node, namespace, names)
    schema.symbols = _need_list(node, "symbols")
    schema.default = node.get("default")
    if not all(_is_name(s) for s in schema.symbols) or len(set(schema.symbols)) != len(schema.symbols):
        raise BadSchema("enum symbols not valid or not unique")
    return schema


def _parse_fixed(node: dict, namespace: str, names: Names) -> Schema:
    schema = _named("fixed", node, namespace, names)
    size = node.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadSchema("fixed without a size")
    schema.size = size
    return schema


def _named(kind: str, node: dict, namespace: str, names: Names) -> Schema:
    """A new named schema, known under its full name from here on."""
    name = _full_name(node, namespace)
    if not all(_is_name(part) for part in name.split(".")) or name in names:
        raise BadSchema(f"name {name} not valid or defined twice")
    names[name] = Schema(kind, fullname=name)
    return names[name]


def _full_name(node: dict, namespace: str) -> str:
    name, space = node.get("name"), node.get("namespace", namespace)
    if not isinstance(name, str):
        raise BadSchema(f"{node['type']} without a name")
    if not isinstance(space, str):
        raise BadSchema("namespace is no string")
    return name if "." in name or not space else f"{space}.{name}"


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and NAME.match(value) is not None


def _need(node: dict, key: str) -> Any:
    if key not in node:
        raise BadSchema(f"{key} is missing")
    return node[key]


def _need_list(node: dict, key: str) -> list:
    if not isinstance(node.get(key), list):
        raise BadSchema(f"{key} is no list")
    return list(node[key])


# ---------------------------------------------------------------- reading


class Cursor:
    """The bytes of one value and the place in them."""

    def __init__(self, data: bytes, pos: int = 0, max_depth: int = 32, max_items: int = 10_000) -> None:
        self.data = data
        self.pos = pos
        self.max_depth = max_depth
        self.max_items = max_items

    def take(self, length: int) -> bytes:
        if length < 0 or length > len(self.data) - self.pos:
            raise BadAvro(f"length {length} does not fit")
        start = self.pos
        self.pos = start + length
        return self.data[start : self.pos]

    def long(self) -> int:
        """Zig-zag varint, at most ten bytes and 64 bits."""
        data, pos = self.data, self.pos
        raw = shift = 0
        while True:
            if pos >= len(data):
                raise BadAvro("truncated")
            byte = data[pos]
            pos += 1
            raw |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise BadAvro("varint too long")
        if raw >> 64:
            raise BadAvro("varint too large")
        self.pos = pos
        return (raw >> 1) ^ -(raw & 1)

    def int(self) -> int:
        value = self.long()
        if not -(2**31) <= value < 2**31:
            raise BadAvro("int out of range")
        return value

    def index(self, count: int) -> int:
        """An enum's or a union's index."""
        value = self.long()
        if not 0 <= value < count:
            raise BadAvro(f"index {value} of {count}")
        return value

    def boolean(self) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise BadAvro("boolean neither 0 nor 1")
        return byte == 1

    def float(self) -> float:
        return struct.unpack("<f", self.take(4))[0]

    def double(self) -> float:
        return struct.unpack("<d", self.take(8))[0]

    def bytes(self) -> bytes:
        return self.take(self.long())

    def string(self) -> str:
        try:
            return self.take(self.long()).decode("utf-8")
        except UnicodeDecodeError:
            raise BadAvro("string is not UTF-8") from None

    def enter(self, depth: int) -> int:
        """The depth of the values in a record, array or map that has `depth` around it."""
        if depth >= self.max_depth:
            raise TooLarge(f"deeper than {self.max_depth}")
        return depth + 1


Read = Callable[[Cursor, int], Any]

READ_PRIMITIVE: dict[str, Read] = {
    "null": lambda cursor, depth: None,
    "boolean": lambda cursor, depth: cursor.boolean(),
    "int": lambda cursor, depth: cursor.int(),
    "long": lambda cursor, depth: cursor.long(),
    "float": lambda cursor, depth: cursor.float(),
    "double": lambda cursor, depth: cursor.double(),
    "bytes": lambda cursor, depth: cursor.bytes(),
    "string": lambda cursor, depth: cursor.string(),
}


def decode(data: bytes, read: Read, pos: int = 0, max_depth: int = 32, max_items: int = 10_000) -> Any:
    """The value that fills `data` from `pos` to its end."""
    cursor = Cursor(data, pos, max_depth, max_items)
    value = read(cursor, 0)
    if cursor.pos != len(data):
        raise BadAvro(f"{len(data) - cursor.pos} bytes left over")
    return value


def _read_blocks(
    cursor: Cursor, depth: int, read_item: Callable[[int], None], empty_items: bool, limited: bool
) -> None:
    """The blocks of an array or map; a negative count is followed by the block's size in bytes."""
    inner = cursor.enter(depth)
    total = 0
    while True:
        count = cursor.long()
        if count == 0:
            return
        total += abs(count)
        if limited and total > cursor.max_items:
            raise TooLarge(f"more than {cursor.max_items} items")
        end = _block_end(cursor) if count < 0 else None
        # Items that take no bytes are all alike: one stands for any number of them.
        for _ in range(1 if empty_items else abs(count)):
            read_item(inner)
        if end is not None and cursor.pos != end:
            raise BadAvro("block size does not fit its items")


def _block_end(cursor: Cursor) -> int:
    size = cursor.long()
    if size < 0 or size > len(cursor.data) - cursor.pos:
        raise BadAvro("block size does not fit")
    return cursor.pos + size


# ---------------------------------------------------------------- skipping


def skipper(writer: Schema, known: Optional[dict[int, Read]] = None) -> Read:
    """Reads a value that the reader does not want, as strictly as one that it wants."""
    known = {} if known is None else known
    if id(writer) in known:
        return lambda cursor, depth: known[id(writer)](cursor, depth)  # recursive schema
    if writer.type in READ_PRIMITIVE:
        return READ_PRIMITIVE[writer.type]
    known[id(writer)] = _unfinished
    known[id(writer)] = _SKIP[writer.type](writer, known)
    return known[id(writer)]


def _unfinished(cursor: Cursor, depth: int) -> None:
    raise AssertionError("skipper used before it was built")


def _skip_record(writer: Schema, known: dict[int, Read]) -> Read:
    parts = [skipper(f.schema, known) for f in writer.fields]

    def read(cursor: Cursor, depth: int) -> None:
        inner = cursor.enter(depth)
        for part in parts:
            part(cursor, inner)

    return read


def _skip_enum(writer: Schema, known: dict[int, Read]) -> Read:
    return lambda cursor, depth: cursor.index(len(writer.symbols))


def _skip_fixed(writer: Schema, known: dict[int, Read]) -> Read:
    return lambda cursor, depth: cursor.take(writer.size)


def _skip_array(writer: Schema, known: dict[int, Read]) -> Read:
    item = skipper(writer.items, known)
    empty = takes_no_bytes(writer.items)
    return lambda cursor, depth: _read_blocks(cursor, depth, lambda inner: item(cursor, inner), empty, False)


def _skip_map(writer: Schema, known: dict[int, Read]) -> Read:
    item = skipper(writer.items, known)

    def read(cursor: Cursor, depth: int) -> None:
        def entry(inner: int) -> None:
            cursor.string()
            item(cursor, inner)

        _read_blocks(cursor, depth, entry, False, False)

    return read


def _skip_union(writer: Schema, known: dict[int, Read]) -> Read:
    branches = [skipper(b, known) for b in writer.branches]
    return lambda cursor, depth: branches[cursor.index(len(branches))](cursor, depth)


_SKIP = {
    "record": _skip_record,
    "enum": _skip_enum,
    "fixed": _skip_fixed,
    "array": _skip_array,
    "map": _skip_map,
    "union": _skip_union,
}


def takes_no_bytes(schema: Schema, above: tuple[Schema, ...] = ()) -> bool:
    """True for null, fixed of size 0 and records of nothing but these (or of themselves)."""
    if schema.type == "record":
        return all(f.schema in above or takes_no_bytes(f.schema, above + (schema,)) for f in schema.fields)
    return schema.type == "null" or (schema.type == "fixed" and schema.size == 0)


# ---------------------------------------------------------------- resolution


def resolver(writer: Schema, reader: Schema) -> Read:
    """BadSchema if no data of the writer's schema could be read as the reader's."""
    if writer.type == "union":
        return _resolve_writer_union(writer, reader)
    if reader.type == "union":
        return _first_branch(writer, reader)
    if reader.type in PROMOTIONS and writer.type in PROMOTIONS[reader.type]:
        return _promoted(writer.type, reader.type)
    if writer.type != reader.type:
        raise BadSchema(f"{writer.type} cannot be read as {reader.type}")
    return _RESOLVE[reader.type](writer, reader)


def _resolve_writer_union(writer: Schema, reader: Schema) -> Read:
    branches = [_resolver_or_none(b, reader) for b in writer.branches]
    if not any(branches):
        raise BadSchema("no branch of the writer's union can be read")

    def read(cursor: Cursor, depth: int) -> Any:
        branch = branches[cursor.index(len(branches))]
        if branch is None:
            raise BadAvro("a union branch that the reader does not have")
        return branch(cursor, depth)

    return read


def _first_branch(writer: Schema, reader: Schema) -> Read:
    for branch in reader.branches:
        read = _resolver_or_none(writer, branch)
        if read is not None:
            return read
    raise BadSchema("no branch of the reader's union can take the writer's type")


def _resolver_or_none(writer: Schema, reader: Schema) -> Optional[Read]:
    try:
        return resolver(writer, reader)
    except BadSchema:
        return None


def _promoted(writer: str, reader: str) -> Read:
    if reader == "string":
        return READ_PRIMITIVE["string"]  # bytes and string are encoded alike
    if writer == "string":
        return lambda cursor, depth: cursor.string().encode("utf-8")
    read = READ_PRIMITIVE[writer]
    if writer == reader or reader == "long":
        return read
    if reader == "float":
        return lambda cursor, depth: _to_float32(read(cursor, depth))
    return lambda cursor, depth: float(read(cursor, depth))


def _to_float32(value: int) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


def _same_name(writer: Schema, reader: Schema) -> None:
    if writer.name != reader.name:
        raise BadSchema(f"{writer.fullname} is not {reader.fullname}")


def _resolve_record(writer: Schema, reader: Schema) -> Read:
    _same_name(writer, reader)
    wanted = {f.name: f.schema for f in reader.fields}
    written = {f.name for f in writer.fields}
    missing = [f for f in reader.fields if f.name not in written]
    if not all(f.has_default for f in missing):
        raise BadSchema("a field without default is missing")
    defaults = {f.name: f.default for f in missing}
    parts = [
        (f.name, resolver(f.schema, wanted[f.name])) if f.name in wanted else (None, skipper(f.schema))
        for f in writer.fields
    ]

    def read(cursor: Cursor, depth: int) -> dict:
        inner = cursor.enter(depth)
        value = dict(defaults)
        for name, part in parts:
            if name is None:
                part(cursor, inner)
            else:
                value[name] = part(cursor, inner)
        return value

    return read


def _resolve_enum(writer: Schema, reader: Schema) -> Read:
    _same_name(writer, reader)
    symbols = [s if s in reader.symbols else reader.default for s in writer.symbols]
    if not any(symbols):
        raise BadSchema("no symbol of the writer's enum can be read")

    def read(cursor: Cursor, depth: int) -> str:
        symbol = symbols[cursor.index(len(symbols))]
        if symbol is None:
            raise BadAvro("an enum symbol that the reader does not have")
        return symbol

    return read


def _resolve_fixed(writer: Schema, reader: Schema) -> Read:
    _same_name(writer, reader)
    if writer.size != reader.size:
        raise BadSchema("fixed of another size")
    return lambda cursor, depth: cursor.take(writer.size)


def _resolve_array(writer: Schema, reader: Schema) -> Read:
    item = resolver(writer.items, reader.items)

    def read(cursor: Cursor, depth: int) -> list:
        values: list = []
        _read_blocks(cursor, depth, lambda inner: values.append(item(cursor, inner)), False, reader.limited)
        return values

    return read


def _resolve_map(writer: Schema, reader: Schema) -> Read:
    item = resolver(writer.items, reader.items)

    def read(cursor: Cursor, depth: int) -> dict:
        values: dict = {}

        def entry(inner: int) -> None:
            key = cursor.string()
            values[key] = item(cursor, inner)

        _read_blocks(cursor, depth, entry, False, False)
        return values

    return read


_RESOLVE = {
    "record": _resolve_record,
    "enum": _resolve_enum,
    "fixed": _resolve_fixed,
    "array": _resolve_array,
    "map": _resolve_map,
}
