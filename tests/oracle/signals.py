"""A second, deliberately simple implementation of the signals of an account's row, from their definitions
(aggregate/score/README.md, "Signals"): every accepted event of an account is kept in a list, and whatever is asked for is
worked out from that list. Only what the definitions say is noted at weekly looks is kept beside it.

Numbers come from the shipped model file; of the rules file those below. Alerts do not exist here: the rules are off.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from oracle import DAY, DECIMAL, MINUTE, Config, active_users, adopted_users, known_seats, present_users
from segments import day_of

KEY = ("USAGE", "VALUE")
LATE_DAYS = 30  # rules.ONBOARDING_LATE.late_days
ADVANCED = ("f1", "f3")  # rules: proficiency.features; as tests/sim/sim_signals.c gives them
TRIALS, PROOFS = ("trial", "free"), ("poc", "paid poc", "paid_poc", "evaluation")
SHIPPED = next(p for p in Path(__file__).resolve().parents if (p / "aggregate").is_dir()) / "aggregate/score/default.model"


class Event(NamedTuple):
    """An accepted event; the first fields are those that oracle.py asks for."""

    time: int
    kind: str
    user: Optional[str]
    feature: Optional[str]
    micro: Optional[int]
    properties: dict[str, str]
    quantity: float
    duration: Optional[int]
    day: int


class Model:
    def __init__(self, path: Path = SHIPPED) -> None:
        self.tables: dict[str, list[list[str]]] = {}  # names first; the cohort's share first
        lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        for words in lines[2:]:
            if words[0].startswith("["):
                rows = self.tables.setdefault(words[0].strip("[]"), [])
            else:
                rows.append(words)

    def number(self, table: str, name: str) -> float:
        return next(float(words[1]) for words in self.tables[table] if words[0] == name)

    def renewed(self, days: Optional[int]) -> list[list[float]]:
        """The table of those that renewed at so many days before their renewal; empty: there is none. Columns: share, frequency_21d, breadth."""
        if days is None or not -30 <= days <= 180:
            return []
        upto = next(str(end) for end in (30, 60, 90, 180) if days <= end)
        return [[float(word) for word in words[1:]] for words in self.tables.get("renewed", []) if words[0] == upto]

    def cohort(self) -> list[list[float]]:
        """Columns: share, frequency_21d, breadth."""
        return [[float(words[column]) for column in (0, 2, 4)] for words in self.tables["cohort"]]

    @staticmethod
    def percentile(rows: list[list[float]], column: int, value: float) -> float:
        """Share of a table; column 0 is the share."""
        same = [row[0] for row in rows if row[column] == value]
        if same:
            return (same[0] + same[-1]) / 2
        below = [row for row in rows if row[column] < value]
        above = [row for row in rows if row[column] > value]
        if not below or not above:
            return 0.0 if above else 1.0
        (low, at), (high, to) = ((row[0], row[column]) for row in (below[-1], above[0]))
        return low + (high - low) * (value - at) / (to - at)


def round6(value: float) -> float:
    return round(value * 1e6) / 1e6


def micro(value: float) -> int:
    """As a row shows it: millionths, from 4e9 on whole numbers."""
    return round(value * 1e6) if abs(value) < 4e9 else round(value) * 1_000_000


def listed(text: Optional[str]) -> list[str]:
    return [name.strip(" ") for name in (text or "").split(",") if name.strip(" ")]


class Goal(NamedTuple):
    name: str
    due: Optional[int]  # day
    target: Optional[int]  # millionths


def goal_of(text: str) -> Goal:
    """NAME, with @DATE and =NUMBER behind it in either order, or one of them, or none."""
    due = target = None
    for mark in "@=@":
        name, _, behind = (part.strip(" ") for part in text.rpartition(mark))
        if name and mark == "@" and due is None and day_of(behind) is not None:
            text, due = name, day_of(behind)
        elif name and mark == "=" and DECIMAL.match(behind) and 0 < float(behind) <= 1e12 and round6(float(behind)) > 0:
            text, target = name, round(round6(float(behind)) * 1e6)
    return Goal(text, due, target)


def entitlements_of(text: Optional[str]) -> dict[str, float]:
    """The first 8 meters, NAME=NUMBER, with the units of each; the first of a name."""
    meters: dict[str, float] = {}
    for entry in listed(text):
        name, _, units = (part.strip(" ") for part in entry.rpartition("="))
        number = round6(float(units)) if DECIMAL.match(units) else 0
        if name and 0 < number <= 1e15 and len(meters) < 8:
            meters.setdefault(name, number)
    return meters


# ---------------------------------------------------------------- the account's own cadence


class Rhythm:
    """Cadence, gaps and decayed activity from the key-active days of the 256 days up to the last one."""

    def __init__(self, days: set[int], today: int, model: Model) -> None:
        self.model = model
        self.last = max(days)
        self.days = sorted(d for d in days if d > self.last - 256)
        self.first, self.e = self.days[0], max(today - 1, self.last)

    def cadence(self) -> int:
        blocks, least, share = (self.model.number("cadence", name) for name in ("blocks", "blocks_least", "share"))
        active = set(self.days)
        workdays = [d for d in range(self.last, self.first - 1, -1) if (d + 3) % 7 < 5][: int(blocks)]
        if len(workdays) >= least and sum(d in active for d in workdays) >= share * len(workdays):
            return 1
        for period in (7, 28):
            n = int(min(blocks, (self.last - self.first) // period + 1))
            seen = {(self.last - d) // period for d in self.days}
            if n >= least and sum(k in seen for k in range(n)) >= share * n:
                return period
        return 1

    def gaps(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        mean, variance, weight, decay = (
            self.model.number("silence", name) for name in ("gap_mean", "gap_variance", "gap_weight", "gap_decay")
        )
        w = s = q = 0.0
        for a, b in zip(self.days, self.days[1:]):
            log = math.log(b - a)
            w, s, q = decay * w + 1, decay * s + log, decay * q + log * log
        m = (s + weight * mean) / (w + weight)
        spread = (q - 2 * m * s + m * m * w + weight * variance) / (w + weight)
        return round6(m), round6(math.sqrt(max(spread, 1e-4)))

    def frequency(self, half_life: float) -> float:
        total = sum(2 ** (-(self.e - d) / half_life) for d in self.days if self.e - d <= 256)
        period = self.cadence()
        if period > 1:
            slack, scale = (1, "scale_weekly") if period == 7 else (3, "scale_monthly")
            periods = [
                2 ** (-k * period / half_life)
                for k in range(-(-256 // period))
                if any(k * period <= self.e - d <= k * period + period - 1 + slack for d in self.days)
            ]
            total = max(total, self.model.number("cadence", scale) * sum(periods))
        return round6(total)


# ---------------------------------------------------------------- an account


@dataclass
class Release:
    feature: str
    day: int
    lag: Optional[int] = None  # days to its first use


@dataclass
class Account:
    minute: int
    events: list[Event] = field(default_factory=list)
    accepted: int = 0  # clock of the last one
    onboarded: Optional[int] = None  # day
    looked: Optional[int] = None  # day of the last weekly look
    looks: list[tuple[Optional[int], Optional[int]]] = field(default_factory=list)  # users_30d, utilisation; 14 weeks
    first_use: dict[str, int] = field(default_factory=dict)  # feature: day
    releases: list[Release] = field(default_factory=list)  # newest first
    champion: Optional[str] = None
    champion_days: int = 0
    onboarded_users: set[str] = field(default_factory=set)  # known when that was noted
    gone: dict[str, int] = field(default_factory=dict)  # user: how many events are not known of them any more
    taken: tuple[int, int] = (0, 0)  # of the last daily evaluation: events known, tick


class Facts:
    """What is known of an account at a tick."""

    def __init__(self, account: Account, known: int, tick: int, config: Config, model: Model) -> None:
        self.account, self.events, self.tick = account, account.events[:known], tick
        self.config, self.model, self.today = config, model, tick // DAY

    def of(self, *kinds: str) -> list[Event]:
        return [e for e in self.events if e.kind in kinds]

    def trait(self, name: str) -> Optional[str]:
        value = None
        for e in self.of("PROFILE"):
            if name in e.properties:
                value = e.properties[name] or None
        return value

    def number(self, name: str) -> Optional[float]:
        text = self.trait(name) or ""
        return float(text) if DECIMAL.match(text) else None

    def first_seen(self) -> int:
        return min(e.day for e in self.events)

    def start(self) -> int:
        contract = day_of(self.trait("contract_start"))
        return self.first_seen() if contract is None else contract

    def patience(self) -> float:
        of_class = {"SHORT": 0.5, "IMMEDIATE": 0.25, "LONG": 2.0}.get((self.trait("ttv_class") or "").upper(), 1.0)
        return of_class / 2 if self.on_trial() else of_class

    def on_trial(self) -> bool:
        """Phase TRIAL, and no proof of concept."""
        renewed = max((e.time // MINUTE for e in self.of("RENEWED")), default=0)
        churned = max((e.time // MINUTE for e in self.of("CHURNED")), default=0)
        if renewed or churned > renewed:
            return False
        rhythm = self.rhythm_of()
        if rhythm is not None and rhythm.e - rhythm.last >= 30:
            m, sd = rhythm.gaps()
            if rhythm.e - rhythm.last > math.exp(m + sd * math.sqrt(3) / math.pi * math.log(99)):
                return False  # DORMANT
        plan = (self.trait("plan") or "").lower()
        contract = day_of(self.trait("contract_start"))
        ahead = contract is not None and contract > self.today
        return plan not in PROOFS and (plan in TRIALS or ahead)

    def rhythm_of(self) -> Optional[Rhythm]:
        days = {e.day for e in self.of(*KEY)}
        return Rhythm(days, self.today, self.model) if days else None

    def users_30d(self) -> int:
        return len(active_users(self.events, self.tick, "30d"))

    def utilisation(self) -> Optional[int]:
        """Ten-thousandths."""
        seats = known_seats(self.events)
        return None if seats is None or seats <= 0 else (micro(min(1.0, self.users_30d() * 1e6 / seats)) + 50) // 100

    def user_days(self, mask: Callable[[int], bool]) -> dict[str, set[int]]:
        """Of users_total: days with USAGE or VALUE."""
        present, days = present_users(self.events), {}
        for e in self.of(*KEY):
            if e.user in present and mask(e.day):
                days.setdefault(e.user, set()).add(e.day)
        return days

    def last_28(self) -> dict[str, set[int]]:
        return self.user_days(lambda day: 0 <= self.today - day < 28)

    # ---- once a day

    def daily(self) -> None:
        """What is noted at a daily evaluation."""
        account = self.account
        self.forget_users()
        if account.looked is None or self.today >= account.looked + 7:
            account.looked = self.today
            self.look()
        used: dict[str, list[int]] = {}
        for e in self.of("USAGE"):
            if e.feature and self.today - e.day <= 30:
                used.setdefault(e.feature, []).append(e.day)
        for feature, days in used.items():
            if len(account.first_use) < 64:
                account.first_use.setdefault(feature, min([d for d in days if self.today - d < 30] or days))
        self.note_releases(used)
        steps = listed(self.trait("onboarding_steps"))
        if account.onboarded is None and steps and set(steps[:16]) <= self.steps_done():
            account.onboarded = max(e.day for e in self.of("ONBOARDING_STEP") if e.feature)
            account.onboarded_users = {user for user, kind in self.known_users() if kind != "USER_REMOVED"}

    def forget_users(self) -> None:
        """Those who were removed and are in no window."""
        named = {e.user for e in self.events if e.user}
        for user in named - present_users(self.events) - active_users(self.events, self.tick, "30d"):
            self.account.gone[user] = len(self.events)
            self.account.onboarded_users.discard(user)

    def known_users(self) -> list[tuple[str, str]]:
        """User and kind, in the order of events, without what was forgotten."""
        gone = self.account.gone
        return [(e.user, e.kind) for i, e in enumerate(self.events) if e.user and i >= gone.get(e.user, 0)]

    def note_releases(self, used: dict[str, list[int]]) -> None:
        account = self.account
        for e in account.events[account.taken[0] :]:
            if e.kind == "RELEASE" and e.feature:
                others = [r for r in account.releases if r.feature != e.feature]
                account.releases = [Release(e.feature, e.day)] + others[:3]
        for release in account.releases:
            since = [d for d in used.get(release.feature, ()) if d >= release.day and self.today - d < 30]
            if release.lag is None and since:
                release.lag = min(since) - release.day

    def look(self) -> None:
        account, days = self.account, self.last_28()
        users, share = self.users_30d(), self.utilisation()
        account.looks = (account.looks + [(users if present_users(self.events) else None, share)])[-14:]
        order = list(dict.fromkeys(user for user, _ in self.known_users() if user in days))
        top = max(order, key=lambda user: len(days[user]), default=None)  # the first seen of several
        most = len(days[top]) if top else 0
        own = {e.day for e in self.of(*KEY) if e.user == account.champion and self.today - e.day < 28}
        if account.champion is not None and own and (2 * len(own) >= most or self.today - max(own) >= 14):
            account.champion_days = max(account.champion_days, len(own))
        elif most >= 8:
            account.champion, account.champion_days = top, most
        elif not own:
            account.champion = None

    def champion_silent(self) -> int:
        last = max(e.day for e in self.of(*KEY) if e.user == self.account.champion)
        return min(27, max(0, self.today - 1 - last))

    def steps_done(self) -> set[str]:
        return set(list(dict.fromkeys(e.feature for e in self.of("ONBOARDING_STEP") if e.feature))[:16])

    # ---- the signals

    def signals(self) -> dict[str, int]:
        found = self.beginnings() | self.rhythm() | self.people() | self.care() | self.contract() | self.goals() | self.meters()
        return {name: micro(value) for name, value in found.items() if value is not None}

    def beginnings(self) -> dict[str, Optional[float]]:
        start, steps = self.start(), listed(self.trait("onboarding_steps"))[:16]
        done = self.steps_done()
        onboarded = self.account.onboarded
        values = self.of("VALUE")
        seen = self.first_seen()
        waits = sorted(day - seen for day in self.account.first_use.values())
        since = {
            "time_to_first_key_action": [e.day for e in self.of(*KEY)],
            "time_to_basic_value": [e.day for e in values],
            "time_to_exceeded_value": [e.day for e in values if e.properties.get("level") == "exceeded"],
        }
        days = None if onboarded is None else onboarded - start
        return {name: min(found) - start if found else None for name, found in since.items()} | {
            "onboarding_completion": sum(s in done for s in steps) / len(steps) if steps else None,
            "onboarding_days": days,
            "onboarding_in_time": None if days is None else int(days <= LATE_DAYS * self.patience()),
            "time_to_features": waits[(len(waits) - 1) // 2] if waits else None,
        }

    def goals(self) -> dict[str, Optional[float]]:
        units: dict[str, int] = {}  # of the first 8 goals that were ever named
        for e in self.of("VALUE"):
            if e.feature and (e.feature in units or len(units) < 8):
                units[e.feature] = min(10**18, units.get(e.feature, 0) + e.micro)
        goals = [goal_of(text) for text in listed(self.trait("goals"))[:8]]
        dated = [goal for goal in goals if goal.due is not None]
        open_until = [goal.due for goal in dated if goal.name not in units or units[goal.name] < (goal.target or 0)]
        shares = [min(1, units.get(goal.name, 0) / goal.target) for goal in goals if goal.target]
        return {
            "goals_reached": len(units) or None,
            "goals_late": sum(day < self.today for day in open_until) if dated else None,
            "days_to_goal": min(open_until) - self.today if open_until else None,
            "goal_progress": sum(shares) / len(shares) if shares else None,
        }

    def meters(self) -> dict[str, Optional[float]]:
        """What came of a meter since it was listed without a gap."""
        units: dict[str, int] = {}  # by meter, of the 30 days
        entitled: dict[str, float] = {}
        for e in self.events:
            if e.kind == "PROFILE" and "entitlements" in e.properties:
                entitled = entitlements_of(e.properties["entitlements"])
                units = {name: units.get(name, 0) for name in entitled}
            elif e.kind == "USAGE" and e.feature in units and self.today - e.day < 30:
                units[e.feature] += e.micro
        shares = [round6(units[name] / 1e6 / entitled[name]) for name in entitled]
        return {"meters_over": sum(share >= 1 for share in shares) if shares else None, "meter_share_max": max(shares, default=None)}

    def rhythm(self) -> dict[str, Optional[float]]:
        rhythm = self.rhythm_of()
        if rhythm is None:
            return {}
        m, sd = rhythm.gaps()
        used = {(e.feature, e.day) for e in self.of("USAGE") if e.feature and 0 <= self.today - e.day < 30}
        counts = Counter(feature for feature, _ in used)
        shares = [n / len(used) for n in counts.values()]
        advanced = sum(counts[feature] for feature in ADVANCED)
        renewal = day_of(self.trait("renewal_date"))
        table = self.model.renewed(None if renewal is None else renewal - self.today) or self.model.cohort()
        percentile = self.model.percentile(table, 1, rhythm.frequency(21))
        if any(e.feature for e in self.of("USAGE")) and len(table[0]) > 2:
            u = [
                round6(0.032468221 * sum(2 ** (-(rhythm.e - day) / 21) for name, day in used if name == feature))
                for feature in counts
            ]
            breadth = round6(sum(v > 0.05 for v in u) + sum(u) / 2)
            percentile = (percentile + self.model.percentile(table, 2, breadth)) / 2
        return {
            "cadence": rhythm.cadence(),
            "natural_gap": math.exp(m),
            "natural_gap_spread": sd,
            "effective_features": math.exp(-sum(p * math.log(p) for p in shares)) if shares else None,
            "proficiency": advanced / len(used) if used else None,
            "adoption_percentile": percentile,
            "usage_trend": self.trend(),
        }

    def trend(self) -> Optional[float]:
        if self.today - min(e.day for e in self.of(*KEY)) < 28:
            return None
        counts = [0, 0, 0, 0]
        for e in self.of("USAGE"):
            week = (e.day - (self.today - 28)) // 7
            if 0 <= week < 4:
                counts[week] += 1
        slope = sum((k - 1.5) * math.log(1 + n) for k, n in enumerate(counts)) / 5
        return math.exp(slope) - 1 if any(counts) else None

    def people(self) -> dict[str, Optional[float]]:
        present, days = present_users(self.events), self.last_28()
        adopted = adopted_users(self.events, self.tick, self.config) & present
        yesterday = self.today - 1
        first = yesterday - min((datetime.date(1970, 1, 1) + datetime.timedelta(yesterday)).day, 27) + 1
        month = self.user_days(lambda day: first <= day <= yesterday)
        many = [user for user, of in month.items() if len(of) >= self.config.adoption_min_days]
        trained = {user for user, kind in self.known_users() if kind == "TRAINING"} & present
        shown = {user for user, kind in self.known_users() if kind in ("TRAINING", "ONBOARDING_STEP")}
        inherited = set(days) - shown - self.account.onboarded_users
        training = bool(self.of("TRAINING")) or self.trait("training") is not None
        users, utilisation = self.users_30d(), self.utilisation()
        then, then_utilisation = self.account.looks[0] if len(self.account.looks) == 14 else (None, None)
        champion = self.account.champion
        return {
            "adopted_users": len(adopted) if present else None,
            "adoption_rate_28d": len(adopted) / len(days) if days else None,
            "adoption_rate_month": len(many) / len(month) if month else None,
            "users_high": sum(len(of) >= 12 for of in days.values()) if present else None,
            "users_medium": sum(4 <= len(of) < 12 for of in days.values()) if present else None,
            "users_low": sum(len(of) < 4 for of in days.values()) if present else None,
            "inherited_share": len(inherited) / len(days) if days and self.account.onboarded is not None else None,
            "training_share": len(trained) / len(present) if present and training else None,
            "users_change_90d": users / then - 1 if then else None,
            "seat_utilisation_change_90d": (
                None if utilisation is None or then_utilisation is None else (utilisation - then_utilisation) / 1e4
            ),
            "champion_days": self.account.champion_days if champion else None,
            "champion_silent": self.champion_silent() if champion else None,
        }

    def answers(self, name: str) -> list[tuple[float, float]]:
        """Scores, with the weight of each."""
        return [
            (e.quantity, 2 ** (-(self.today - e.day) / 90)) for e in self.of("SURVEY") if e.feature == name
        ]

    def care(self) -> dict[str, Optional[float]]:
        week = self.today // 7
        opened, closed = self.of("TICKET_OPENED"), self.of("TICKET_CLOSED")
        n = sum(week - 4 <= e.day // 7 <= week for e in opened)
        to_close = None
        for e in closed:
            if e.duration is not None and e.duration >= 0:
                days = min(3650, e.duration / DAY)
                to_close = days if to_close is None else 0.8 * to_close + 0.2 * days
        still_open = 0
        for e in self.of("TICKET_OPENED", "TICKET_CLOSED"):
            still_open = max(0, still_open + (1 if e.kind == "TICKET_OPENED" else -1))
        nps, csat = self.answers("nps"), self.answers("csat")
        good = sum(w for score, w in nps if score >= 9) - sum(w for score, w in nps if score <= 6)
        contacts = self.of("CONTACT")
        met = {}  # the latest day of each
        for e in contacts:
            name = e.properties.get("stakeholder") or e.user
            if name and e.properties.get("human") != "false":
                met[name] = max(e.day, met.get(name, e.day))
        engaged = min(16, sum(self.today - day < 28 for day in met.values())) if met else None
        wanted = self.number("stakeholders")
        human = [e.day for e in contacts if e.properties.get("human") != "false"]
        return {
            "tickets": n if opened else None,
            "tickets_per_user": n / max(1, self.users_30d()) if opened else None,
            "tickets_open": still_open if opened else None,
            "time_to_close": to_close,
            "nps": 100 * good / sum(w for _, w in nps) if nps else None,
            "nps_answers": len(nps) or None,
            "csat": sum(max(0, min(10, score)) * w for score, w in csat) / sum(w for _, w in csat) if csat else None,
            "csat_answers": len(csat) or None,
            "stakeholders_28d": engaged,
            "stakeholders_share": engaged / wanted if met and wanted and 0 < wanted <= 1e15 else None,
            "contacts": min(65535, len(contacts)) or None,
            "days_since_contact": self.today - max(human) if human else None,
        }

    def contract(self) -> dict[str, Optional[float]]:
        renewal, value, entitlement = day_of(self.trait("renewal_date")), self.number("contract_value"), self.number("entitlement")
        units = sum(e.micro for e in self.of("USAGE") if 0 <= self.today - e.day < 30)
        waiting = [self.today - release.day for release in self.account.releases if release.lag is None]
        lags = [release.lag for release in self.account.releases if release.lag is not None]
        return {
            "days_to_renewal": None if renewal is None else renewal - self.today,
            "contract_value": value if value is not None and 0 <= value <= 1e15 else None,
            "consumption_share": units / 1e6 / entitlement if entitlement and entitlement > 0 else None,
            "release_waiting": waiting[0] if waiting else None,
            "release_uptake_lag": sum(lags) / len(lags) if lags else None,
        }


# ---------------------------------------------------------------- a partition


class Partition:
    def __init__(self, config: Config, model: Model) -> None:
        self.config, self.model = config, model
        self.clock: Optional[int] = None
        self.accounts: dict[str, Account] = {}

    def run_to(self, clock: int) -> None:
        """Runs the daily evaluations on the way, and forgets who is to be forgotten there."""
        before, self.clock = self.clock, clock if self.clock is None else max(self.clock, clock)
        if before is None:
            return
        for name, account in list(self.accounts.items()):
            ends = -(-(account.accepted + self.config.retention) // MINUTE) * MINUTE
            tick = before // DAY * DAY + account.minute * MINUTE
            tick += DAY if tick <= before else 0
            while tick <= self.clock and tick < ends:
                Facts(account, len(account.events), tick, self.config, self.model).daily()
                account.taken = (len(account.events), tick)
                tick += DAY
            if ends <= self.clock // MINUTE * MINUTE:
                del self.accounts[name]

    def event(self, name: str, minute: int, event: Event) -> None:
        account = self.accounts.setdefault(name, Account(minute))
        account.events.append(event)
        account.accepted = self.clock

    def signals(self, name: str) -> dict[str, int]:
        """As of the last daily evaluation."""
        account = self.accounts[name]
        known, tick = account.taken
        return Facts(account, known, tick, self.config, self.model).signals() if known else {}
