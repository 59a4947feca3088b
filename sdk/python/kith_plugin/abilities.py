"""The host's abilities. Those after the commit do what is granted during a call of `event` or `respond`; everywhere else
they raise an AbilityError of kind `denied`. Outside a component nothing is there, unless a test gives it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .values import Content, text_content

T = TypeVar("T")

_host: dict[str, Any] = {}
_declared: list[str] | None = None


def connect(imports: dict[str, Any], abilities: list[str] | None = None) -> None:
    """The generated entry of a component, or a test, says what is there."""
    global _host, _declared
    _host, _declared = imports, abilities


class AbilityError(Exception):
    """Why an ability did not do it: `kind` is the contract's word, such as `denied`, `quota` or `not-found`."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind


# Without a host there is none of these, and asking again cannot mend it.
_SERVICES = ("knowledge", "llm")


def _ask(ability: str, call: Callable[[Any], T]) -> T:
    reached = _host.get(ability)
    if reached is None:
        if _declared is None or ability in _declared:
            raise AbilityError("not-configured" if ability in _SERVICES else "unavailable", "there is no host")
        # Not `unavailable`: asking again cannot mend it.
        raise AbilityError("denied", f'"{ability}" is not among the abilities in pyproject.toml')
    try:
        return call(reached)
    except AbilityError:
        raise
    except Exception as error:
        case = getattr(error, "value", None)
        _, is_case, name = type(case).__name__.partition("Error_")
        if not is_case:
            raise
        kind = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
        raise AbilityError(kind, getattr(case, "value", "")) from None


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


class _Log:
    """Lines for whoever looks after the plugin. Outside a component they go to stderr."""

    def debug(self, text: str) -> None:
        self._write("debug", text)

    def info(self, text: str) -> None:
        self._write("info", text)

    def warn(self, text: str) -> None:
        self._write("warn", text)

    def error(self, text: str) -> None:
        self._write("error", text)

    def _write(self, level: str, text: str) -> None:
        writer = _host.get("log")
        if writer is None:
            print(f"{level}: {text}", file=sys.stderr)
        else:
            writer.write(writer.Level[level.upper()], text)


def now_ms() -> int:
    """The message's time, milliseconds since 1970 UTC; 0 outside a call on a message."""
    clock = _host.get("clock")
    return clock.now_ms() if clock else 0


class _Snapshot:
    """What the plugin has written, for hooks on the message's path; all reads of one call see one moment."""

    def get(self, key: str) -> bytes | None:
        return _ask("kv-snapshot", lambda kept: kept.get(key))


@dataclass
class Item:
    """A value and its version."""

    value: bytes
    version: int


class _Kv:
    """The plugin's own keys and values, after the commit."""

    def get(self, key: str) -> Item | None:
        return _ask("kv", lambda kept: kept.get(key))

    def put(self, key: str, value: str | bytes, expected: int | None = None, ttl_ms: int | None = None) -> int:
        """Writes at once; the new version. `expected`: only over this version, 0 for a key that is not there."""
        return _ask("kv", lambda kept: kept.put(key, _bytes(value), expected, ttl_ms))

    def delete(self, key: str, expected: int | None = None) -> None:
        _ask("kv", lambda kept: kept.delete(key, expected))

    def keys(self, prefix: str, after: str = "", limit: int = 200) -> list[str]:
        """Keys that begin with a prefix, in order, after one; at most 200."""
        return _ask("kv", lambda kept: kept.keys(prefix, after, limit))


class _Directory:
    """Who there is. What comes back has the fields of wit/v1/abilities-after.wit, in snake case."""

    def user(self, id: str) -> Any:
        return _ask("directory", lambda known: known.user_by_id(id))

    def user_named(self, username: str) -> Any:
        return _ask("directory", lambda known: known.user_named(username))

    def relation(self, user: str, other: str) -> Any:
        return _ask("directory", lambda known: known.relation_of(user, other))

    def members(self, conversation: str, after: str = "", limit: int = 200) -> list[Any]:
        return _ask("directory", lambda known: known.members(conversation, after, limit))


class _History:
    """Entries of conversations: the newest below `before` (0: all), oldest first."""

    def before(self, conversation: str, before: int = 0, limit: int = 100) -> list[Any]:
        return _ask("history", lambda kept: kept.before(conversation, before, limit))


@dataclass
class Header:
    name: str
    value: str


@dataclass
class Request:
    """A request to a host that is granted."""

    url: str
    method: str = "GET"
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""
    timeout_ms: int = 0


@dataclass
class Response:
    """What a host answered."""

    status: int
    headers: list[Header]
    body: bytes


class _Http:
    """Requests to hosts the administrator has allowed."""

    def fetch(self, request: Request) -> Response:
        return _ask("http", lambda web: web.fetch(request))


class _Send:
    """Messages as the plugin's own account."""

    def message(self, to: str, content: str | Content, once: str) -> Any:
        """`to` is `user:ID` or `conversation:ID`; under the same `once` it is sent once. Its conversation and seq."""
        return _ask("send", lambda post: post.message(to, text_content(content), once))


class _Reply:
    """The answer to the message a responder was called for."""

    def open(self) -> int:
        return _ask("reply", lambda answers: answers.open())

    def write(self, reply: int, delta: str) -> None:
        _ask("reply", lambda answers: answers.write(reply, delta))

    def finish(self, reply: int) -> int:
        """Commits what was written as one message; its seq."""
        return _ask("reply", lambda answers: answers.finish(reply))

    def hand_over(self, reason: str) -> None:
        _ask("reply", lambda answers: answers.hand_over(reason))

    def say(self, text: str) -> int:
        """A whole answer at once; its seq."""
        number = self.open()
        self.write(number, text)
        return self.finish(number)


class _Metrics:
    """Numbers for whoever looks after the plugin."""

    def add(self, name: str, count: int) -> None:
        _ask("metrics", lambda numbers: numbers.add(name, count))

    def set(self, name: str, value: float) -> None:
        _ask("metrics", lambda numbers: numbers.set(name, value))


class _Random:
    """Random bytes, at most 4096."""

    def bytes(self, length: int) -> bytes:
        return _ask("random", lambda source: source.bytes(length))


@dataclass
class Message:
    """Said to a model; the role is `system`, `user` or `assistant`."""

    role: str
    text: str


@dataclass
class Prompt:
    """What a model is asked; the empty model is the server's own."""

    messages: list[Message]
    model: str = ""
    max_tokens: int = 0
    temperature: float = 0.0


class _Llm:
    """Language models. A server that has none answers `not-configured`."""

    def open(self, prompt: Prompt) -> int:
        """Begins an answer; its number."""
        return _ask("llm", lambda models: models.open(prompt))

    def next(self, answer: int) -> str | None:
        """Waits for the next piece of text; None at the end."""
        return _ask("llm", lambda models: models.next(answer))

    def finish(self, answer: int) -> Any:
        """Ends an answer, wherever it is; its `input_tokens`, `output_tokens` and `ended`."""
        return _ask("llm", lambda models: models.finish(answer))

    def ask(self, prompt: Prompt) -> str:
        """A whole answer at once."""
        answer = self.open(prompt)
        text = ""
        while (piece := self.next(answer)) is not None:
            text += piece
        self.finish(answer)
        return text


class _Knowledge:
    """The knowledge base. A server that has none answers `not-configured`."""

    def search(self, query: str, base: str = "", limit: int = 5) -> list[Any]:
        """Passages (`document`, `title`, `text`, `url`, `score`), the best first, at most 20; the empty base is the
        server's own."""
        return _ask("knowledge", lambda bases: bases.search(base, query, limit))


log = _Log()
snapshot = _Snapshot()
kv = _Kv()
directory = _Directory()
history = _History()
http = _Http()
send = _Send()
reply = _Reply()
metrics = _Metrics()
random = _Random()
llm = _Llm()
knowledge = _Knowledge()
