"""The kit under plain Python: what hooks answer by default, how hits are counted, how errors reach the host."""

import json
import re
import sys
import types
import unittest
from dataclasses import dataclass
from pathlib import Path

from kith_plugin import (
    AbilityError,
    AdminRule,
    Answer,
    ContentFilter,
    Decision,
    Effect,
    Event,
    Hit,
    Kept,
    MessageStrategy,
    Need,
    Occasion,
    Observer,
    Retry,
    Schedules,
    Text,
    Upgrade,
    Message,
    Prompt,
    knowledge,
    kv,
    llm,
)
from kith_plugin import Command as Asked
from kith_plugin.abilities import connect
from kith_plugin.component import component


def about(*hooks, abilities=()):
    wished = {hook: {} for hook in hooks}
    return {"name": "tried", "version": "0.1.0", "summary": "Tried.", "hooks": wished, "abilities": list(abilities)}


@dataclass(frozen=True)
class Err(Exception):
    """As the bindings have it."""

    value: object


class Kit(unittest.TestCase):
    def setUp(self):
        bindings = types.ModuleType("componentize_py_types")
        bindings.Err = Err
        sys.modules["componentize_py_types"] = bindings
        self.addCleanup(sys.modules.pop, "componentize_py_types")
        self.addCleanup(connect, {})

    def test_hits_are_counted_in_characters(self):
        hits = Hit.every("梨𝄞 a pear, pear", "pear", "mask", "rule")
        self.assertEqual([(hit.start, hit.end) for hit in hits], [(5, 9), (11, 15)])
        self.assertEqual(Hit.every("pear", "", "mask", "rule"), [])

    def test_what_is_not_overridden_lets_everything_pass(self):
        self.assertEqual(ContentFilter({}).scan(Text("x")), [])
        self.assertEqual(MessageStrategy({}).decide(Asked()), Decision.allow())
        self.assertEqual(AdminRule({}).judge(Occasion("login")).ruling.tag, "abstain")
        self.assertEqual(AdminRule({}).judge(Occasion("unheard-of")).ruling.tag, "abstain")
        self.assertEqual(Observer({}).observe([Event(), Event()]).done, 2)

    def test_a_batch_ends_at_the_event_that_is_to_come_again(self):
        class Second(Observer):
            def event(self, event):
                if event.seq == 2:
                    raise Retry(500, "not yet")
                return [Effect.send("user:ann", f"seq {event.seq}")]

        parts = component(Second, about("observer"), {})
        parts["Lifecycle"]().configure(b"{}")
        observed = parts["Observer"]().observe([Event(seq=seq) for seq in (1, 2, 3)])
        self.assertEqual((observed.done, observed.retry.after_ms, observed.retry.reason), (1, 500, "not yet"))
        sent = json.loads(observed.effects[0].effect.value)
        self.assertEqual(sent, {"type": "text", "text": "seq 1"})

    def test_an_init_that_raises_refuses_the_configuration_with_its_text(self):
        class Strict(ContentFilter):
            def __init__(self, config):
                super().__init__(config)
                if not config.get("word"):
                    raise ValueError("word must not be empty")

        lifecycle = component(Strict, about("content-filter"), {})["Lifecycle"]()
        with self.assertRaises(Err) as refused:
            lifecycle.configure(b"{}")
        self.assertEqual(refused.exception.value, "word must not be empty")
        lifecycle.configure(b'{"word":"pear"}')
        with self.assertRaises(Err) as refused:
            lifecycle.configure(b'{"word":"pear"}')
        self.assertEqual(refused.exception.value, "configured twice")

    def test_an_error_of_a_hook_is_told_to_the_log_with_its_place(self):
        class Broken(ContentFilter):
            def scan(self, text):
                return text.absent

        lines = []
        log = types.SimpleNamespace(Level={"ERROR": "error"}, write=lambda *line: lines.append(line))
        parts = component(Broken, about("content-filter"), {"log": log})
        parts["Lifecycle"]().configure(b"{}")
        with self.assertRaises(AttributeError):
            parts["ContentFilter"]().scan([Text("x")])
        self.assertEqual(lines[0][0], "error")
        self.assertIn("at scan", lines[0][1])

    def test_a_plugin_names_its_times_and_is_called_with_a_name(self):
        class Daily(Observer, Schedules):
            def times(self):
                return {"digest": self.config["when"]}

            def event(self, event):
                return [Effect.send("user:ann", event.text)] if event.kind == "schedule" else []

        parts = component(Daily, {**about("observer"), "schedules": True}, {})
        parts["Lifecycle"]().configure(b'{"when": "every 1d"}')
        (time,) = parts["Schedules"]().times()
        self.assertEqual((time.name, time.when), ("digest", "every 1d"))
        observed = parts["Observer"]().observe([Event(kind="schedule", text="digest")])
        self.assertEqual(json.loads(observed.effects[0].effect.value)["text"], "digest")
        with self.assertRaises(SystemExit) as refused:
            component(Daily, about("observer"), {})
        self.assertIn("does not name schedules", str(refused.exception))
        with self.assertRaises(SystemExit) as refused:
            component(Observer, {**about("observer"), "schedules": True}, {})
        self.assertIn("is no Schedules", str(refused.exception))

    def test_a_version_says_what_becomes_of_the_keys_of_the_one_before(self):
        class Counter(Observer, Upgrade):
            def needs(self, from_version):
                if from_version.startswith("0."):
                    raise ValueError(f"nothing is known of {from_version}")
                return Need.migrate() if from_version.startswith("1.") else Need.rebuild(500)

            def migrate(self, from_version, items):
                return [kept for item in items for kept in (item.under(f"n/{item.key}"), Kept.gone(item.key))]

        bindings = types.ModuleType("wit_world.exports.upgrade")
        bindings.Need_Migrate = lambda: "migrate"
        bindings.Need_Rebuild = lambda commits: ("rebuild", commits)
        sys.modules["wit_world.exports.upgrade"] = bindings
        self.addCleanup(sys.modules.pop, "wit_world.exports.upgrade")
        parts = component(Counter, {**about("observer"), "upgrade": True}, {})
        parts["Lifecycle"]().configure(b"{}")
        upgrade = parts["Upgrade"]()
        self.assertEqual(upgrade.needs("1.2.0"), "migrate")
        self.assertEqual(upgrade.needs("2.0.0"), ("rebuild", 500))
        with self.assertRaises(Err) as refused:
            upgrade.needs("0.1.0")
        self.assertEqual(refused.exception.value, "nothing is known of 0.1.0")
        item = types.SimpleNamespace(key="ann", value=b"3", ends_at_ms=7)
        self.assertEqual(upgrade.migrate("1.2.0", [item]), [Kept("n/ann", b"3", 7), Kept("ann")])
        self.assertEqual(Kept("a").with_("4"), Kept("a", b"4"))
        with self.assertRaises(SystemExit) as refused:
            component(Counter, about("observer"), {})
        self.assertIn("does not name upgrade", str(refused.exception))
        with self.assertRaises(SystemExit) as refused:
            component(Observer, {**about("observer"), "upgrade": True}, {})
        self.assertIn("is no Upgrade", str(refused.exception))

    def test_a_manifest_that_does_not_fit_the_class_is_an_error_of_the_build(self):
        for made, hooks, says in [
            (ContentFilter, ["content-filter", "command"], "names the hook command"),
            (ContentFilter, [], "does not name the hook content-filter"),
            (dict, [], "no class that extends Plugin"),
        ]:
            with self.assertRaises(SystemExit) as refused:
                component(made, about(*hooks), {})
            self.assertIn(says, str(refused.exception))

    def test_an_ability_that_is_not_there_says_why(self):
        connect({})
        with self.assertRaisesRegex(AbilityError, "no host"):
            kv.get("key")
        connect({}, ["send"])
        with self.assertRaisesRegex(AbilityError, '"kv" is not among the abilities') as refused:
            kv.get("key")
        self.assertEqual(refused.exception.kind, "denied")

        Error_NotFound = dataclass(type("Error_NotFound", (), {"__annotations__": {"value": str}}))

        def get(_):
            raise Err(Error_NotFound("no such key"))

        connect({"kv": types.SimpleNamespace(get=get)})
        with self.assertRaises(AbilityError) as refused:
            kv.get("key")
        self.assertEqual(refused.exception.kind, "not-found")

    def test_a_service_that_is_not_there_is_not_configured(self):
        prompt = Prompt([Message("user", "hello")])
        connect({})
        for ask in (lambda: llm.open(prompt), lambda: knowledge.search("hours")):
            with self.assertRaises(AbilityError) as refused:
                ask()
            self.assertEqual(refused.exception.kind, "not-configured")
        connect({}, ["kv"])
        with self.assertRaises(AbilityError) as refused:
            llm.open(prompt)
        self.assertEqual(refused.exception.kind, "denied")

        ServiceError_NotConfigured = dataclass(
            type("ServiceError_NotConfigured", (), {"__annotations__": {"value": str}})
        )

        def search(base, query, limit):
            raise Err(ServiceError_NotConfigured(f"no {base or 'base'} for {query}, {limit}"))

        pieces = iter(["Good ", "day", None])
        models = types.SimpleNamespace(open=lambda _: 3, next=lambda _: next(pieces), finish=lambda _: None)
        connect({"llm": models, "knowledge": types.SimpleNamespace(search=search)})
        self.assertEqual(llm.ask(prompt), "Good day")
        with self.assertRaisesRegex(AbilityError, "not-configured: no base for hours, 2"):
            knowledge.search("hours", limit=2)

    def test_answers_carry_contents_of_the_protocol(self):
        self.assertEqual(json.loads(Answer.reply("hello").outcome.value), {"type": "text", "text": "hello"})
        self.assertEqual(Answer.done().and_(Effect.put("key", "é")).effects[0].value, "é".encode())

    def test_the_examples_of_the_readme_run(self):
        text = (Path(__file__).parent.parent / "README.md").read_text()
        examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertEqual(len(examples), 2)
        for example in examples:
            exec(compile(example, "README.md", "exec"), {})


if __name__ == "__main__":
    unittest.main()
