//! What hooks answer with: plain values with a few ways to make them. The names and their meaning are the contract's
//! (wit/v1), the fields in camel case.

import { encode } from "./text.js";

const textContent = (text) => JSON.stringify({ type: "text", text });
const asJson = (content) => (typeof content === "string" ? content : JSON.stringify(content));
const reason = (tag, code, text) => ({ tag, val: { code, text } });

/** A fact the host tells beside the fixed fields; undefined where it tells none of this name. */
export function fact(asked, name) {
  return asked.facts.find((known) => known.name === name)?.value;
}

/** A place in a text, counted in Unicode characters (not in UTF-16 units): `start` is in it, `end` is not. */
export class Hit {
  constructor(start, end, level, rule) {
    Object.assign(this, { start, end, level, rule });
  }

  /** A hit on every place a word stands, exactly as it is written. */
  static every(text, word, level, rule) {
    const hits = [];
    if (word === "") return hits;
    const length = [...word].length;
    let units = 0;
    let characters = 0;
    for (let found = text.indexOf(word); found >= 0; found = text.indexOf(word, units)) {
      const start = characters + [...text.slice(units, found)].length;
      hits.push(new Hit(start, start + length, level, rule));
      units = found + word.length;
      characters = start + length;
    }
    return hits;
  }
}

/** A thing the host does when, and only when, the decision is committed. */
export class Effect {
  constructor(kind, key, value) {
    Object.assign(this, { kind, key, value });
  }

  /** Keep a value (text or bytes) under a key of the plugin's own. */
  static put(key, value) {
    return new Effect("kv-put", key, typeof value === "string" ? encode(value) : value);
  }

  /** Forget what is kept under a key. */
  static delete(key) {
    return new Effect("kv-delete", key, new Uint8Array());
  }

  /** A message of the plugin's own account, to `user:ID` or `conversation:ID`: a text, or a content of the protocol. */
  static send(to, content) {
    const isText = typeof content === "string";
    return new Effect("send", to, encode(isText ? textContent(content) : JSON.stringify(content)));
  }
}

/** What `decide` answers. */
export class Decision {
  constructor(verdict) {
    Object.assign(this, { verdict, audience: null, silent: false, recallWindowMs: null, effects: [] });
  }

  /** Go on as it stands. */
  static pass() {
    return new Decision({ tag: "pass" });
  }

  /** Go on with this content of the protocol instead. */
  static replace(content) {
    return new Decision({ tag: "replace", val: asJson(content) });
  }

  /** Refuse. `blocked`, `muted`, `forbidden`, `too-late` and `rate-limited` are the protocol's own errors. */
  static reject(code, text) {
    return new Decision(reason("reject", code, text));
  }

  /** Keep it back until an administrator decides. */
  static hold(code, text) {
    return new Decision(reason("hold", code, text));
  }

  /** Take it without keeping it. */
  static drop(code, text) {
    return new Decision(reason("drop", code, text));
  }

  /** The same, with one more thing the host does for the plugin. */
  and(effect) {
    this.effects.push(effect);
    return this;
  }
}

/** A name the plugin answers to, and what it does. */
export class Usage {
  constructor(name, summary) {
    Object.assign(this, { name, summary });
  }
}

/** What a command is answered with. */
export class Answer {
  constructor(outcome) {
    Object.assign(this, { outcome, effects: [] });
  }

  /** It is done, and there is nothing to say. */
  static done() {
    return new Answer({ tag: "done" });
  }

  /** The sender alone sees this: a text, or a content of the protocol. */
  static reply(content) {
    return new Answer({ tag: "reply", val: typeof content === "string" ? textContent(content) : JSON.stringify(content) });
  }

  /** Send this as a message of the sender. */
  static send(content) {
    return new Answer({ tag: "send", val: typeof content === "string" ? textContent(content) : JSON.stringify(content) });
  }

  /** Send the text as it stands, as if the name were unknown. */
  static pass() {
    return new Answer({ tag: "pass" });
  }

  /** Refuse it; the codes are those of `Decision.reject`. */
  static reject(code, text) {
    return new Answer(reason("reject", code, text));
  }

  /** The same, with one more thing the host writes for the plugin. */
  and(effect) {
    this.effects.push(effect);
    return this;
  }
}

/** Something the host is to do because of a rule. Without `on` it is about the occasion's own user, address or device. */
export class Action {
  constructor(kind, text) {
    Object.assign(this, { kind, subject: "", forMs: 0, text });
  }

  static banUser(reason) {
    return new Action("ban-user", reason);
  }

  static banAddress(reason) {
    return new Action("ban-address", reason);
  }

  static banDevice(reason) {
    return new Action("ban-device", reason);
  }

  static muteUser(reason) {
    return new Action("mute-user", reason);
  }

  static endSessions() {
    return new Action("end-sessions", "");
  }

  static label(code) {
    return new Action("label", code);
  }

  static unlabel(code) {
    return new Action("unlabel", code);
  }

  /** Tell administrators. */
  static notify(text) {
    return new Action("notify", text);
  }

  /** Keep a text of at most 500 characters under a key of the plugin's own. */
  static keep(key, text) {
    return new Action("kv-put", text).on(key);
  }

  /** Forget what is kept under a key. */
  static forget(key) {
    return new Action("kv-delete", "").on(key);
  }

  /** The same, of somebody else: a user's id, an address, a device's id. */
  on(subject) {
    this.subject = subject;
    return this;
  }

  /** The same, for a time. */
  lastingMs(time) {
    this.forMs = time;
    return this;
  }
}

/** What a rule says. */
export class Judgement {
  constructor(ruling) {
    Object.assign(this, { ruling, actions: [] });
  }

  /** Somebody else may rule. */
  static abstain() {
    return new Judgement({ tag: "abstain" });
  }

  /** It may be, and no later rule is asked. */
  static allow() {
    return new Judgement({ tag: "allow" });
  }

  static deny(code, text) {
    return new Judgement(reason("deny", code, text));
  }

  static requireApproval(code, text) {
    return new Judgement(reason("require-approval", code, text));
  }

  /** The same, and one thing more to do. */
  and(action) {
    this.actions.push(action);
    return this;
  }
}

/** What the state of the version before needs, before this one takes over. */
export class Need {
  constructor(tag, val) {
    Object.assign(this, val === undefined ? { tag } : { tag, val });
  }

  /** It goes on with what is there. */
  static compatible() {
    return new Need("compatible");
  }

  /** It wants another form, which `migrate` makes in a copy. */
  static migrate() {
    return new Need("migrate");
  }

  /** It begins with nothing, and its observer is shown so many of the newest commits. */
  static rebuild(commits) {
    return new Need("rebuild", commits);
  }
}

/** A key and what is kept under it: bytes, or null where it is not there, or is not to be. `endsAtMs`: 0 for never. */
export class Kept {
  constructor(key, value = null, endsAtMs = 0) {
    Object.assign(this, { key, value: typeof value === "string" ? encode(value) : value, endsAtMs });
  }

  /** The key is not to be there. */
  static gone(key) {
    return new Kept(key);
  }

  /** The same value and end, under another key. */
  under(key) {
    return new Kept(key, this.value, this.endsAtMs);
  }

  /** The same key and end, with another value: text or bytes. */
  with(value) {
    return new Kept(this.key, value, this.endsAtMs);
  }
}

/** How far a batch came: events that are done with, what they lead to (`{event, effect}`), when the rest is to come again. */
export class Observed {
  constructor(done = 0, effects = [], retry = null) {
    Object.assign(this, { done, effects, retry });
  }
}
