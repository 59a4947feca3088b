"""From a plugin's class to what a component exports. Called by the entry that `kith plugin build` generates; runs once
while the component is made, so that mistakes in the manifest are errors of the build.
"""

from __future__ import annotations

import builtins
import heapq  # noqa: F401 (collections.Counter imports it when it is first asked)
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import plugin as hooks
from .abilities import connect, log
from .plugin import Plugin, Retry
from .values import Kept, Variant

_CLASSES: dict[str, type[Plugin]] = {
    "content-filter": hooks.ContentFilter,
    "message-strategy": hooks.MessageStrategy,
    "command": hooks.Commands,
    "admin-rule": hooks.AdminRule,
    "observer": hooks.Observer,
    "responder": hooks.Responder,
}


@dataclass
class _Wish:
    hook: str
    order: int = 100
    scope: str = "all"
    on_failed: str = ""
    on_absent: str = ""
    budget_us: int = 0
    recent: int = 0


@dataclass
class _Description:
    name: str
    version: str
    summary: str
    config_schema: str
    hooks: list[_Wish]


@dataclass
class _Schedule:
    name: str
    when: str


@dataclass
class _Decision:
    verdict: Any
    audience: list[str] | None
    notify: str
    recall_window_ms: int | None
    effects: list[Any]


@dataclass
class _Judgement:
    ruling: Any
    actions: list[Any]


@dataclass
class _Answer:
    outcome: Any
    effects: list[Any]


@dataclass
class _EventEffect:
    event: int
    effect: Any


@dataclass
class _Again:
    after_ms: int
    reason: str


@dataclass
class _Observed:
    done: int
    effects: list[_EventEffect]
    retry: _Again | None


class _Own:
    """The plugin once it is configured."""

    plugin: Any = None

    def __call__(self) -> Any:
        if self.plugin is None:
            raise RuntimeError("the host configures before it calls")
        return self.plugin


def component(made: type[Plugin], about: dict[str, Any], imports: dict[str, Any]) -> dict[str, type]:
    """The classes the component exports, by their names in the bindings. `about`: name, version, summary, hooks,
    schedules, upgrade, abilities."""
    _check(made, about)
    connect(imports, about["abilities"])
    own = _Own()
    parts = {"Lifecycle": _lifecycle(made, about, own)}
    if issubclass(made, hooks.Preparation):
        parts["Preparation"] = _preparation(made)
    if about.get("schedules"):
        parts["Schedules"] = _schedules(own)
    if about.get("upgrade"):
        parts["Upgrade"] = _upgrade(own)
    makers = {
        "content-filter": _content_filter,
        "message-strategy": _message_strategy,
        "command": _command,
        "admin-rule": _admin_rule,
        "observer": _observer,
        "responder": _responder,
    }
    for hook in about["hooks"]:
        part = makers[hook](own)
        parts[part.__name__] = part
    return parts


def _check(made: type[Plugin], about: dict[str, Any]) -> None:
    name = about["name"]
    if not (isinstance(made, type) and issubclass(made, Plugin)):
        raise SystemExit(f"{name}: what tool.kith.plugin names is no class that extends Plugin")
    for part, wanted in (("schedules", hooks.Schedules), ("upgrade", hooks.Upgrade)):
        if about.get(part, False) == issubclass(made, wanted):
            continue
        if about.get(part):
            raise SystemExit(f"{name}: pyproject.toml names {part}, and the class is no {wanted.__name__}")
        raise SystemExit(f"{name}: pyproject.toml does not name {part}, and the class extends {wanted.__name__}")
    for hook, wanted in _CLASSES.items():
        if hook in about["hooks"] and not issubclass(made, wanted):
            raise SystemExit(f"{name}: pyproject.toml names the hook {hook}, and the class is no {wanted.__name__}")
        if hook not in about["hooks"] and issubclass(made, wanted):
            raise SystemExit(f"{name}: the class is a {wanted.__name__}, and pyproject.toml does not name the hook {hook}")


def _told(error: BaseException) -> str:
    """An error with its places. The library's own way reads the sources, which are not there."""
    lines = [f"{type(error).__name__}: {error}"]
    place = error.__traceback__
    while place is not None:
        code = place.tb_frame.f_code
        lines.append(f"    at {code.co_name} ({code.co_filename}:{place.tb_lineno})")
        place = place.tb_next
    return "\n".join(lines)


def seal() -> None:
    """There is no clock and no chance inside a component: has the library say so, where it would only trap."""

    def none(what: str, instead: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"a plugin has no {what} of its own: use {instead}")

        return call

    for clock in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"):
        setattr(time, clock, none("clock", "kith_plugin.now_ms()"))
    os.urandom = none("randomness", "kith_plugin.random.bytes()")
    random.random = none("randomness", "kith_plugin.random.bytes()")


def _only_what_is_there(find: Callable[..., Any]) -> Callable[..., Any]:
    """Modules come from files, which a component has none of; what was imported when it was made is there."""

    def find_or_tell(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if level == 0 and name not in sys.modules:
            raise ImportError(f"{name} is not in the component: import it at the top of the plugin's module")
        return find(name, globals, locals, fromlist, level)

    return find_or_tell


def _err(value: Any) -> BaseException:
    return importlib.import_module("componentize_py_types").Err(value)


def _telling(call: Callable[..., Any]) -> Any:
    """An error of the plugin goes to the log before the instance ends."""
    try:
        return call()
    except Exception as error:
        log.error(_told(error))
        raise


def _refusing(call: Callable[[], Any]) -> Any:
    """An error is a refusal with its text; what is not a ValueError is told to the log too."""
    try:
        return call()
    except Exception as error:
        if not isinstance(error, ValueError):
            log.error(_told(error))
        raise _err(str(error) or type(error).__name__) from None


def _case(module: str, variant: str, case: Variant) -> Any:
    """A variant of the bindings: `Verdict_Pass()`, `Ruling_RequireApproval(reason)`."""
    name = "".join(word.capitalize() for word in case.tag.split("-"))
    kind = getattr(importlib.import_module(f"wit_world.exports.{module}"), f"{variant}_{name}")
    return kind() if case.value is None else kind(case.value)


def _lifecycle(made: type[Plugin], about: dict[str, Any], own: _Own) -> type:
    class Lifecycle:
        def describe(self) -> _Description:
            wishes = [_Wish(hook, **wished) for hook, wished in about["hooks"].items()]
            schema = json.dumps(made.config_schema)
            return _Description(about["name"], about["version"], about["summary"], schema, wishes)

        def configure(self, config: bytes) -> None:
            def make() -> None:
                if own.plugin is not None:
                    raise ValueError("configured twice")
                if sys.platform == "wasi":
                    builtins.__import__ = _only_what_is_there(builtins.__import__)
                own.plugin = made(config if issubclass(made, hooks.Preparation) else json.loads(config))

            _refusing(make)

        def self_test(self) -> None:
            _refusing(lambda: own().self_test())

    return Lifecycle


def _preparation(made: Any) -> type:
    class Preparation:
        def prepare(self, config: bytes) -> bytes:
            return _refusing(lambda: made.prepare(json.loads(config)))

    return Preparation


def _schedules(own: _Own) -> type:
    class Schedules:
        def times(self) -> list[Any]:
            return _telling(lambda: [_Schedule(name, when) for name, when in own().times().items()])

    return Schedules


def _upgrade(own: _Own) -> type:
    class Upgrade:
        def needs(self, from_version: str) -> Any:
            return _case("upgrade", "Need", _refusing(lambda: own().needs(from_version)))

        def migrate(self, from_version: str, items: list[Any]) -> list[Any]:
            shown = [Kept(item.key, item.value, item.ends_at_ms) for item in items]
            return _refusing(lambda: list(own().migrate(from_version, shown)))

    return Upgrade


def _content_filter(own: _Own) -> type:
    class ContentFilter:
        def scan(self, texts: list[Any]) -> list[list[Any]]:
            return _telling(lambda: [list(own().scan(text)) for text in texts])

    return ContentFilter


def _message_strategy(own: _Own) -> type:
    class MessageStrategy:
        def decide(self, command: Any) -> _Decision:
            said = _telling(lambda: own().decide(command))
            verdict = _case("message_strategy", "Verdict", said.verdict)
            notify = "silent" if said.silent else "push"
            return _Decision(verdict, said.audience, notify, said.recall_window_ms, said.effects)

    return MessageStrategy


def _command(own: _Own) -> type:
    class Command:
        def names(self) -> list[Any]:
            return _telling(lambda: own().names())

        def run(self, invocation: Any) -> _Answer:
            said = _telling(lambda: own().run(invocation))
            return _Answer(_case("command", "Outcome", said.outcome), said.effects)

    return Command


def _admin_rule(own: _Own) -> type:
    class AdminRule:
        def judge(self, occasion: Any) -> _Judgement:
            said = _telling(lambda: own().judge(occasion))
            return _Judgement(_case("admin_rule", "Ruling", said.ruling), said.actions)

    return AdminRule


def _observer(own: _Own) -> type:
    class Observer:
        def observe(self, events: list[Any]) -> _Observed:
            said = _telling(lambda: own().observe(events))
            effects = [_EventEffect(event, effect) for event, effect in said.effects]
            retry = said.retry and _Again(said.retry.after_ms, said.retry.reason)
            return _Observed(said.done, effects, retry)

    return Observer


def _responder(own: _Own) -> type:
    class Responder:
        def respond(self, event: Any, account: str) -> None:
            try:
                own().respond(event, account)
            except Retry as retry:
                raise _err(_Again(retry.after_ms, retry.reason)) from None
            except Exception as error:
                log.error(_told(error))
                raise _err(_Again(1000, str(error) or type(error).__name__)) from None

    return Responder
