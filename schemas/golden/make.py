"""Writes the .bin files: each NAME.N.json here, encoded by fastavro with schemas/NAME.avsc.

Run by hand after an example was added; the tests check that the bytes and the examples still agree.
"""

import io
import json
import pathlib

import fastavro

HERE = pathlib.Path(__file__).resolve().parent


def encode(path: pathlib.Path) -> bytes:
    schema = json.loads((HERE.parent / (path.name.rsplit(".", 2)[0] + ".avsc")).read_text())
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), json.loads(path.read_text()), strict=True)
    return out.getvalue()


if __name__ == "__main__":
    for example in sorted(HERE.glob("*.json")):
        example.with_suffix(".bin").write_bytes(encode(example))
