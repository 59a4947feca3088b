"""What a plugin's class extends: one class for each hook, with a default body for every function. A plugin with two hooks
extends two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .asked import Command, Event, Invocation, Occasion, Text
from .values import Answer, Decision, Effect, Hit, Judgement, Kept, Need, Observed, Usage


class Retry(Exception):
    """Raised by `event` and `respond`: call again, later."""

    def __init__(self, after_ms: int, reason: str) -> None:
        super().__init__(reason)
        self.after_ms = after_ms
        self.reason = reason


class Plugin:
    """What every plugin is. Its name, version and summary are pyproject.toml's."""

    #: JSON Schema of the configuration object, defaults included.
    config_schema: ClassVar[dict[str, Any]] = {"type": "object"}

    def __init__(self, config: Any) -> None:
        """`config` is the configuration with its defaults; raise ValueError to refuse it."""
        self.config = config

    def self_test(self) -> None:
        """Checked before the version may serve; raise to refuse it."""


class Preparation(Plugin):
    """For long work on a configuration, done once: the bytes reach `__init__` in the configuration's place."""

    @staticmethod
    def prepare(config: Any) -> bytes:
        raise NotImplementedError


class Schedules(Plugin):
    """Wants to be called by the clock: its `schedule` where it is an AdminRule, its `event` where it is an Observer."""

    def times(self) -> dict[str, str]:
        """When, by names: `every 10m`, or five fields of cron and a time zone. Asked once under the configuration."""
        raise NotImplementedError


class Upgrade(Plugin):
    """Keeps other things than the versions before it."""

    def needs(self, from_version: str) -> Need:
        """What the state of the version before needs. Asked before this version takes over; raise ValueError to refuse it."""
        raise NotImplementedError

    def migrate(self, from_version: str, items: list[Kept]) -> list[Kept]:
        """Some keys of the version before: those to be written over them in the copy. A key that is written or deleted
        meanwhile is shown again."""
        return []


class ContentFilter(Plugin):
    """Finds what must not be said. Called on the sender's path: be quick, be pure."""

    def scan(self, text: Text) -> list[Hit]:
        """The hits in one text; none to let it pass."""
        return []


class MessageStrategy(Plugin):
    """How a command of a client is treated. Called on the sender's path: be quick, be pure."""

    def decide(self, command: Command) -> Decision:
        return Decision.allow()


class Commands(Plugin):
    """What a user types as `/name …`. Called on the sender's path: be quick, be pure."""

    def names(self) -> list[Usage]:
        """Which commands there are under the configuration. Asked once."""
        raise NotImplementedError

    def run(self, invocation: Invocation) -> Answer:
        raise NotImplementedError


class AdminRule(Plugin):
    """Administrators' rules. Called before what is asked is done: be quick, be pure."""

    def register(self, occasion: Occasion) -> Judgement:
        """Somebody registers."""
        return Judgement.abstain()

    def login(self, occasion: Occasion) -> Judgement:
        """Somebody signs in."""
        return Judgement.abstain()

    def connect(self, occasion: Occasion) -> Judgement:
        """Somebody connects."""
        return Judgement.abstain()

    def action(self, occasion: Occasion) -> Judgement:
        """An administrator does something."""
        return Judgement.abstain()

    def report_filed(self, occasion: Occasion) -> Judgement:
        """Somebody was reported; only the actions count."""
        return Judgement.abstain()

    def content_flagged(self, occasion: Occasion) -> Judgement:
        """A filter rejected or held what somebody wrote; only the actions count."""
        return Judgement.abstain()

    def schedule(self, occasion: Occasion) -> Judgement:
        """A time of `Schedules` is due, `what` is its name; only the actions count."""
        return Judgement.abstain()

    def judge(self, occasion: Occasion) -> Judgement:
        """Every occasion. Kinds that are not known abstain."""
        asked = {
            "register": self.register,
            "login": self.login,
            "connect": self.connect,
            "action": self.action,
            "report-filed": self.report_filed,
            "content-flagged": self.content_flagged,
            "schedule": self.schedule,
        }.get(occasion.kind)
        return asked(occasion) if asked else Judgement.abstain()


class Observer(Plugin):
    """Sees everything that is committed, each event at least once, in order."""

    def event(self, event: Event) -> Iterable[Effect]:
        """One event: the effects it leads to; raise `Retry` when it is to come again."""
        return []

    def observe(self, events: list[Event]) -> Observed:
        """A batch: each event in turn, up to the first that is to come again."""
        observed = Observed()
        for place, event in enumerate(events):
            try:
                effects = [(place, effect) for effect in self.event(event)]
            except Retry as retry:
                observed.retry = retry
                break
            observed.effects.extend(effects)
            observed.done += 1
        return observed


class Responder(Plugin):
    """Answers messages in conversations of the account it is bound to, through the ability `reply`."""

    def respond(self, event: Event, account: str) -> None:
        """A message of somebody else; `account` is the id it answers as. Raise `Retry` to be called again."""
