"""What a planted fault is; the lists are in faults.py (counting, Redis, Kafka, commands) and score_faults.py."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    name: str
    promise: str
    file: str
    old: str
    new: str
    test: str
    case: str = ""
    env: dict[str, str] = field(default_factory=dict)


STATE = "aggregate/state/"
VIEW = "aggregate/view/"
SCORE = "aggregate/score/"
AVRO = "ingest/avro/"
SIM = "sim:400"
PACK = "unit:state/test_state_pack"
SIGNALS = "signals:60"
