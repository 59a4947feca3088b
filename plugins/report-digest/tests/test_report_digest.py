"""What the plugin notes and tells, under plain Python; fixtures/ runs it as a component."""

import json
import types
import unittest

from kith_plugin import Event, Item, Occasion
from kith_plugin.abilities import connect
from report_digest import NOTED, SENT, ReportDigest

DAY_MS = 24 * 60 * 60 * 1000
CONFIG = {"to": "chief", "every_s": 86400, "names_most": 5}


class Host:
    """Values, users and messages in memory."""

    def __init__(self):
        self.values, self.sent = {}, []
        kv = types.SimpleNamespace(get=self.get, put=self.put, delete=lambda key, _: self.values.pop(key), keys=self.keys)
        user = types.SimpleNamespace(id="9", username="chief")
        directory = types.SimpleNamespace(user_named=lambda _: user, user_by_id=lambda id: types.SimpleNamespace(username=f"user{id}"))
        send = types.SimpleNamespace(message=lambda *message: self.sent.append(message))
        connect({"kv": kv, "directory": directory, "send": send})

    def get(self, key):
        return Item(self.values[key], 1) if key in self.values else None

    def put(self, key, value, _, __):
        self.values[key] = value
        return 1

    def keys(self, prefix, after, limit):
        return sorted(key for key in self.values if key.startswith(prefix) and key > after)[:limit]


class Tests(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(connect, {})
        self.plugin = ReportDigest(CONFIG)

    def note(self, number, user):
        asked = Occasion("report-filed", user=user, actor=str(number), what="spam", at_ms=number)
        (action,) = self.plugin.judge(asked).actions
        self.host.values[action.subject] = action.text.encode()

    def test_reports_are_noted_and_told_once(self):
        self.plugin.event(Event(id="e1", at_ms=1000))
        for number in range(450):
            self.note(number, "7")
        self.plugin.event(Event(id="e2", at_ms=1000 + DAY_MS - 1))
        self.assertEqual(self.host.sent, [])
        self.plugin.event(Event(id="e3", at_ms=1000 + DAY_MS))
        ((to, content, once),) = self.host.sent
        self.assertEqual((to, once), ("user:9", "digest-e3"))
        self.assertIn("report: 450\nuser7: 450", json.loads(content)["text"])
        self.assertEqual(list(self.host.values), [SENT])
        self.plugin.event(Event(id="e4", at_ms=2000 + DAY_MS))
        self.assertEqual(len(self.host.sent), 1)

    def test_without_anybody_to_tell_nothing_is_noted(self):
        silent = ReportDigest({**CONFIG, "to": ""})
        self.assertEqual(silent.judge(Occasion("report-filed", user="7")).actions, [])
        self.assertEqual(silent.event(Event(at_ms=1)), [])
        self.assertEqual(self.host.values, {})

    def test_what_filters_hold_is_noted_as_that(self):
        asked = Occasion("content-flagged", user="7", conversation="c1", what="word-filter", text="hold", at_ms=5)
        (action,) = self.plugin.judge(asked).actions
        self.assertTrue(action.subject.startswith(NOTED))
        self.assertEqual(json.loads(action.text)["kind"], "hold")


if __name__ == "__main__":
    unittest.main()
