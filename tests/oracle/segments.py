"""A second, deliberately simple implementation of segments (aggregate/score/README.md): every accepted event of an account
is kept in a list, and whoever is to be judged is judged from that list. Row values come from oracle.py.

Segments are JSON here, as in the rules file: {NAME: {"enabled": bool, "when": CONDITION}}. Fields that need a score or an
alert are not known.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any, Optional

from oracle import DAY, HOUR, MINUTE, Config, Event, changing_fields, known_seats, known_traits, millionths

HOURLY = {f"{name}_{window}" for name in ("events", "units", "logins", "users") for window in ("1h", "24h")}
ACTIVE = {"USAGE", "LOGIN", "VALUE"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)


def wakes(name: str, event: Event) -> bool:
    """Whether a segment that reads this field is judged at once after such an event."""
    kind, named = event.kind, bool(event.user)
    if name.startswith(("events_", "units_")) or name == "features_30d":
        return kind == "USAGE"
    if name.startswith("logins_") or name == "login_age_days":
        return kind == "LOGIN"
    if name in ("users_total", "adoption_rate"):
        return named
    if name.startswith("users_"):
        return named and kind in ACTIVE
    if name == "seat_utilisation":
        return kind in ("SEATS", "PROFILE") or named and kind in ACTIVE
    if name.startswith(("first_seen", "last_seen")):
        return True
    return kind in {
        "seats": ("SEATS", "PROFILE"),
        "signup_age_days": ("SIGNUP",),
        "key_event_age_days": ("USAGE", "VALUE"),
        "contact_age_days": ("CONTACT",),
        "onboarded": ("ONBOARDING_STEP", "PROFILE"),
        "onboarding_age_days": ("ONBOARDING_STEP", "PROFILE"),
        "contacted_since_onboarding": ("CONTACT", "ONBOARDING_STEP", "PROFILE"),
        "steps_done": ("ONBOARDING_STEP",),
        "courses_done": ("TRAINING",),
    }.get(name, ("PROFILE",))


def leaves(condition: dict) -> list[dict]:
    if "not" in condition:
        return leaves(condition["not"])
    for word in ("all", "any"):
        if word in condition:
            return [leaf for one in condition[word] for leaf in leaves(one)]
    return [condition]


def leaf_wakes(leaf: dict, event: Event) -> bool:
    if "field" in leaf:
        return wakes(leaf["field"], event)
    if "trait" in leaf:
        return event.kind == "PROFILE"
    if "feature" in leaf:
        return event.kind == "USAGE" and event.feature == leaf["feature"]
    return event.kind == ("TRAINING" if "course" in leaf else "ONBOARDING_STEP")


def day_of(text: Optional[str]) -> Optional[int]:
    if text is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return datetime.date.fromisoformat(text).toordinal() - datetime.date(1970, 1, 1).toordinal()
    except ValueError:
        return None


@dataclass
class Account:
    events: list[Event] = field(default_factory=list)
    member: set[str] = field(default_factory=set)
    wake: Optional[int] = None
    accepted: int = 0
    onboarded: Optional[int] = None  # minute


class Facts:
    """What is known of an account at a clock. Numbers are millionths; None: not known."""

    def __init__(self, account: Account, clock: int, config: Config) -> None:
        self.account, self.events, self.clock, self.config = account, account.events, clock, config
        self.today = clock // DAY
        self.row = changing_fields(self.events, clock, config) | known_traits(self.events)

    def days(self, kinds: set[str]) -> list[int]:
        return [e.time // DAY for e in self.events if e.kind in kinds]

    def trait(self, name: str) -> Optional[str]:
        value = None
        for e in self.events:
            if e.kind == "PROFILE" and name in e.properties:
                value = e.properties[name] or None
        return value

    def names(self, kind: str) -> list[str]:
        return list(dict.fromkeys(e.feature for e in self.events if e.kind == kind and e.feature is not None))

    def since(self, days: list[int]) -> Optional[int]:
        return (self.today - max(days)) * 1_000_000 if days else None

    def derived(self, name: str) -> Optional[int]:
        contact = max((e.time // MINUTE for e in self.events if e.kind == "CONTACT"), default=None)
        onboarded = self.account.onboarded
        match name:
            case "first_seen_age_days":
                return (self.today - min(e.time for e in self.events) // DAY) * 1_000_000
            case "last_seen_age_days":
                return (self.today - max(e.time for e in self.events) // DAY) * 1_000_000
            case "signup_age_days":
                signups = self.days({"SIGNUP"}) or [min(e.time for e in self.events) // DAY]
                return (self.today - min(signups)) * 1_000_000
            case "login_age_days":
                return self.since(self.days({"LOGIN"}))
            case "logins_total":
                return len(self.days({"LOGIN"})) * 1_000_000
            case "key_event_age_days":
                return self.since(self.days({"USAGE", "VALUE"}))
            case "contact_age_days":
                return self.since([] if contact is None else [contact * MINUTE // DAY])
            case "contract_age_days":
                day = day_of(self.trait("contract_start"))
                return None if day is None else (self.today - day) * 1_000_000
            case "days_to_renewal":
                day = day_of(self.trait("renewal_date"))
                return None if day is None else (day - self.today) * 1_000_000
            case "onboarding_age_days":
                return self.since([] if onboarded is None else [onboarded * MINUTE // DAY])
            case "steps_done":
                return len(self.names("ONBOARDING_STEP")) * 1_000_000
            case "courses_done":
                return len(self.names("TRAINING")) * 1_000_000
            case "onboarded":
                return int(onboarded is not None) * 1_000_000
            case "contacted_since_onboarding":
                return None if onboarded is None else int(contact is not None and contact > onboarded) * 1_000_000
        raise KeyError(name)

    def value(self, name: str) -> Any:
        if name in ("segment", "tier", "renewal_date"):
            return self.row.get(name)
        if name == "seats":
            return known_seats(self.events)
        if name in self.row or name in ("seat_utilisation", "adoption_rate"):
            return millionths(float(self.row[name])) if name in self.row else None
        return self.derived(name)

    def feature_days(self, name: str, within: int) -> int:
        days = {e.time // DAY for e in self.events if e.kind == "USAGE" and e.feature == name}
        return sum(0 <= self.today - day < within for day in days)

    # ---- conditions

    def tests(self, leaf: dict, value: Any, number: bool) -> bool:
        if "known" in leaf and (value is not None) != leaf["known"]:
            return False
        asked = set(leaf) & {"from", "to", "above", "below", "is", "in", "used", "done"}
        if not asked:
            return True
        if value is None:
            return False
        if {"is", "used", "done"} & asked and isinstance(leaf.get("is", leaf.get("used", leaf.get("done"))), bool):
            return (value != 0) == leaf.get("is", leaf.get("used", leaf.get("done")))
        wanted = leaf.get("in", [leaf["is"]] if "is" in leaf else None)
        if wanted is not None and value not in ([millionths(float(v)) for v in wanted] if number else map(str, wanted)):
            return False
        return (
            ("from" not in leaf or value >= millionths(leaf["from"]))
            and ("to" not in leaf or value <= millionths(leaf["to"]))
            and ("above" not in leaf or value > millionths(leaf["above"]))
            and ("below" not in leaf or value < millionths(leaf["below"]))
        )

    def leaf(self, leaf: dict) -> bool:
        if "field" in leaf:
            return self.tests(leaf, self.value(leaf["field"]), leaf["field"] not in ("segment", "tier", "renewal_date"))
        if "trait" in leaf:
            text = self.trait(leaf["trait"])
            if leaf.get("as", "text") != "text":
                day = day_of(text)
                days = None if day is None else day - self.today
                sign = -1 if leaf["as"] == "days_since" else 1
                return self.tests(leaf, None if days is None else sign * days * 1_000_000, True)
            if {"from", "to", "above", "below"} & set(leaf):
                good = text is not None and NUMBER.match(text)
                return self.tests(leaf, millionths(float(text)) if good else None, True)
            return self.tests(leaf, text, False)
        if "feature" in leaf:
            if "used" in leaf and "within" not in leaf:
                return self.tests(leaf, int(leaf["feature"] in self.names("USAGE")), True)
            return self.tests(leaf, self.feature_days(leaf["feature"], leaf.get("within", 30)) * 1_000_000, True)
        kind, word = ("TRAINING", "course") if "course" in leaf else ("ONBOARDING_STEP", "step")
        return self.tests(leaf, int(leaf[word] in self.names(kind)), True)

    def holds(self, condition: dict) -> bool:
        if "all" in condition:
            return all(self.holds(one) for one in condition["all"])
        if "any" in condition:
            return any(self.holds(one) for one in condition["any"])
        if "not" in condition:
            return not self.holds(condition["not"])
        return self.leaf(condition)


class Partition:
    def __init__(self, segments: dict, config: Config) -> None:
        self.segments, self.config = segments, config
        self.leaves = [leaf for s in segments.values() for leaf in leaves(s["when"])]
        self.hourly = any(leaf.get("field") in HOURLY for leaf in self.leaves)
        self.clock: Optional[int] = None
        self.accounts: dict[str, Account] = {}
        self.minutes: dict[str, int] = {}
        self.told: list[tuple[str, str, str, int]] = []

    # ---- time

    def next_due(self, name: str, after: int) -> int:
        """The first whole minute after a clock at which something is to be done for the account, Unix ms."""
        account = self.accounts[name]
        daily = after // DAY * DAY + self.minutes[name] * MINUTE
        ends = -(-(account.accepted + self.config.retention) // MINUTE) * MINUTE
        due = [daily if daily > after else daily + DAY, max(ends, (after // MINUTE + 1) * MINUTE)]
        return min(due + ([account.wake] if account.wake is not None else []))

    def run_to(self, clock: int) -> None:
        if self.clock is None or clock <= self.clock:
            self.clock = clock if self.clock is None else self.clock
            return
        while self.accounts:
            tick, name = min((self.next_due(name, self.clock), name) for name in self.accounts)
            if tick > clock:
                break
            for name in [n for n in self.accounts if self.next_due(n, self.clock) == tick]:
                account = self.accounts[name]
                if tick >= account.accepted + self.config.retention:
                    self.forget(name, tick)
                else:
                    self.judge(name, tick)
            self.clock = tick
        self.clock = clock

    def judge(self, name: str, tick: int) -> None:
        account = self.accounts[name]
        facts = Facts(account, tick, self.config)
        member = {s for s, spec in self.segments.items() if spec["enabled"] and facts.holds(spec["when"])}
        for segment in sorted(member ^ account.member):
            self.told.append((name, "SEGMENT_ENTER" if segment in member else "SEGMENT_EXIT", segment, tick))
        account.member = member
        busy = any(facts.row[f] != "0" for f in ("events_24h", "logins_24h", "users_24h"))
        account.wake = (tick // HOUR + 1) * HOUR if self.hourly and busy else None

    def forget(self, name: str, clock: int) -> None:
        account = self.accounts.pop(name, Account())
        self.told += [(name, "SEGMENT_EXIT", segment, clock) for segment in sorted(account.member)]

    # ---- records

    def event(self, name: str, event: Event, minute: int) -> None:
        account = self.accounts.setdefault(name, Account())
        self.minutes[name] = minute
        account.events.append(event)
        account.accepted = self.clock
        facts = Facts(account, self.clock, self.config)
        if account.onboarded is None and event.kind in ("ONBOARDING_STEP", "PROFILE"):
            steps = [s.strip(" ") for s in (facts.trait("onboarding_steps") or "").split(",") if s.strip(" ")]
            if steps and set(steps) <= set(facts.names("ONBOARDING_STEP")):
                account.onboarded = event.time // MINUTE
        if any(leaf_wakes(leaf, event) for leaf in self.leaves):
            account.wake = (self.clock // MINUTE + 1) * MINUTE

