"""The counting contract, written the obvious way.

A `Partition` takes the records of one input partition in order. For each account
it keeps the plain list of accepted events; rows are worked out from that list
when they are asked for. Nothing here knows how uptake does it.

    partition = Partition(Config(partition=3))
    outcome = partition.record(offset, ts, key, value, headers, lookup)
    row = partition.account_row("acme", offset, as_of)
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Optional

from avro_simple import BadAvro, BadSchema, Read, Schema, TooLarge, decode, parse_schema, resolver

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

# window -> width of a bucket, number of buckets
WINDOWS = {"1h": (MINUTE, 60), "24h": (HOUR, 24), "7d": (DAY, 7), "30d": (DAY, 30)}

ACTIVITY = ("USAGE", "LOGIN", "VALUE")  # kinds by which a user or an account is active
TRAITS = ("segment", "tier", "renewal_date")
EVENT, BATCH = "uptake.v1.UsageEvent", "uptake.v1.UsageBatch"
DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)

DEAD_HEADERS = (
    "uptake.reason",
    "uptake.detail",
    "uptake.topic",
    "uptake.partition",
    "uptake.offset",
    "uptake.timestamp",
    "uptake.schema_id",
    "uptake.events",
)

Headers = list[tuple[str, Optional[bytes]]]
# schema id -> the schema's text and those of the schemas that it refers to; None: there is none
Lookup = Callable[[int], Optional[list[str]]]


@dataclass
class Config:
    topic: str = "usage-events"
    partition: int = 0
    framing: str = "confluent"  # or "none", with the schema's text in `schema`
    schema: str = ""
    max_future: int = 5 * MINUTE
    dedup_window: int = 10 * MINUTE
    dedup_bound: int = 4096
    retention: int = 400 * DAY
    max_record_bytes: int = 1 << 20
    max_batch_events: int = 10_000
    max_depth: int = 32
    adoption_days: int = 28
    adoption_min_days: int = 3


class Event(NamedTuple):
    """One accepted event."""

    offset: int
    clock: int  # of the partition after its record
    time: int  # the lesser of occurred_at and clock
    kind: str
    user: Optional[str]
    feature: Optional[str]
    micro: Optional[int]  # quantity in millionths; None: does not fit 128 bits
    properties: Optional[dict[str, str]]  # of a PROFILE


@dataclass
class Life:
    """An account from its first event to its being forgotten."""

    events: list[Event] = field(default_factory=list)
    ids: OrderedDict[str, int] = field(default_factory=OrderedDict)  # event_id -> clock at acceptance
    forgotten_at: Optional[int] = None  # offset of the null record


@dataclass
class DeadLetter:
    reason: str
    key: Optional[bytes]
    value: Optional[bytes]
    headers: Headers


@dataclass
class Outcome:
    """What became of a record: a verdict per event (ok, duplicate or a reason) and its dead letter."""

    verdicts: list[str]
    dead: Optional[DeadLetter] = None


class Rejected(Exception):
    """The whole record cannot be counted."""

    def __init__(self, reason: str, schema_id: Optional[int] = None, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.schema_id, self.detail = reason, schema_id, detail


# ---------------------------------------------------------------- verdicts


def check_key(key: Optional[bytes]) -> str:
    if not key or len(key) > 256:
        raise Rejected("bad_key")
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("bad_key") from None


def judge(event: dict, ts: int, clock: int, config: Config) -> Optional[str]:
    """The reason why the event cannot be counted, or None."""
    kind, quantity, occurred_at = event["kind"], event["quantity"], event["occurred_at"]
    if kind == "USAGE" and event["feature"] is not None and not _good_feature(event["feature"]):
        return "bad_feature"
    if not math.isfinite(quantity):
        return "bad_quantity"
    if kind in ("USAGE", "VALUE") and not 0 <= quantity <= 1e9:
        return "bad_quantity"
    if occurred_at // DAY <= clock // DAY - 30:
        return "too_late"
    if occurred_at > ts + config.max_future:
        return "in_future"
    return None


def _good_feature(feature: str) -> bool:
    return 1 <= len(feature.encode()) <= 128 and not feature.startswith("_")


def millionths(quantity: float) -> Optional[int]:
    """The double product rounded half to even; None if it does not fit 128 bits."""
    product = quantity * 1e6
    if not math.isfinite(product) or not -(2**127) <= round(product) < 2**127:
        return None
    return round(product)


# ---------------------------------------------------------------- one partition


class Partition:
    """`wall_ticks`: (offset, tick) pairs; the tick runs after that offset and before the next record."""

    def __init__(self, config: Config, wall_ticks: Iterable[tuple[int, int]] = ()) -> None:
        self.config = config
        self.wall_ticks = sorted(wall_ticks)
        self.clock: Optional[int] = None
        self.offsets: list[int] = []  # of every record, with the clock after it
        self.clocks: list[int] = []
        self.lives: dict[str, list[Life]] = {}  # all of an account's, the present one last
        self.alive: OrderedDict[str, Life] = OrderedDict()  # longest without an accepted event first
        self.counts: Counter[str] = Counter()  # verdicts
        self._plans: dict[Optional[int], tuple[bool, Read] | BadSchema | None] = {}

    # ---- input

    def record(
        self, offset: int, ts: int, key: Optional[bytes], value: Optional[bytes], headers: Headers, lookup: Lookup
    ) -> Outcome:
        self._advance(offset, ts)
        schema_id: Optional[int] = None
        try:
            account = check_key(key)
            if value is None:
                self._forget(offset, account)
                return Outcome([])
            events, is_batch, schema_id = self._decode(value, lookup)
            verdicts = self._apply(offset, ts, account, events)
        except Rejected as rejected:
            self.counts[rejected.reason] += 1
            schema_id = rejected.schema_id if rejected.schema_id is not None else schema_id
            dead = self._dead_letter(
                offset, ts, key, value, headers, rejected.reason, schema_id, rejected.detail, None
            )
            return Outcome([], dead)
        left_out = [i for i, verdict in enumerate(verdicts) if verdict not in ("ok", "duplicate")]
        if not left_out:
            return Outcome(verdicts)
        reason, indexes = verdicts[left_out[0]], left_out if is_batch else None
        return Outcome(verdicts, self._dead_letter(offset, ts, key, value, headers, reason, schema_id, "", indexes))

    def decoded(self, offset: int, ts: int, account: str, events: list[dict]) -> list[str]:
        """A record whose events are decoded already: a verdict per event."""
        self._advance(offset, ts)
        try:
            return self._apply(offset, ts, account, events)
        except Rejected as rejected:
            self.counts[rejected.reason] += 1
            return [rejected.reason] * len(events)

    def forget(self, offset: int, ts: int, account: str) -> None:
        self._advance(offset, ts)
        self._forget(offset, account)

    def dead(self, offset: int, ts: int) -> None:
        """A record that does nothing but move the clock."""
        self._advance(offset, ts)

    def wall_tick(self, tick: int) -> None:
        """A tick placed after the last record so far."""
        self._move_clock(tick)

    def finish(self) -> None:
        """Runs the wall ticks placed after the last record."""
        self._run_wall_ticks_before(None)

    # ---- clock

    def _advance(self, offset: int, ts: int) -> None:
        self._run_wall_ticks_before(offset)
        self._move_clock(ts)
        self.offsets.append(offset)
        self.clocks.append(self.clock)

    def _run_wall_ticks_before(self, offset: Optional[int]) -> None:
        while self.wall_ticks and (offset is None or self.wall_ticks[0][0] < offset):
            self._move_clock(self.wall_ticks.pop(0)[1])

    def _move_clock(self, to: int) -> None:
        """Moves the clock and runs the ticks on the way; all that a tick does here is to forget."""
        before, self.clock = self.clock, to if self.clock is None else max(self.clock, to)
        last_tick = self.clock // MINUTE * MINUTE
        if before is None or last_tick <= before:
            return
        while self.alive:
            account, life = next(iter(self.alive.items()))
            if last_tick < life.events[-1].clock + self.config.retention:
                break
            del self.alive[account]

    def clock_at(self, offset: int) -> Optional[int]:
        """The clock after the last record up to `offset`."""
        index = bisect_right(self.offsets, offset)
        return self.clocks[index - 1] if index else None

    def clock_after(self, offset: int) -> Optional[int]:
        """The clock after the first record beyond `offset`."""
        index = bisect_right(self.offsets, offset)
        return self.clocks[index] if index < len(self.clocks) else None

    # ---- decoding

    def _decode(self, value: bytes, lookup: Lookup) -> tuple[list[dict], bool, Optional[int]]:
        """The events, whether they came as a batch, and the schema id."""
        if len(value) > self.config.max_record_bytes:
            raise Rejected("too_large")
        schema_id, start = None, 0
        if self.config.framing == "confluent":
            if len(value) < 5 or value[0] != 0:
                raise Rejected("bad_frame")
            schema_id, start = int.from_bytes(value[1:5], "big"), 5
        plan = self._plan(schema_id, lookup)
        if plan is None:
            raise Rejected("unknown_schema", schema_id)
        if isinstance(plan, BadSchema):
            raise Rejected("bad_schema", schema_id, str(plan))
        is_batch, read = plan
        try:
            decoded = decode(value, read, start, self.config.max_depth, self.config.max_batch_events)
        except TooLarge as error:
            raise Rejected("too_large", schema_id, str(error)) from None
        except BadAvro as error:
            raise Rejected("bad_avro", schema_id, str(error)) from None
        return (decoded["events"] if is_batch else [decoded]), is_batch, schema_id

    def _plan(self, schema_id: Optional[int], lookup: Lookup) -> tuple[bool, Read] | BadSchema | None:
        if schema_id not in self._plans:
            texts = [self.config.schema] if schema_id is None else lookup(schema_id)
            self._plans[schema_id] = None if texts is None else make_plan(*texts)
        return self._plans[schema_id]

    # ---- events

    def _apply(self, offset: int, ts: int, account: str, events: list[dict]) -> list[str]:
        """Judges and counts the events of one record, in order."""
        if any(event["account_id"] != account for event in events):
            raise Rejected("bad_account_id")
        verdicts = [self._apply_event(offset, ts, account, event) for event in events]
        self.counts.update(verdicts)
        return verdicts

    def _apply_event(self, offset: int, ts: int, account: str, event: dict) -> str:
        reason = judge(event, ts, self.clock, self.config)
        if reason:
            return reason
        if self._is_duplicate(account, event["event_id"]):
            return "duplicate"
        life = self._living(account)
        self._remember_id(life, event["event_id"])
        life.events.append(self._accepted(offset, event))
        self.alive.move_to_end(account)
        return "ok"

    def _is_duplicate(self, account: str, event_id: str) -> bool:
        life = self.alive.get(account)
        accepted = life.ids.get(event_id) if life and event_id else None
        return accepted is not None and accepted > self.clock - self.config.dedup_window

    def _remember_id(self, life: Life, event_id: str) -> None:
        if event_id:
            life.ids[event_id] = self.clock
            life.ids.move_to_end(event_id)
        if len(life.ids) > self.config.dedup_bound:
            life.ids.popitem(last=False)

    def _accepted(self, offset: int, event: dict) -> Event:
        return Event(
            offset=offset,
            clock=self.clock,
            time=min(event["occurred_at"], self.clock),
            kind=event["kind"],
            user=event["user_id"] or None,
            feature=event["feature"],
            micro=millionths(event["quantity"]),
            properties=event["properties"] if event["kind"] == "PROFILE" else None,
        )

    def _living(self, account: str) -> Life:
        if account not in self.alive:
            self.alive[account] = Life()
            self.lives.setdefault(account, []).append(self.alive[account])
        return self.alive[account]

    def _forget(self, offset: int, account: str) -> None:
        if account in self.alive:
            self.alive.pop(account).forgotten_at = offset

    # ---- dead letters

    def _dead_letter(
        self,
        offset: int,
        ts: int,
        key: Optional[bytes],
        value: Optional[bytes],
        headers: Headers,
        reason: str,
        schema_id: Optional[int],
        detail: str,
        indexes: Optional[list[int]],
    ) -> DeadLetter:
        ours = {
            "uptake.reason": reason,
            "uptake.detail": detail,
            "uptake.topic": self.config.topic,
            "uptake.partition": str(self.config.partition),
            "uptake.offset": str(offset),
            "uptake.timestamp": str(ts),
        }
        if schema_id is not None:
            ours["uptake.schema_id"] = str(schema_id)
        if indexes is not None:
            ours["uptake.events"] = ",".join(map(str, indexes))
        kept = [(name, content) for name, content in headers if name not in DEAD_HEADERS]
        return DeadLetter(reason, key, value, kept + [(name, text.encode()) for name, text in ours.items()])

    # ---- rows

    def events_at(self, account: str, offset: int, as_of: int) -> list[Event]:
        """The account's events up to `offset`, as known at clock `as_of`; none if it is not known then."""
        for life in reversed(self.lives.get(account, [])):
            events = [e for e in life.events if e.offset <= offset]
            if not events:
                continue
            if life.forgotten_at is not None and life.forgotten_at <= offset:
                return []
            last_tick = as_of // MINUTE * MINUTE
            return [] if last_tick >= events[-1].clock + self.config.retention else events
        return []

    def account_row(self, account: str, offset: int, as_of: int) -> Optional[dict[str, str]]:
        """The row true at this very position; `next_change` is the exact clock of the first change."""
        events = self.events_at(account, offset, as_of)
        if not events:
            return None
        row = changing_fields(events, as_of, self.config)
        row |= known_traits(events)
        row["first_seen"] = str(min(e.time for e in events))
        row["last_seen"] = str(max(e.time for e in events))
        row["as_of"] = str(as_of)
        row["partition"] = str(self.config.partition)
        row["offset"] = str(offset)
        change = next_change(events, as_of, self.config)
        if change is not None:
            row["next_change"] = str(change)
        return row

    def features_hash(self, account: str, offset: int, as_of: int) -> dict[str, str]:
        """Feature -> distinct UTC days with USAGE in 30d."""
        days = {
            (e.feature, e.time // DAY)
            for e in in_window(self.events_at(account, offset, as_of), as_of, "30d")
            if e.kind == "USAGE" and e.feature is not None
        }
        return {name: str(n) for name, n in Counter(name for name, _ in days).items()}

    def sums(self) -> tuple[dict[str, Counter[str]], Counter[str]]:
        """What this partition adds to the feature rows and the totals, at its clock."""
        features: dict[str, Counter[str]] = {}
        totals: Counter[str] = Counter()
        for account, lives in self.lives.items():
            for life in lives:
                add_flows(features, totals, life.events, self.clock)
            if account in self.alive:
                add_distinct(features, totals, self.alive[account].events, self.clock)
        return features, totals


def make_plan(text: str, *others: str) -> tuple[bool, Read] | BadSchema:
    """Whether the schema is a batch's, and how to read it."""
    try:
        writer = parse_schema(text, others)
        if writer.type != "record" or writer.fullname not in READERS:
            raise BadSchema("neither a UsageEvent nor a UsageBatch")
        return writer.fullname == BATCH, resolver(writer, READERS[writer.fullname])
    except BadSchema as error:
        return error
    except RecursionError:
        return BadSchema("nested too deeply")


# ---------------------------------------------------------------- fields of rows


def in_window(events: list[Event], as_of: int, window: str) -> list[Event]:
    bucket, count = WINDOWS[window]
    return [e for e in events if as_of // bucket - e.time // bucket < count]


def flows(events: list[Event], as_of: int, logins: bool = True) -> Counter[str]:
    """events_, units_ (millionths) and logins_ of every window."""
    result: Counter[str] = Counter()
    for window in WINDOWS:
        inside = in_window(events, as_of, window)
        usage = [e for e in inside if e.kind == "USAGE"]
        result[f"events_{window}"] = len(usage)
        result[f"units_{window}"] = sum(e.micro for e in usage)
        if logins:
            result[f"logins_{window}"] = sum(e.kind == "LOGIN" for e in inside)
    return result


def active_users(events: list[Event], as_of: int, window: str) -> set[str]:
    return {e.user for e in in_window(events, as_of, window) if e.user and e.kind in ACTIVITY}


def present_users(events: list[Event]) -> set[str]:
    """Users seen in any event and not removed since."""
    users: set[str] = set()
    for e in events:
        if e.user and e.kind == "USER_REMOVED":
            users.discard(e.user)
        elif e.user:
            users.add(e.user)
    return users


def adopted_users(events: list[Event], as_of: int, config: Config) -> set[str]:
    """Users with USAGE or VALUE on enough distinct UTC days of the last 28."""
    days = {
        (e.user, e.time // DAY)
        for e in events
        if e.user and e.kind in ("USAGE", "VALUE") and as_of // DAY - e.time // DAY < config.adoption_days
    }
    counts = Counter(user for user, _ in days)
    return {user for user, n in counts.items() if n >= config.adoption_min_days}


def changing_fields(events: list[Event], as_of: int, config: Config) -> dict[str, str]:
    """The counters and shares of an account's row."""
    row = show_units(flows(events, as_of))
    for window in ("24h", "7d", "30d"):
        row[f"users_{window}"] = str(len(active_users(events, as_of, window)))
    present = present_users(events)
    row["users_total"] = str(len(present))
    usage = [e for e in in_window(events, as_of, "30d") if e.kind == "USAGE"]
    row["features_30d"] = str(len({e.feature for e in usage if e.feature is not None}))
    seats = known_seats(events)
    if seats is not None and seats > 0:
        row["seat_utilisation"] = show_share(int(row["users_30d"]), seats / 1e6)
    if present:
        row["adoption_rate"] = show_share(len(adopted_users(events, as_of, config) & present), len(present))
    return row


def known_seats(events: list[Event]) -> Optional[int]:
    """Millionths of seats: the last that SEATS or a PROFILE said."""
    seats = None
    for e in events:
        if e.kind == "SEATS" and e.micro is not None:
            seats = e.micro
        if e.kind == "PROFILE" and "seats" in e.properties:
            number = parse_number(e.properties["seats"])
            seats = seats if number is None else number
    return seats


def parse_number(text: str) -> Optional[int]:
    """Millionths of a decimal number; None if it is none."""
    return millionths(float(text)) if DECIMAL.match(text) else None


def known_traits(events: list[Event]) -> dict[str, str]:
    """segment, tier, renewal_date and seats, where known."""
    traits: dict[str, str] = {}
    for e in events:
        if e.kind == "PROFILE":
            traits |= {name: e.properties[name] for name in TRAITS if name in e.properties}
    traits = {name: text for name, text in traits.items() if text}
    seats = known_seats(events)
    if seats is not None:
        traits["seats"] = show_millionths(seats)
    return traits


def next_change(events: list[Event], as_of: int, config: Config) -> Optional[int]:
    """The first clock after `as_of` at which a counter or share differs if nothing comes."""
    now = changing_fields(events, as_of, config)
    leaving = [e.time for e in events if e.kind in ("USAGE", "LOGIN") or (e.kind == "VALUE" and e.user)]
    spans = [*WINDOWS.values(), (DAY, config.adoption_days)]
    moves = {(time // bucket + count) * bucket for time in leaving for bucket, count in spans}
    for clock in sorted(move for move in moves if move > as_of):
        if changing_fields(events, clock, config) != now:
            return clock
    return None


# ---------------------------------------------------------------- feature rows, totals


def by_feature(events: list[Event]) -> dict[str, list[Event]]:
    groups: dict[str, list[Event]] = {}
    for e in events:
        if e.kind == "USAGE" and e.feature is not None:
            groups.setdefault(e.feature, []).append(e)
    return groups


def add_flows(features: dict[str, Counter[str]], totals: Counter[str], events: list[Event], as_of: int) -> None:
    """What stays until its window passes, even when the account is forgotten."""
    totals.update(flows(events, as_of))
    for name, usage in by_feature(events).items():
        features.setdefault(name, Counter()).update(flows(usage, as_of, logins=False))


def add_distinct(features: dict[str, Counter[str]], totals: Counter[str], events: list[Event], as_of: int) -> None:
    """What goes with the account."""
    month = in_window(events, as_of, "30d")
    totals["accounts_total"] += 1
    totals["accounts_30d"] += any(e.kind in ACTIVITY for e in month)
    totals["users_30d"] += len(active_users(events, as_of, "30d"))
    totals["users_total"] += len(present_users(events))
    for name, usage in by_feature(month).items():
        features[name]["accounts_30d"] += 1
        features[name]["users_30d"] += len(active_users(usage, as_of, "30d"))


TOTAL_FIELDS = (
    *(f"{count}_{window}" for count in ("events", "units", "logins") for window in WINDOWS),
    *("accounts_30d", "users_30d", "users_total", "accounts_total"),
)
FEATURE_FIELDS = (
    *(f"{count}_{window}" for count in ("events", "units") for window in WINDOWS),
    *("accounts_30d", "users_30d"),
)


def totals_row(totals: Counter[str]) -> dict[str, str]:
    return show_units({name: totals[name] for name in TOTAL_FIELDS})


def feature_row(feature: Counter[str], totals: Counter[str]) -> dict[str, str]:
    row = show_units({name: feature[name] for name in FEATURE_FIELDS})
    shares = {
        "adoption_rate": (feature["users_30d"], totals["users_total"]),
        "depth": (feature["users_30d"], totals["users_30d"]),
        "reach": (feature["accounts_30d"], totals["accounts_30d"]),
    }
    return row | {name: show_share(part, whole) for name, (part, whole) in shares.items() if whole}


# ---------------------------------------------------------------- text


def show_units(values: dict[str, int]) -> dict[str, str]:
    """Decimal text; fields that begin `units_` are millionths."""
    return {name: show_millionths(n) if name.startswith("units_") else str(n) for name, n in values.items()}


def show_millionths(value: int) -> str:
    whole, rest = divmod(abs(value), 1_000_000)
    text = f"{whole}.{rest:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


def show_share(part: int, whole: float) -> str:
    """The double quotient, at most 1, with up to 6 decimals."""
    return f"{min(part / whole, 1.0):.6f}".rstrip("0").rstrip(".")


def encode_name(name: str) -> bytes:
    """A name inside a Redis key."""
    escaped = b"{}%\x7f"
    return b"".join(b"%%%02X" % byte if byte <= 0x20 or byte in escaped else bytes([byte]) for byte in name.encode())


def account_key(prefix: str, account: str) -> bytes:
    return prefix.encode() + b"account:{" + encode_name(account) + b"}"


def features_key(prefix: str, account: str) -> bytes:
    return account_key(prefix, account) + b":features"


def feature_key(prefix: str, feature: str) -> bytes:
    return prefix.encode() + b"feature:{" + encode_name(feature) + b"}"


# ---------------------------------------------------------------- the reader's schemas


def _reader_schemas() -> dict[str, Schema]:
    folder = next(p / "schemas" for p in Path(__file__).resolve().parents if (p / "schemas").is_dir())
    readers = {name: parse_schema((folder / f"{name}.avsc").read_text()) for name in (EVENT, BATCH)}
    readers[BATCH].fields[0].schema.limited = True  # max_batch_events
    return readers


READERS = _reader_schemas()
