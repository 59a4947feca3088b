"""Counts what is reported and what filters flag, and sends the counts to one user when enough time has passed.

The rule notes each occasion among the plugin's values; the observer reads them with the next entry that is committed,
sends the digest under a name that makes it once, and forgets what it has told.
"""

import json
from collections import Counter
from datetime import datetime, timezone

from kith_plugin import (
    AbilityError,
    Action,
    AdminRule,
    Effect,
    Event,
    Judgement,
    Observer,
    Occasion,
    Retry,
    directory,
    kv,
    log,
    send,
)

NOTED = "noted/"
SENT = "sent"
#: Notes read for one digest; more come with the next.
NOTES_MOST = 2000
PAGE = 200


class ReportDigest(AdminRule, Observer):
    config_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "to": {"type": "string", "default": "", "description": "the user name of whoever gets it; empty: nobody"},
            "every_s": {"type": "integer", "minimum": 1, "maximum": 2592000, "default": 86400, "description": "seconds between two"},
            "names_most": {"type": "integer", "minimum": 0, "maximum": 50, "default": 5, "description": "users it names"},
        },
    }

    def report_filed(self, occasion: Occasion) -> Judgement:
        return self.note("report", occasion)

    def content_flagged(self, occasion: Occasion) -> Judgement:
        return self.note(occasion.text or "flagged", occasion)

    def note(self, kind: str, occasion: Occasion) -> Judgement:
        if not self.config["to"]:
            return Judgement.abstain()
        # The time first: notes are read in the order they were made.
        key = f"{NOTED}{occasion.at_ms:015}-{occasion.actor or occasion.conversation}-{occasion.user}"
        about = json.dumps({"kind": kind, "user": occasion.user, "what": occasion.what})
        return Judgement.abstain().and_(Action.keep(key, about))

    def event(self, event: Event) -> list[Effect]:
        if self.config["to"] and event.kind == "entry" and self.is_due(event.at_ms):
            self.tell(event)
        return []

    def is_due(self, at_ms: int) -> bool:
        kept = kv.get(SENT)
        if kept is None:
            # The first entry it sees begins the first stretch.
            kv.put(SENT, str(at_ms))
            return False
        return at_ms - int(kept.value) >= self.config["every_s"] * 1000

    def tell(self, event: Event) -> None:
        keys = noted()
        try:
            if keys:
                to = directory.user_named(self.config["to"])
                notes = [json.loads(item.value) for item in map(kv.get, keys) if item]
                send.message(f"user:{to.id}", self.digest(notes, event.at_ms), f"digest-{event.id}")
        except AbilityError as error:
            if error.kind in ("unavailable", "timeout"):
                raise Retry(5000, str(error)) from None
            # Nobody of this name, or whoever it is does not want it: what was noted waits for the next digest.
            log.error(f"the digest was not sent: {error}")
            keys = []
        kv.put(SENT, str(event.at_ms))
        for key in keys:
            kv.delete(key)

    def digest(self, notes: list[dict], at_ms: int) -> str:
        kinds = Counter(note["kind"] for note in notes)
        users = Counter(note["user"] for note in notes if note["user"])
        until = datetime.fromtimestamp(at_ms // 1000, timezone.utc).isoformat(" ")
        lines = [f"{len(notes)} since the last digest, until {until:.16} UTC"]
        lines += [f"{kind}: {count}" for kind, count in kinds.most_common()]
        for user, count in users.most_common(self.config["names_most"]):
            lines.append(f"{name_of(user)}: {count}")
        return "\n".join(lines)


def noted() -> list[str]:
    """The keys of the oldest notes."""
    keys: list[str] = []
    while len(keys) < NOTES_MOST:
        page = kv.keys(NOTED, after=keys[-1] if keys else "", limit=PAGE)
        keys.extend(page)
        if len(page) < PAGE:
            break
    return keys


def name_of(user: str) -> str:
    try:
        return directory.user(user).username
    except AbilityError:
        return user
