"""What people see of an account and say of its alerts: segments, the explanation, control records, the account view.

One set of services for all; the tests run in the order of their numbers. The log ends at about now, since control
records carry the time at which somebody writes them.
"""

from __future__ import annotations

import json
import math
import re
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support.browser import Browser
from support.kafka_util import Codec, Decoder, Message, end_offsets, produce, read_topic, unframe
from support.process import wait_until
from support.services import Services
from support.uptake_proc import Result, Uptake, config_for, run, to_yaml

from e2e.test_exact import INPUT, until_end, verify
from e2e.traffic import DAY, Traffic

EX_OK, EX_USAGE, EX_DATAERR, EX_UNAVAILABLE = 0, 64, 65, 69
GOLD, EXPORT = "silent-gold", "export.users"
NUL_GONE, NUL_TEXT = "n\0ul", "nul-text"  # U+0000 is UTF-8 like any other
RULES = f"""
segments:
  {GOLD}:
    play: Call them.
    when:
      all:
        - {{field: tier, is: gold}}
        - {{field: key_event_age_days, above: 5}}
  {EXPORT}:
    when: {{feature: export, used: true}}
"""


class People(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.services = Services()
        cls.services.start()
        cls.addClassCleanup(cls.services.stop)
        folder = TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.rules = cls.folder / "rules.yaml"
        cls.rules.write_text(RULES)
        cls.services.kafka.create_topic("usage-events", 2, INPUT)
        cls.today = int(time.time() * 1000) // DAY
        cls.traffic = Traffic(cls.services.registry, start=(cls.today - 60) * DAY, seed=3)
        produce(cls.services.kafka.bootstrap, "usage-events", sorted(cls.log(), key=lambda m: m.timestamp))
        cls.count()

    @classmethod
    def event(cls, account: str, now: int, **over: Any) -> Message:
        event = {"user_id": "user-1", "kind": "USAGE", "feature": "api", "quantity": 1.0, "event_id": "", "occurred_at": now}
        return cls.traffic.message(account, cls.traffic.event.encode(cls.traffic.usage(account, now, **{**event, **over})), now)

    @classmethod
    def log(cls) -> Iterator[Message]:
        """loyal: every day to the end. gone-0…3: every day, silent for the last 20. Both in either partition. sunk: silent for 40.
        seated: 25 days, and 1000 seats after the last evaluation. busy: four reasons for an alert in the last days. NUL_GONE, NUL_TEXT: texts with a NUL."""
        for account in ("gone-0", "gone-1", "gone-2", "gone-3"):
            now = (cls.today - 60) * DAY
            yield cls.event(account, now, kind="PROFILE", feature=None, user_id=None,
                            properties={"tier": "gold" if account != "gone-3" else "tin"})
        for account in (NUL_GONE, NUL_TEXT):
            yield cls.event(account, (cls.today - 60) * DAY, kind="PROFILE", feature=None, user_id=None, properties={"tier": "t\0in", "segment": "a\0b"})
        yield cls.event("busy", (cls.today - 33) * DAY + 1, kind="PROFILE", feature=None, user_id=None, properties={
            "contract_start": time.strftime("%Y-%m-%d", time.gmtime((cls.today - 33) * DAY / 1000)), "onboarding_steps": "import",
            "goals": "hours@" + time.strftime("%Y-%m-%d", time.gmtime((cls.today - 5) * DAY / 1000))})
        for k in range(4):
            yield cls.event("busy", (cls.today - 3) * DAY + DAY // 2 + 20_000 + k, kind="TICKET_OPENED", feature=None)
            yield cls.event("busy", (cls.today - 3) * DAY + DAY // 2 + 21_000 + k, kind="SURVEY", feature="csat", quantity=1.0)
        yield cls.event("seated", (cls.today - 1) * DAY + DAY // 2 + 10_000, kind="PROFILE", feature=None, user_id=None, properties={"seats": "1000"})
        yield cls.event("loyal-0", (cls.today - 60) * DAY, kind="PROFILE", feature=None, user_id=None, properties={"entitlements": "api=1000, board=0.5"})
        for day in range(60):
            now = (cls.today - 60 + day) * DAY + DAY // 2
            for k in range(4):
                if day >= 35:
                    yield cls.event("seated", now + 9500 + k)
                if day >= 27:
                    yield cls.event("busy", now + 9600 + k)
                if day < 40:
                    yield cls.event(NUL_GONE, now + 7000 + k)
                    yield cls.event(NUL_TEXT, now + 8000 + k, feature="a\0pi", user_id="u\0ser")
                if day >= 3:
                    yield cls.event(NUL_TEXT, now + 9000 + k, feature="a", user_id="u")
            for n, account in enumerate(("loyal-0", "loyal-1", "loyal-2", "gone-0", "gone-1", "gone-2", "gone-3", "sunk")):
                if account.startswith("loyal") or day < (20 if account == "sunk" else 40):
                    for k in range(4):
                        yield cls.event(account, now + 1000 * n + k, feature="export" if account == "loyal-1" and day == 30 else "api")

    @classmethod
    def over(cls) -> dict:
        return {"threads": 1, "rules_file": str(cls.rules)}

    @classmethod
    def count(cls) -> None:
        until_end(cls.services, "people", **cls.over())

    def uptake(self, *args: str, code: int = EX_OK, **over: Any) -> Result:
        path = self.folder / "uptake.yaml"
        path.write_text(to_yaml(config_for(self.services, {"clock": "log", **self.over(), **over})))
        result = run(*args, "-c", str(path), timeout=120)
        self.assertEqual(result.code, code, f"{args}: {result.out[-2000:]}{result.err[-2000:]}")
        return result

    def alerts(self, **wanted: str) -> list[dict]:
        decoder = Decoder(self.services.registry.schema)
        records = [decoder.decode(m.value) for m in read_topic(self.services.kafka.bootstrap, "churn-alerts")]
        return [r for r in records if all(r[k] == v for k, v in wanted.items())]

    @property
    def redis(self) -> Any:
        return self.services.redis.client()

    def members(self, segment: str) -> set[str]:
        return self.redis.smembers(f"uptake:segment:{{{segment}}}")

    def row(self, account: str) -> dict[str, str]:
        name = account.replace("\0", "%00")
        return self.redis.hgetall(f"uptake:account:{{{name}}}")

    def equal(self) -> None:
        got = json.loads(self.uptake("verify", "--json").out)
        self.assertEqual((got["equal"], got["differences"], got["notes"]), (True, 0, []), got)
        verify(self.services)

    # ---- segments

    def test_01_segments(self) -> None:
        self.assertEqual(self.members(GOLD), {"gone-0", "gone-1", "gone-2"})
        self.assertEqual(self.members(EXPORT), {"loyal-1"})
        self.assertEqual(self.row("gone-0")["segments"], GOLD)
        self.assertNotIn("segments", self.row("gone-3"))
        told = self.alerts(account="gone-0", rule="SEGMENT_ENTER")
        self.assertEqual([(r["action"], r["revision"], r["subject"], r["severity"]) for r in told],
                         [("OPEN", 0, GOLD, "INFO"), ("RESOLVE", 1, GOLD, "INFO")])
        self.assertEqual(told[0]["suggested_play"], "Call them.")
        # Last used 21 days before today: above 5 days at its own minute of the 6th day after.
        opened = told[0]["opened_at"]
        opened = int(opened.timestamp() * 1000) if hasattr(opened, "timestamp") else opened
        self.assertEqual(opened // DAY, self.today - 21 + 6)
        self.assertLess(opened % DAY, 3_600_000)
        self.assertEqual(self.alerts(rule="SEGMENT_EXIT"), [])
        self.equal()

    def test_03_verify_finds_wrong_sets(self) -> None:
        gold = f"uptake:segment:{{{GOLD}}}"
        for command, account, named in (("sadd", "loyal-0", "account loyal-0 at"), ("srem", "gone-1", "account gone-1 at"),
                                        ("sadd", "nobody", f"account nobody: it is in the set of segment {GOLD}")):
            getattr(self.redis, command)(gold, account)
            found = [line for line in self.uptake("verify", code=1).out.splitlines() if line.startswith("DIFF")]
            self.assertEqual(len(found), 1, found)
            self.assertIn(named, found[0])
            getattr(self.redis, "srem" if command == "sadd" else "sadd")(gold, account)
        self.equal()

    def test_02_segments_come_back(self) -> None:
        """A running process finds that Redis lost everything, and that an older set has come back."""
        uptake = Uptake(config_for(self.services, {"clock": "log", **self.over()}), name="repair")
        try:
            uptake.launch()
            uptake.wait_ready()
            wait_until("the first rows", lambda: uptake.metric("uptake_redis_rows_total") > 0, 30, 0.1)
            self.redis.flushall()
            self.redis.sadd(f"uptake:segment:{{{GOLD}}}", "gone-3", "loyal-0")
            wait_until("the sets", lambda: self.members(GOLD) == {"gone-0", "gone-1", "gone-2"}, 30, 0.1)
            wait_until("the other set", lambda: self.members(EXPORT) == {"loyal-1"}, 30, 0.1)
            self.assertEqual(uptake.terminate().code, 0)
        finally:
            uptake.close()
        self.equal()

    # ---- explained

    def test_10_show(self) -> None:
        got = json.loads(self.uptake("show", "gone-0", "--json").out)
        explained = got["explained"]
        risk = explained["risk"]
        self.assertAlmostEqual(risk["base"] + sum(f["log_odds"] for f in risk["factors"]), risk["logit"], places=6)
        self.assertAlmostEqual(1 / (1 + math.exp(-risk["logit"])), risk["probabilities"][0]["probability"], places=5)
        self.assertTrue(all(f["text"] for f in risk["factors"]))
        self.assertEqual(len(explained["usage"]), 30)
        self.assertEqual(sum(day["events"] for day in explained["usage"]), int(self.row("gone-0")["events_30d"]))
        self.assertTrue(any(day["expected"] for day in explained["usage"]))
        self.assertEqual({a["alert_id"] for a in explained["alerts"]}, {a["alert_id"] for a in got["alerts"]})
        self.assertTrue(got["alerts"])
        text = self.uptake("show", "gone-0").out
        for part in ("in the segments " + GOLD, "in log-odds", "to begin with", "\n  use     ", "\n  usual   ", "suggested: ",
                     "SILENCE", risk["change"], got["alerts"][0]["alert_id"]):
            self.assertIn(part, text)
        for factor in risk["factors"]:
            self.assertIn(factor["text"], text)
        for alert in got["alerts"]:  # what a record says is true of its moment, and phases have names
            moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(alert["changed_at"] / 1000))
            self.assertIn(f"\n    as of {moment}: observed ", text)
        sunk = self.uptake("show", "sunk").out
        self.assertIn(": observed DORMANT, expected USAGE; risk", sunk)
        self.assertNotIn("rank of the phase", sunk)
        parts = explained["health"]["components"]
        shares = [part["text"] for part in parts if part["weight"] > 0]
        self.assertGreaterEqual(len(shares), 6)
        score = text[text.index("\nScore, ") : text.index("\nevents ")]
        self.assertEqual([line.split(maxsplit=1)[1] for line in score.splitlines() if re.match(r" +[+-][\d.]+  ", line)], shares)  # in this order and nothing else
        known = text[text.index("\nAlso known\n") :]
        for part in parts:
            if part["weight"] == 0 and part["status"] == "FRESH":
                self.assertIn("\n  " + part["text"] + "\n", known + "\n")
                self.assertNotIn(part["name"].replace("_", " ") + ":", known)
                self.assertRegex(part["text"], r"^[A-Z][^_]*: \S+$")
        order, various = ["CRITICAL", "HIGH", "WARNING", "INFO"], False
        for account in ("gone-0", "gone-1", "gone-2", "gone-3"):  # the worst first
            severities = re.findall(r"(?m)^  (CRITICAL|HIGH|WARNING|INFO) ", self.uptake("show", account).out)
            self.assertEqual(severities, sorted(severities, key=order.index))
            self.assertEqual(len(severities), len(self.listed(account)))
            various = various or len(set(severities)) > 1
        self.assertTrue(various)
        got = json.loads(self.uptake("show", "loyal-0", "--json").out)
        loyal, text = got["explained"], self.uptake("show", "loyal-0").out
        self.assertTrue({use["feature"] for use in loyal["first_uses"]} >= set(got["features"]) > set())
        for use in loyal["first_uses"]:
            self.assertRegex(text, rf"(?m)^ +\d+  {use['feature']}, first used after {use['days']} days?$")
        since = time.strftime("%Y-%m-%d", time.gmtime((self.today - 60) * 86400))
        api = {"name": "api", "units": 120, "entitled": 1000, "share": 0.12, "since": since}
        board = {"name": "board", "units": 0, "entitled": 0.5, "share": 0, "since": since}
        self.assertEqual(loyal["meters"], [api, board])
        self.assertIn(f"\n  api: 120 of 1000, 12% (counted since {since})\n  board: 0 of 0.5, 0% (counted since {since})\n", text)
        self.assertEqual((loyal["risk"]["counterfactual"], loyal["alerts"]), (None, []))
        self.assertTrue(loyal["risk"]["factors"])  # also without an alert

    def test_11_show_between_decisions(self) -> None:
        """What is explained is of the checkpoint, what is in the row of the last daily evaluation: both are said, as what they are."""
        got = json.loads(self.uptake("show", "seated", "--json").out)
        row, explained, text = got["row"], got["explained"], self.uptake("show", "seated").out
        risk, score = explained["risk"]["probabilities"][0]["probability"], explained["health"]["score"]
        self.assertGreater(abs(risk - row["churn_risk_30d"]), 0.001)
        self.assertGreater(abs(score - row["health"]), 0.1)
        self.assertIn(f"\nRisk of churn within 30 days, if decided at the last checkpoint: {100 * risk:.1f}% (last decided: {100 * row['churn_risk_30d']:.1f}%); ", text)
        self.assertIn(f"\nScore, if decided at the last checkpoint: {score:.1f} (last decided: {row['health']:.1f}); points", text)
        self.assertNotIn("last decided", self.uptake("show", "loyal-0").out)

    def test_12_held_back(self) -> None:
        """Three have the account's share of notifications; what came after them is not told of, but in what is shown."""
        got = json.loads(self.uptake("show", "busy", "--json").out)
        self.assertEqual({a["rule"] for a in got["explained"]["alerts"]}, {"ONBOARDING_LATE", "TTV_LATE", "SUPPORT_PAIN"})
        everything, text = got["explained"]["held_back"], self.uptake("show", "busy").out
        held = next(a for a in everything if a["rule"] == "SENTIMENT")
        self.assertEqual((held["subject"], held["severity"]), ("answers are bad", "HIGH"))
        self.assertRegex(held["why"], r"^Held back: at most 3 notifications in 7 days. There is room for it from [\d-]+ [\d:]+ UTC on\.$")
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held["since"] / 1000))
        self.assertIn(f"\nHeld back, so as not to pester: {len(everything)}\n", text)
        self.assertIn(f"\n  SENTIMENT (answers are bad), HIGH, since {since}\n    {held['why']}\n    suggested: ", text)
        self.assertEqual(self.alerts(account="busy", rule="SENTIMENT"), [])
        self.assertNotIn("Held back", self.uptake("show", "loyal-0").out)

    # ---- control

    def listed(self, account: str) -> list[dict]:
        return json.loads(self.uptake("alerts", "list", "--account", account, "--json").out)

    def silence(self, account: str) -> dict:
        return next(a for a in self.listed(account) if a["rule"] == "SILENCE")

    def test_20_alerts_list(self) -> None:
        everything = json.loads(self.uptake("alerts", "list", "--json").out)
        self.assertEqual({a["account"] for a in everything}, {"gone-0", "gone-1", "gone-2", "gone-3", "sunk", "seated", "busy", NUL_GONE, NUL_TEXT})
        self.assertNotIn("SEGMENT_ENTER", {a["rule"] for a in everything})
        for account in ("gone-0", "loyal-0"):
            self.assertEqual(len(self.listed(account)), int(self.row(account)["open_alerts"]))
        text = self.uptake("alerts", "list").out
        self.assertRegex(text, r"(?m)^(HIGH|CRITICAL) +SILENCE +gone-1 ")
        self.assertEqual(len(text.splitlines()), 1 + len(everything))
        self.redis.set("odd:account:{gone-0}", "no hash")  # Redis answers HGET with an error
        for args in ((), ("--json",)):
            said = self.uptake("alerts", "list", *args, code=EX_UNAVAILABLE, redis={"url": self.services.redis.url, "prefix": "odd:"})
            self.assertRegex(said.err, "WRONGTYPE.*; what was acknowledged or snoozed is not known")
            self.assertIn("gone-1", said.out)
        self.redis.delete("odd:account:{gone-0}")

    def test_21_usage(self) -> None:
        for args in (("alerts",), ("alerts", "hide"), ("alerts", "ack"), ("alerts", "ack", "123"), ("alerts", "list", "x1234567"),
                     ("alerts", "close", "12345678"), ("alerts", "snooze", "12345678"),
                     ("alerts", "ack", "12345678", "--until", "7d"), ("alerts", "list", "--by", "me"),
                     ("alerts", "snooze", "12345678", "--until", "later"), ("alerts", "snooze", "12345678", "--until", "367d"),
                     ("alerts", "close", "12345678", "--reason", ""), ("alerts", "close", "12345678", "--reason", "caf\udce9"),
                     ("alerts", "ack", "12345678", "--by", "Ren\udce9")):
            said = self.uptake(*args, code=EX_USAGE).err
            self.assertTrue(said.startswith("uptake alerts: ") and said.count("\n") == 1, said)
        self.assertIn("there is no open alert", self.uptake("alerts", "ack", "00000000", code=EX_DATAERR).err)

    def test_22_ack(self) -> None:
        alert, before, records = self.silence("gone-0"), self.row("gone-0"), len(self.alerts())
        self.assertEqual((alert["acknowledged"], alert["snoozed_until"]), (False, None))
        self.assertIn("ack SILENCE of gone-0 is in usage-events", self.uptake("alerts", "ack", alert["alert_id"][:10]).out)
        self.count()
        self.assertTrue(self.silence("gone-0")["acknowledged"])
        after = self.row("gone-0")
        self.assertEqual(after["controlled_alerts"], alert["alert_id"] + ":ack")
        for field in before:  # days may have passed: windows move on, and nothing was added
            if field.startswith(("events_", "units_", "logins_", "users_", "features_")):
                self.assertLessEqual(float(after[field]), float(before[field]), field)
        self.assertEqual((after["segments"], after["users_total"]), (before["segments"], before["users_total"]))
        self.assertGreater(int(after["last_seen"]), int(before["last_seen"]))
        self.assertIn("acknowledged", self.uptake("show", "gone-0").out)
        self.assertEqual([a for a in self.alerts()[records:] if a["alert_id"] == alert["alert_id"]], [])
        self.equal()

    def test_23_snooze(self) -> None:
        alert = self.silence("gone-1")
        self.uptake("alerts", "snooze", alert["alert_id"], "--until", "7d")
        self.count()
        until = self.silence("gone-1")["snoozed_until"]
        self.assertLess(abs(until - (time.time() * 1000 + 7 * DAY)), 120_000)
        # It comes back, and nothing is said of it.
        now = int(time.time() * 1000)
        later = now + 90_000  # a minute passes, in which segments are judged
        produce(self.services.kafka.bootstrap, "usage-events",
                [self.event(account, at) for at in (now, later) for account in ("gone-1", "gone-2")])
        self.count()
        self.assertEqual(self.alerts(account="gone-2", rule="SILENCE")[-1]["action"], "RESOLVE")
        self.assertNotIn("RESOLVE", {a["action"] for a in self.alerts(account="gone-1", rule="SILENCE")})
        self.assertIn("SILENCE", {a["rule"] for a in self.listed("gone-1")})
        self.assertIn("snoozed until", self.uptake("show", "gone-1").out)
        self.assertEqual([r["action"] for r in self.alerts(account="gone-2", rule="SEGMENT_EXIT")], ["OPEN", "RESOLVE"])
        self.equal()

    def test_24_close(self) -> None:
        alert = self.silence("gone-1")
        self.uptake("alerts", "close", alert["alert_id"], "--reason", "back from holiday", "--by", "ada")
        self.count()
        last = self.alerts(account="gone-1", rule="SILENCE")[-1]
        self.assertEqual((last["action"], last["alert_id"]), ("RESOLVE", alert["alert_id"]))
        self.assertEqual(last["counterfactual"], "Closed by hand by ada: back from holiday")
        self.assertNotIn("SILENCE", {a["rule"] for a in self.listed("gone-1")})
        self.assertNotIn("controlled_alerts", self.row("gone-1"))
        self.assertIn("no open alert", self.uptake("alerts", "ack", alert["alert_id"], code=EX_DATAERR).err)
        self.equal()

    def test_25_texts_with_a_nul(self) -> None:
        """Nothing is left out or cut where an account, a feature, a user or a trait holds one; `verify` is as sure of these accounts (test_01)."""
        everything = json.loads(self.uptake("alerts", "list", "--json").out)
        for account in (NUL_GONE, NUL_TEXT):
            of = [a for a in everything if a["account"] == account]
            self.assertEqual({(a["tier"], a["segment"]) for a in of}, {("t\0in", "a\0b")})
            self.assertEqual(len(of), int(self.row(account)["open_alerts"]))
        abandoned = next(a for a in everything if a["rule"] == "FEATURE_ABANDONED")
        self.assertEqual((abandoned["account"], abandoned["subject"]), (NUL_TEXT, "a\0pi"))
        got = json.loads(self.uptake("show", NUL_TEXT, "--json").out)
        self.assertEqual(set(got["features"]), {"a", "a\0pi"})
        self.assertGreater(got["features"]["a"], got["features"]["a\0pi"])
        self.assertIn(abandoned["alert_id"], {a["alert_id"] for a in got["alerts"]})
        self.assertEqual({a["alert_id"] for a in got["explained"]["alerts"]}, {a["alert_id"] for a in got["alerts"]})
        text = self.uptake("show", NUL_TEXT).out
        for part in ("\nsegment a?b\n", "\ntier t?in\n", "FEATURE_ABANDONED (a?pi) ", "  a?pi, first used after 0 days\n", "  a, first used after 3 days\n",
                     "Use, 30 days"):
            self.assertIn(part, text)
        silence = next(a for a in everything if a["account"] == NUL_GONE and a["rule"] == "SILENCE")
        self.assertEqual(json.loads(self.uptake("alerts", "ack", silence["alert_id"], "--json").out)["account"], NUL_GONE)
        self.count()
        self.assertEqual(self.row(NUL_GONE)["controlled_alerts"], silence["alert_id"] + ":ack")
        everything = json.loads(self.uptake("alerts", "list", "--json").out)
        self.assertEqual([a["alert_id"] for a in everything if a["acknowledged"] and a["account"] == NUL_GONE], [silence["alert_id"]])
        self.assertRegex(self.uptake("alerts", "list").out, r"(?m)^\w+ +SILENCE +n\?ul .* acknowledged$")
        self.assertRegex(self.uptake("alerts", "list").out, r"(?m)^\w+ +FEATURE_ABANDONED +nul-text +a\?pi ")
        self.equal()

    # ---- the page

    def test_30_account_view(self) -> None:
        uptake = Uptake(config_for(self.services, {"clock": "log", **self.over()}), name="page")
        try:
            uptake.launch()
            uptake.wait_ready()
            account = json.loads(uptake.get("/account.json?id=gone-0")[1])
            self.assertEqual([a["acknowledged"] for a in account["explained"]["alerts"] if a["rule"] == "SILENCE"], [True])
            with Browser(1200, 900) as browser:
                browser.open(f"http://127.0.0.1:{uptake.admin_port}/")
                browser.wait_for("[...document.querySelectorAll('#risk button')].some((b) => b.textContent === 'gone-0')")
                browser.js("[...document.querySelectorAll('#risk button')].find((b) => b.textContent === 'gone-0').click()")
                browser.wait_for("document.querySelectorAll('#account-body .chart rect').length === 30")
                shown = browser.js("document.getElementById('account').innerText")
                for part in ("Open alerts", "acknowledged", "Risk: what it is made of", "to begin with", "Health: points",
                             GOLD, account["explained"]["risk"]["change"], account["explained"]["alerts"][0]["suggested_play"]):
                    self.assertIn(part, shown)
                for factor in account["explained"]["risk"]["factors"]:
                    self.assertIn(factor["text"], shown)
                for part in account["explained"]["health"]["components"]:
                    if part["weight"] > 0:
                        self.assertIn(part["text"], shown)
                amounts = browser.js("[...document.querySelectorAll('#account-body .amount')].map((x) => x.textContent)")
                self.assertNotIn("0.00", amounts)  # what has no weight is no part
                browser.js("document.querySelector('#account-body summary').click()")
                browser.wait_for("document.querySelector('#account-body details dt') !== null")
                time.sleep(2.5)  # it is drawn anew each second, and stays open
                self.assertTrue(browser.js("document.querySelector('#account-body details').open"))
                badges = browser.js("[...document.querySelectorAll('#account-body .badge')].map((b) => b.textContent)")
                self.assertEqual(badges, sorted(badges, key=["Critical", "High", "Warning", "Info"].index))
                for width, dark in ((1200, False), (375, False), (375, True)):
                    browser.screenshot(self.folder / f"account-{width}-{dark}.png", width, 800, dark=dark)
                    self.assertTrue(browser.js("document.getElementById('account').scrollWidth <= document.getElementById('account').clientWidth"))
                    self.assertTrue(browser.js("document.documentElement.scrollWidth <= innerWidth"))
                severe = [line for line in browser.console() if "SEVERE" in str(line)]
                self.assertEqual(severe, [])
        finally:
            uptake.close()

    def test_31_account_view_of_a_nul(self) -> None:
        uptake = Uptake(config_for(self.services, {"clock": "log", **self.over()}), name="nul")
        try:
            uptake.launch()
            uptake.wait_ready()
            account = json.loads(uptake.get("/account.json?id=" + NUL_TEXT)[1])
            self.assertEqual({f["feature"] for f in account["features"]}, {"a", "a\0pi"})
            self.assertIn("a\0pi", {a["subject"] for a in account["explained"]["alerts"]})
            self.assertEqual(json.loads(uptake.get("/account.json?id=n%00ul")[1])["account"], NUL_GONE)
            self.assertIn("n\\u0000ul", uptake.get("/status.json")[1])
            self.assertNotIn("Nothing of a running process", run("show", "--model", "-c", str(uptake.config_file)).out)
        finally:
            uptake.close()

    # ---- other rules, forgotten

    def test_40_other_rules(self) -> None:
        self.rules.write_text(RULES.replace(EXPORT, "another"))
        self.count()
        deadline = time.monotonic() + 120
        while self.redis.exists(f"uptake:segment:{{{EXPORT}}}") and time.monotonic() < deadline:
            time.sleep(0.2)  # the last process may have left before its walk was through
            self.count()
        self.assertFalse(self.redis.exists(f"uptake:segment:{{{EXPORT}}}"))
        self.assertEqual(self.members(GOLD), {"gone-0"})  # gone-1, gone-2 have come back
        self.assertEqual(self.alerts(rule="SEGMENT_EXIT", subject=EXPORT), [])

    def test_41_bad_rules(self) -> None:
        self.assertRegex(self.uptake("check").out, r"(?m)^ok +scoring +rules .*rules\.yaml, segments 2, ")
        self.rules.write_text("segments:\n  a:\n    when: {field: logons_7d, from: 1}\n")
        found = self.uptake("check", code=78).out
        self.assertRegex(found, r"rules\.yaml:3: segments\.a\.field: logons_7d; allowed: events_")
        self.rules.write_text(RULES)

    def test_42_forget(self) -> None:
        self.uptake("forget", "gone-0")
        self.count()
        self.assertEqual(self.members(GOLD), set())
        told = self.alerts(account="gone-0", rule="SEGMENT_EXIT")
        self.assertEqual([r["action"] for r in told], ["OPEN", "RESOLVE"])

    def test_43_fleet(self) -> None:
        """DATA_QUALITY is of no account: it is listed, and nobody takes it in hand, or there would be an account of that name. (The record is made here.)"""
        last = [m for m in read_topic(self.services.kafka.bootstrap, "churn-alerts") if m.value][-1]
        schema_id = unframe(last.value)[0]
        codec = Codec(json.dumps(self.services.registry.schema(schema_id)), schema_id)
        alert = codec.decode(last.value) | {"alert_id": "f" * 32, "revision": 0, "action": "OPEN", "rule": "DATA_QUALITY", "account": "_fleet",
                                            "subject": "partition 0", "source_partition": 0}
        produce(self.services.kafka.bootstrap, "churn-alerts", [Message(key=b"_fleet", value=codec.encode(alert))])
        self.assertEqual([a["alert_id"] for a in self.listed("_fleet")], ["f" * 32])
        ends = end_offsets(self.services.kafka.bootstrap, "usage-events")
        for args in (("ack",), ("snooze", "--until", "7d"), ("close", "--reason", "a holiday")):
            self.assertIn("ends by itself", self.uptake("alerts", args[0], "f" * 32, *args[1:], code=EX_DATAERR).err)
        self.assertEqual(end_offsets(self.services.kafka.bootstrap, "usage-events"), ends)

    def test_44_how_often_the_rule_was_right(self) -> None:
        """What an alert's record says of its rule, `show` puts in words. (The record is made here: outcomes take 90 days.)"""
        listed = json.loads(self.uptake("alerts", "list", "--json").out)
        alert_id = next(a["alert_id"] for a in listed if a["account"] != "_fleet")
        messages = [m for m in read_topic(self.services.kafka.bootstrap, "churn-alerts") if m.value]
        schema_id = unframe(messages[-1].value)[0]
        codec = Codec(json.dumps(self.services.registry.schema(schema_id)), schema_id)
        record = [r for r in map(codec.decode, (m.value for m in messages)) if r["alert_id"] == alert_id][-1]
        self.assertEqual((record["precision_estimate"], record["expected_lead_days"]), (None, None))
        worth = {"revision": record["revision"] + 1, "action": "UPDATE", "precision_estimate": 0.6, "expected_lead_days": 14.0}
        produce(self.services.kafka.bootstrap, "churn-alerts", [Message(key=record["account"].encode(), value=codec.encode(record | worth))])
        self.assertIn("so far 60% of this rule's alerts were followed by leaving, for half of them within 14 days",
                      self.uptake("show", record["account"]).out)


if __name__ == "__main__":
    unittest.main()
