"""What hooks answer with: plain values with a few ways to make them. Variants of the contract are a tag and, where it
has one, a value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Content = dict[str, Any]


@dataclass
class Reason:
    """A code for programs, a text for an administrator."""

    code: str
    text: str


@dataclass
class Variant:
    """A case of the contract, such as `pass` or `reject` with its reason."""

    tag: str
    value: Any = None


def text_content(content: str | Content) -> str:
    """The JSON of a content: of a text, or as it is given."""
    return json.dumps({"type": "text", "text": content} if isinstance(content, str) else content, ensure_ascii=False)


@dataclass
class Hit:
    """A place in a text, counted in characters: `start` is in it, `end` is not. `level`: `mask`, `reject` or `hold`."""

    start: int
    end: int
    level: str
    rule: str

    @staticmethod
    def every(text: str, word: str, level: str, rule: str) -> list[Hit]:
        """A hit on every place a word stands, exactly as it is written."""
        hits: list[Hit] = []
        start = text.find(word) if word else -1
        while start >= 0:
            end = start + len(word)
            hits.append(Hit(start, end, level, rule))
            start = text.find(word, end)
        return hits


@dataclass
class Effect:
    """A thing the host does when, and only when, the decision is committed."""

    kind: str
    key: str
    value: bytes

    @staticmethod
    def put(key: str, value: str | bytes) -> Effect:
        """Keep a value under a key of the plugin's own."""
        return Effect("kv-put", key, value.encode() if isinstance(value, str) else value)

    @staticmethod
    def delete(key: str) -> Effect:
        """Forget what is kept under a key."""
        return Effect("kv-delete", key, b"")

    @staticmethod
    def send(to: str, content: str | Content) -> Effect:
        """A message of the plugin's own account, to `user:ID` or `conversation:ID`."""
        return Effect("send", to, text_content(content).encode())


@dataclass
class Decision:
    """What `decide` answers."""

    verdict: Variant
    audience: list[str] | None = None
    silent: bool = False
    recall_window_ms: int | None = None
    effects: list[Effect] = field(default_factory=list)

    @staticmethod
    def allow() -> Decision:
        """Go on as it stands."""
        return Decision(Variant("pass"))

    @staticmethod
    def replace(content: str | Content) -> Decision:
        """Go on with this content instead: a text, or a content of the protocol."""
        return Decision(Variant("replace", text_content(content)))

    @staticmethod
    def reject(code: str, text: str) -> Decision:
        """Refuse. `blocked`, `muted`, `forbidden`, `too-late` and `rate-limited` are the protocol's own errors."""
        return Decision(Variant("reject", Reason(code, text)))

    @staticmethod
    def hold(code: str, text: str) -> Decision:
        """Keep it back until an administrator decides."""
        return Decision(Variant("hold", Reason(code, text)))

    @staticmethod
    def drop(code: str, text: str) -> Decision:
        """Take it without keeping it."""
        return Decision(Variant("drop", Reason(code, text)))

    def and_(self, effect: Effect) -> Decision:
        """The same, with one more thing the host does for the plugin."""
        self.effects.append(effect)
        return self


@dataclass
class Usage:
    """A name the plugin answers to, and what it does."""

    name: str
    summary: str


@dataclass
class Answer:
    """What a command is answered with."""

    outcome: Variant
    effects: list[Effect] = field(default_factory=list)

    @staticmethod
    def done() -> Answer:
        """It is done, and there is nothing to say."""
        return Answer(Variant("done"))

    @staticmethod
    def reply(content: str | Content) -> Answer:
        """The sender alone sees this."""
        return Answer(Variant("reply", text_content(content)))

    @staticmethod
    def send(content: str | Content) -> Answer:
        """Send this as a message of the sender."""
        return Answer(Variant("send", text_content(content)))

    @staticmethod
    def as_typed() -> Answer:
        """Send the text as it stands, as if the name were unknown."""
        return Answer(Variant("pass"))

    @staticmethod
    def reject(code: str, text: str) -> Answer:
        """Refuse it; the codes are those of `Decision.reject`."""
        return Answer(Variant("reject", Reason(code, text)))

    def and_(self, effect: Effect) -> Answer:
        """The same, with one more thing the host writes for the plugin."""
        self.effects.append(effect)
        return self


@dataclass
class Action:
    """Something the host is to do because of a rule, about the occasion's own user, address or device, or `subject`."""

    kind: str
    text: str = ""
    subject: str = ""
    for_ms: int = 0

    @staticmethod
    def ban_user(reason: str) -> Action:
        return Action("ban-user", reason)

    @staticmethod
    def ban_address(reason: str) -> Action:
        return Action("ban-address", reason)

    @staticmethod
    def ban_device(reason: str) -> Action:
        return Action("ban-device", reason)

    @staticmethod
    def mute_user(reason: str) -> Action:
        return Action("mute-user", reason)

    @staticmethod
    def end_sessions() -> Action:
        return Action("end-sessions")

    @staticmethod
    def label(code: str) -> Action:
        return Action("label", code)

    @staticmethod
    def unlabel(code: str) -> Action:
        return Action("unlabel", code)

    @staticmethod
    def notify(text: str) -> Action:
        """Tell administrators."""
        return Action("notify", text)

    @staticmethod
    def keep(key: str, value: str) -> Action:
        """Keep a text of at most 500 characters under a key of the plugin's own."""
        return Action("kv-put", value, key)

    @staticmethod
    def forget(key: str) -> Action:
        """Forget what is kept under a key."""
        return Action("kv-delete", "", key)

    def on(self, subject: str) -> Action:
        """The same, of somebody else: a user's id, an address, a device's id."""
        self.subject = subject
        return self

    def lasting_ms(self, time: int) -> Action:
        """The same, for a time."""
        self.for_ms = time
        return self


@dataclass
class Judgement:
    """What a rule says."""

    ruling: Variant
    actions: list[Action] = field(default_factory=list)

    @staticmethod
    def abstain() -> Judgement:
        """Somebody else may rule."""
        return Judgement(Variant("abstain"))

    @staticmethod
    def allow() -> Judgement:
        """It may be, and no later rule is asked."""
        return Judgement(Variant("allow"))

    @staticmethod
    def deny(code: str, text: str) -> Judgement:
        return Judgement(Variant("deny", Reason(code, text)))

    @staticmethod
    def require_approval(code: str, text: str) -> Judgement:
        return Judgement(Variant("require-approval", Reason(code, text)))

    def and_(self, action: Action) -> Judgement:
        """The same, and one thing more to do."""
        self.actions.append(action)
        return self


class Need(Variant):
    """What the state of the version before needs, before this one takes over."""

    @staticmethod
    def compatible() -> Need:
        """It goes on with what is there."""
        return Need("compatible")

    @staticmethod
    def migrate() -> Need:
        """It wants another form, which `migrate` makes in a copy."""
        return Need("migrate")

    @staticmethod
    def rebuild(commits: int) -> Need:
        """It begins with nothing, and its observer is shown so many of the newest commits."""
        return Need("rebuild", commits)


@dataclass
class Kept:
    """A key and what is kept under it: None where it is not there, or is not to be. `ends_at_ms`: 0 for never."""

    key: str
    value: bytes | None = None
    ends_at_ms: int = 0

    @staticmethod
    def gone(key: str) -> Kept:
        """The key is not to be there."""
        return Kept(key)

    def under(self, key: str) -> Kept:
        """The same value and end, under another key."""
        return Kept(key, self.value, self.ends_at_ms)

    def with_(self, value: str | bytes) -> Kept:
        """The same key and end, with another value."""
        return Kept(self.key, value.encode() if isinstance(value, str) else value, self.ends_at_ms)


@dataclass
class Observed:
    """How far a batch came: events that are done with, what each leads to (by its place), when the rest comes again."""

    done: int = 0
    effects: list[tuple[int, Effect]] = field(default_factory=list)
    retry: Any = None
