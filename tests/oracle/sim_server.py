"""The oracle behind a line protocol: one JSON document per line in, one JSON line out, in order.

Request (one partition, from an empty state):

  {"config": {…},               optional; any field of oracle.Config, times in milliseconds:
                                partition, max_future, dedup_window, dedup_bound, retention,
                                adoption_days, adoption_min_days
   "ops": [op, …],              in log order
   "ask": [[KEY, OFFSET, AS_OF], …]}   optional: rows at other positions

  op, a record:  {"offset": 7, "ts": 1000, "key": "acme", "events": [event, …]}   an event or a batch
                 {"offset": 8, "ts": 1000, "key": "acme", "events": null}         forget acme
                 {"offset": 9, "ts": 1000, "events": "dead"}                      moves the clock only
  op, a tick:    {"tick": 60000}                  a wall tick placed after the records before it

  event: {"occurred_at": 990,   required; the others have the schema's defaults:
          "event_id": "", "account_id": the record's key, "user_id": null, "kind": "OTHER",
          "feature": null, "quantity": 1.0, "properties": {}}
         quantity is a JSON number, or NaN, Infinity, -Infinity, bare or as a string.
         An unknown field is an error.

Answer (all row values are strings, exactly as in Redis):

  {"clock": 61000,                      at the end; null without records and ticks
   "verdicts": [[V, …], …],             per record in `ops` (ticks left out) a verdict per event:
                                        "ok", "duplicate" or a reason; [] for forget and dead.
                                        An event of another account makes all "bad_account_id".
   "accounts": {KEY: {FIELD: TEXT}},    rows at the end: offset of the last record, clock at the end;
                                        without scores, alerts and phase; next_change is exact
   "features_hash": {KEY: {FEATURE: DAYS}},   of the accounts above; {} if empty
   "features": {NAME: {FIELD: TEXT}},   feature rows that have a counter above 0
   "totals": {FIELD: TEXT},             always; without open_alerts; as_of only if there is a clock
   "asked": [ROW or null, …]}           for `ask`: as in accounts, plus "features_hash": {…};
                                        null where the account is not known

A request that cannot be served is answered by {"error": TEXT}.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any, Optional

from oracle import Config, Partition, feature_row, totals_row

EVENT_DEFAULTS = {
    "event_id": "",
    "user_id": None,
    "kind": "OTHER",
    "feature": None,
    "quantity": 1.0,
    "properties": {},
}
EVENT_FIELDS = {*EVENT_DEFAULTS, "account_id", "occurred_at", "duration_ms"}


def complete(event: dict, key: str) -> dict:
    """The event with its defaults."""
    if not set(event) <= EVENT_FIELDS:
        raise ValueError(f"unknown fields {sorted(set(event) - EVENT_FIELDS)}")
    full = {"account_id": key, **EVENT_DEFAULTS, **event}
    full["quantity"] = float(full["quantity"])
    full["occurred_at"] = int(event["occurred_at"])
    return full


def run_op(partition: Partition, op: dict) -> Optional[list[str]]:
    """The verdicts of a record; None for a tick."""
    if "tick" in op:
        partition.wall_tick(op["tick"])
        return None
    offset, ts, events = op["offset"], op["ts"], op["events"]
    if events == "dead":
        partition.dead(offset, ts)
    elif events is None:
        partition.forget(offset, ts, op["key"])
    else:
        return partition.decoded(offset, ts, op["key"], [complete(e, op["key"]) for e in events])
    return []


def show_sums(partition: Partition) -> tuple[dict, dict]:
    """Feature rows and totals of a log with one partition."""
    if partition.clock is None:
        return {}, totals_row(Counter())
    features, totals = partition.sums()
    as_of = {"as_of": str(partition.clock)}
    rows = {name: feature_row(sums, totals) | as_of for name, sums in features.items() if any(sums.values())}
    return rows, totals_row(totals) | as_of


def asked_row(partition: Partition, key: str, offset: int, as_of: int) -> Optional[dict]:
    row: Optional[dict[str, Any]] = partition.account_row(key, offset, as_of)
    return row and row | {"features_hash": partition.features_hash(key, offset, as_of)}


def answer(request: dict) -> dict:
    partition = Partition(Config(**request.get("config", {})))
    verdicts = [v for v in (run_op(partition, op) for op in request["ops"]) if v is not None]
    clock = partition.clock
    end = partition.offsets[-1] if partition.offsets else -1
    features, totals = show_sums(partition)
    return {
        "clock": clock,
        "verdicts": verdicts,
        "accounts": {key: partition.account_row(key, end, clock) for key in partition.alive},
        "features_hash": {key: partition.features_hash(key, end, clock) for key in partition.alive},
        "features": features,
        "totals": totals,
        "asked": [asked_row(partition, *ask) for ask in request.get("ask", [])],
    }


def main() -> None:
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
