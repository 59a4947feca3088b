"""Counts what is reported and what filters flag, and sends the counts to one user at the times that are configured.

The rule notes each occasion among the plugin's values; the observer reads them when a time is due, sends the digest
under a name that makes it once, and forgets what it has told.
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
    Schedules,
    directory,
    kv,
    log,
    send,
)

NOTED = "noted/"
#: Notes read for one digest; more come with the next.
NOTES_MOST = 2000
PAGE = 200


class ReportDigest(AdminRule, Observer, Schedules):
    config_schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "to": {"type": "string", "default": "", "description": "the user name of whoever gets it; empty: nobody"},
            "when": {"type": "string", "default": "every 1d", "description": "`every 6h`, or cron: `0 9 * * 1-5 Asia/Shanghai`"},
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

    def times(self) -> dict[str, str]:
        return {"digest": self.config["when"]} if self.config["to"] else {}

    def event(self, event: Event) -> list[Effect]:
        if event.kind == "schedule":
            self.tell(event)
        return []

    def tell(self, event: Event) -> None:
        keys = noted(event.at_ms)
        if not keys:
            return
        try:
            to = directory.user_named(self.config["to"])
            notes = [json.loads(item.value) for item in map(kv.get, keys) if item]
            send.message(f"user:{to.id}", self.digest(notes, event.at_ms), event.id)
        except AbilityError as error:
            if error.kind in ("unavailable", "timeout"):
                raise Retry(5000, str(error)) from None
            # A conflict: it was sent in an earlier attempt, which was ended among the deletions below.
            if error.kind != "conflict":
                # Nobody of this name, or whoever it is does not want it: what was noted waits for the next digest.
                log.error(f"the digest was not sent: {error}")
                return
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


def noted(until_ms: int) -> list[str]:
    """The keys of the oldest notes from before a time; a second attempt finds the same ones."""
    keys: list[str] = []
    while len(keys) < NOTES_MOST:
        page = kv.keys(NOTED, after=keys[-1] if keys else "", limit=PAGE)
        keys.extend(page)
        if len(page) < PAGE:
            break
    return [key for key in keys if key < f"{NOTED}{until_ms:015}"]


def name_of(user: str) -> str:
    try:
        return directory.user(user).username
    except AbilityError:
        return user
