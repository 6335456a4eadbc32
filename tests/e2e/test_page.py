"""The live page in a browser, before a port that answers what a process can hardly be made to."""

from __future__ import annotations

import json
import time
import unittest
from pathlib import Path
from typing import Any

from support.browser import Browser
from support.fakes import Registry

PAGE = Path(__file__).resolve().parents[2] / "ingest/admin/page.html"
STATUS = {"now": 0, "ready": True, "uptime_seconds": 1, "group": "g", "instance": "i", "version": "v", "partitions": [],
          "redis": {"up": True, "missing": {}}, "at_risk": [{"account": "acme", "risk": 0.5}]}
ACCOUNT = {"account": "acme", "row": {"tier": "gold"}, "explained": None, "features": []}


class Page(unittest.TestCase):
    def setUp(self) -> None:
        self.port = Registry()
        self.addCleanup(self.port.close)
        self.browser = Browser(1000, 800)
        self.addCleanup(self.browser.close)
        self.given: list[str] = []
        self.port.answers["/"] = lambda handler: handler.reply(200, PAGE.read_bytes(), **{"Content-Type": "text/html"})

    def open(self) -> None:
        self.browser.open(self.port.url.replace("localhost", "127.0.0.1") + "/")

    def guarded(self, handler: Any) -> None:
        self.given.append(handler.headers.get("Authorization", ""))
        good = self.given[-1] == "Bearer secret word"
        handler.reply(200 if good else 401, json.dumps(STATUS if good else {"error": "a bearer token is needed"}).encode())

    def give(self, token: str) -> None:
        self.browser.wait_for("document.getElementById('token').open")
        self.browser.js(f"(document.getElementById('token-value').value = {json.dumps(token)}, document.querySelector('#token button').click())")

    def test_token(self) -> None:
        """One that no browser can send is told; a dialog that was closed by Esc comes again."""
        self.port.answers["/status.json"] = self.guarded
        self.open()
        self.give("gehei\u0142m")
        self.assertIn("ASCII", self.browser.js("document.getElementById('token-error').textContent"))
        self.assertTrue(self.browser.js("document.getElementById('token').open"))
        self.assertEqual(self.given, [""])
        time.sleep(1.5)  # nothing is asked while it is open
        self.assertEqual(self.given, [""])
        self.browser.js("document.getElementById('token').close()")
        self.browser.wait_for("document.getElementById('token').open", 10)
        self.give("wrong")
        self.browser.wait_for("document.getElementById('token-error').textContent.includes('refused')", 10)
        self.give("secret word")
        self.browser.wait_for("document.getElementById('state').dataset.state === 'live'", 10)
        self.assertEqual(self.given[:4], ["", "", "Bearer wrong", "Bearer secret word"])

    def test_redis_away(self) -> None:
        """The badge does not say Live while Redis is away."""
        state = "[document.getElementById('state').dataset.state, document.getElementById('state-text').textContent]"
        away = {"up": False, "reason": "127.0.0.1:1: Connection refused", "missing": {}}
        for n, (redis, wanted) in enumerate(((STATUS["redis"], ["live", "Live"]), (away, ["lost", "Redis is away"]), (STATUS["redis"], ["live", "Live"]))):
            self.port.answers["/status.json"] = (200, json.dumps({**STATUS, "redis": redis}).encode())
            if n == 0:
                self.open()
            self.browser.wait_for(f"JSON.stringify({state}) === {json.dumps(json.dumps(wanted, separators=(',', ':')))}", 10)

    def test_account_that_is_gone(self) -> None:
        """Facts of one that was forgotten go; those that cannot be asked for stay, and are said to be old."""
        self.port.answers["/status.json"] = (200, json.dumps(STATUS).encode())
        self.port.answers["/account.json"] = (200, json.dumps(ACCOUNT).encode())
        said = "(document.getElementById('account-empty').hidden ? '' : document.getElementById('account-empty').textContent)"
        self.open()
        self.browser.wait_for("document.querySelector('#risk button') !== null")
        self.browser.js("document.querySelector('#risk button').click()")
        self.browser.wait_for("document.getElementById('account-body').innerText.includes('gold')")
        self.assertEqual(self.browser.js(said), "")
        self.port.answers["/account.json"] = (503, b'{"error": "Redis is away"}')
        self.browser.wait_for(f"{said} === 'What follows is old: Redis is away'", 10)
        self.assertIn("gold", self.browser.js("document.getElementById('account-body').innerText"))
        self.port.answers["/account.json"] = (200, json.dumps(ACCOUNT).encode())
        self.browser.wait_for(f"{said} === ''", 10)
        self.port.answers["/account.json"] = (404, b'{"error": "no row for this account"}')
        self.browser.wait_for(f"{said} === 'no row for this account'", 10)
        self.assertEqual(self.browser.js("document.getElementById('account-body').childElementCount"), 0)

    def test_account_between_decisions(self) -> None:
        """What is explained is of now, the row of the last daily evaluation; where they differ that is said."""
        explained = {"alerts": [], "usage": [], "health": {"score": 70.04, "components": []},
                     "risk": {"base": -2, "factors": [], "change": "", "probabilities": [{"horizon_days": 30, "probability": 0.154}]}}
        self.port.answers["/status.json"] = (200, json.dumps(STATUS).encode())
        said = "(document.querySelector('#account-body > .change') || {}).textContent"
        self.open()
        self.browser.wait_for("document.querySelector('#risk button') !== null")
        for risk, health, wanted in ((0.096, 79.2, "risk within 30 days 15 %, health 70."), (0.154, 79.2, "health 70."), (0.096, 70, "risk within 30 days 15 %."),
                                     (0.1541, 70.0, None)):
            row = {"tier": f"tier {risk} {health}", "churn_risk_30d": risk, "health": health}
            self.port.answers["/account.json"] = (200, json.dumps({**ACCOUNT, "row": row, "explained": explained}).encode())
            self.browser.js("document.querySelector('#risk button').click()")
            self.browser.wait_for(f"document.getElementById('account-body').innerText.includes({json.dumps(row['tier'])})", 10)
            shown = self.browser.js(said)
            self.assertEqual(shown, wanted and f"If decided now: {wanted} Above is what was decided last, once a day; what follows is of now.")

    def test_held_back(self) -> None:
        """What the cap holds back is in the account view, and by its names with the alerts that came meanwhile, beside their reasons."""
        explained = {"alerts": [], "usage": [], "health": {"score": None, "components": []},
                     "risk": {"base": -2, "factors": [], "change": "", "probabilities": []},
                     "held_back": [{"rule": "SENTIMENT", "severity": "WARNING", "since": 0, "subject": "answers are bad", "why": "Held back: at most 3.",
                                    "suggested_play": "Call them."}]}
        text = "Held back meanwhile: SENTIMENT."
        alert = {"alert_id": "1", "revision": 1, "action": "ESCALATE", "severity": "HIGH", "rule": "SILENCE", "account": "acme", "opened_at": 0, "changed_at": 0,
                 "factors": [{"name": "days_silent", "text": "Silent.", "log_odds": 1}, {"name": "held_back", "text": text, "log_odds": 0}]}
        self.port.answers["/status.json"] = (200, json.dumps({**STATUS, "alerts": [alert]}).encode())
        self.port.answers["/account.json"] = (200, json.dumps({**ACCOUNT, "explained": explained}).encode())
        self.open()
        self.browser.wait_for("document.querySelector('#alerts li.alert') !== null")
        self.assertEqual(self.browser.js("[...document.querySelectorAll('#alerts .factors li')].map((li) => li.innerText.trim()).join('|').replace(/\\s+/g, ' ')"), "▲ Silent.")
        self.assertIn(text, self.browser.js("document.getElementById('alerts').innerText"))
        self.browser.js("document.querySelector('#risk button').click()")
        self.browser.wait_for("document.getElementById('account-body').innerText.includes('gold')", 10)
        shown = self.browser.js("document.getElementById('account-body').innerText")
        for part in ("Sentiment (answers are bad)", "Held back: at most 3.", "Call them."):
            self.assertIn(part, shown)


if __name__ == "__main__":
    unittest.main()
