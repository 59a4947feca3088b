"""What hooks are asked with. Inside a component the host's own records come, which have the same fields; these are for
type checkers and tests, with every field at its default. wit/v1 says what each means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class Fact:
    """Something the host tells beside the fixed fields."""

    name: str
    value: str


class HasFacts(Protocol):
    """Whatever is asked with."""

    facts: list[Fact]


def fact(asked: HasFacts, name: str) -> str | None:
    """A fact's value; None where the host tells none of this name."""
    known: Iterable[Fact] = asked.facts
    return next((fact.value for fact in known if fact.name == name), None)


@dataclass
class Text:
    """One text about to be stored: wit/v1/content-filter.wit."""

    text: str
    place: str = "message"


@dataclass
class RecentEntry:
    """An entry already in the conversation."""

    seq: int
    sender: str
    at_ms: int
    kind: str
    text: str


@dataclass
class Command:
    """What a client asks for: wit/v1/message-strategy.wit."""

    operation: str = "send"
    conversation: str = ""
    conversation_kind: str = "direct"
    sender: str = ""
    sender_role: str = ""
    peer: str = ""
    peer_role: str = ""
    blocked: bool = False
    blocking: bool = False
    friends: bool = False
    muted: bool = False
    unanswered: int = 0
    answered: bool = False
    content_type: str = "text"
    text: str = ""
    at_ms: int = 0
    target_sender: str = ""
    target_age_ms: int = 0
    recent: list[RecentEntry] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)


@dataclass
class Invocation:
    """What a user types as `/name …`: wit/v1/command.wit."""

    name: str
    arguments: str = ""
    conversation: str = ""
    conversation_kind: str = "direct"
    sender: str = ""
    sender_role: str = ""
    peer: str = ""
    blocked: bool = False
    blocking: bool = False
    friends: bool = False
    mentions: list[str] = field(default_factory=list)
    reply_to: int = 0
    at_ms: int = 0
    facts: list[Fact] = field(default_factory=list)


@dataclass
class Occasion:
    """What is asked or has happened: wit/v1/admin-rule.wit."""

    kind: str
    user: str = ""
    username: str = ""
    actor: str = ""
    address: str = ""
    device: str = ""
    device_kind: str = ""
    conversation: str = ""
    what: str = ""
    text: str = ""
    at_ms: int = 0
    facts: list[Fact] = field(default_factory=list)


@dataclass
class Event:
    """Something that was committed: wit/v1/events.wit."""

    id: str = ""
    kind: str = "entry"
    conversation: str = ""
    conversation_kind: str = "direct"
    seq: int = 1
    at_ms: int = 0
    sender: str = ""
    entry_kind: str = "message"
    content_type: str = "text"
    text: str = ""
    content: str = ""
    target: int = 0
    attempt: int = 0
    facts: list[Fact] = field(default_factory=list)
