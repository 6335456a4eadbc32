"""The schemas and their golden examples, asked of fastavro: valid, readable by each other's rules, byte for byte."""

import io
import json
import pathlib
import unittest

import fastavro

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
GOLDEN = SCHEMAS / "golden"


def load(name):
    return fastavro.parse_schema(json.loads((SCHEMAS / f"{name}.avsc").read_text()))


class SchemasTest(unittest.TestCase):
    def test_every_schema_parses_and_has_examples(self):
        names = sorted(path.stem for path in SCHEMAS.glob("*.avsc"))
        self.assertGreaterEqual(len(names), 4)
        for name in names:
            with self.subTest(name):
                self.assertEqual(load(name)["name"].rpartition(".")[2], name.split(".")[2])
                self.assertTrue(list(GOLDEN.glob(f"{name}.*.json")))

    def test_examples_encode_to_the_golden_bytes(self):
        for path in sorted(GOLDEN.glob("*.json")):
            with self.subTest(path.name):
                out = io.BytesIO()
                record = json.loads(path.read_text())
                fastavro.schemaless_writer(out, load(path.name.rsplit(".", 2)[0]), record, strict=True)
                self.assertEqual(out.getvalue(), path.with_suffix(".bin").read_bytes())

    def test_golden_bytes_decode_to_the_examples(self):
        for path in sorted(GOLDEN.glob("*.bin")):
            with self.subTest(path.name):
                schema = load(path.name.rsplit(".", 2)[0])
                source = io.BytesIO(path.read_bytes())
                record = fastavro.schemaless_reader(source, schema, None)
                self.assertEqual(source.read(), b"")
                self.assertEqual(plain(record), json.loads(path.with_suffix(".json").read_text()))

    def test_batches_hold_the_event_schema(self):
        """A batch's items are the event's schema to the letter: one cannot change without the other."""
        event = json.loads((SCHEMAS / "uptake.v1.UsageEvent.avsc").read_text())
        batch = json.loads((SCHEMAS / "uptake.v1.UsageBatch.avsc").read_text())
        self.assertEqual(batch["fields"][0]["type"]["items"], event)


def plain(value):
    """timestamp-millis comes back as a datetime: Unix milliseconds again."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "timestamp"):
        return fastavro.write.LOGICAL_WRITERS["long-timestamp-millis"](value, {})
    return value


if __name__ == "__main__":
    unittest.main()
