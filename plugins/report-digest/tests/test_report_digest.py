"""What the plugin notes and tells, under plain Python; fixtures/ runs it as a component."""

import json
import types
import unittest

from kith_plugin import AbilityError, Event, Item, Occasion, Retry
from kith_plugin.abilities import connect
from report_digest import NOTED, ReportDigest

DAY_MS = 24 * 60 * 60 * 1000
CONFIG = {"to": "chief", "when": "every 1d", "names_most": 5}


class Host:
    """Values, users and messages in memory."""

    def __init__(self):
        self.values, self.sent, self.refuses = {}, [], None
        kv = types.SimpleNamespace(get=self.get, put=self.put, delete=lambda key, _: self.values.pop(key), keys=self.keys)
        user = types.SimpleNamespace(id="9", username="chief")
        directory = types.SimpleNamespace(user_named=lambda _: user, user_by_id=lambda id: types.SimpleNamespace(username=f"user{id}"))
        send = types.SimpleNamespace(message=self.send)
        connect({"kv": kv, "directory": directory, "send": send})

    def get(self, key):
        return Item(self.values[key], 1) if key in self.values else None

    def put(self, key, value, _, __):
        self.values[key] = value
        return 1

    def send(self, *message):
        if self.refuses:
            raise AbilityError(self.refuses, "")
        self.sent.append(message)

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

    def due(self, at_ms):
        return Event(id=f"schedule-digest-{at_ms}", kind="schedule", text="digest", at_ms=at_ms)

    def test_reports_are_noted_and_told_once(self):
        self.assertEqual(self.plugin.times(), {"digest": "every 1d"})
        for number in range(450):
            self.note(number, "7")
        self.plugin.event(Event(id="e1", at_ms=DAY_MS))
        self.assertEqual(self.host.sent, [])
        self.note(DAY_MS + 1, "7")
        self.plugin.event(self.due(DAY_MS))
        ((to, content, once),) = self.host.sent
        self.assertEqual((to, once), ("user:9", f"schedule-digest-{DAY_MS}"))
        self.assertIn("report: 450\nuser7: 450", json.loads(content)["text"])
        self.assertEqual(len(self.host.values), 1, "what was noted later waits")
        self.plugin.event(self.due(2 * DAY_MS))
        self.plugin.event(self.due(3 * DAY_MS))
        self.assertEqual(len(self.host.sent), 2, "without notes there is no digest")
        self.assertEqual(self.host.values, {})

    def test_an_attempt_that_was_ended_is_gone_on_with(self):
        for number in range(3):
            self.note(number, "7")
        self.host.refuses = "unavailable"
        with self.assertRaises(Retry):
            self.plugin.event(self.due(DAY_MS))
        self.host.refuses = "invalid"
        self.plugin.event(self.due(DAY_MS))
        self.assertEqual(len(self.host.values), 3)
        self.host.refuses = "conflict"
        self.plugin.event(self.due(DAY_MS))
        self.assertEqual(self.host.values, {})

    def test_without_anybody_to_tell_nothing_is_noted(self):
        silent = ReportDigest({**CONFIG, "to": ""})
        self.assertEqual(silent.judge(Occasion("report-filed", user="7")).actions, [])
        self.assertEqual(silent.times(), {})
        self.assertEqual(self.host.values, {})

    def test_what_filters_hold_is_noted_as_that(self):
        asked = Occasion("content-flagged", user="7", conversation="c1", what="word-filter", text="hold", at_ms=5)
        (action,) = self.plugin.judge(asked).actions
        self.assertTrue(action.subject.startswith(NOTED))
        self.assertEqual(json.loads(action.text)["kind"], "hold")


if __name__ == "__main__":
    unittest.main()
