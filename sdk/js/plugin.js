//! What a plugin's class extends: its configuration, and a default body for every function of every hook. Which hooks
//! the component exports says package.json; what is not overridden lets everything pass.

import { answered, effects } from "./answers.js";
import { Decision, Judgement, Need, Observed } from "./values.js";

const OCCASIONS = {
  register: "register",
  login: "login",
  connect: "connect",
  action: "action",
  "report-filed": "reportFiled",
  "content-flagged": "contentFlagged",
  schedule: "schedule",
};

/** Thrown by `event` and `respond`: call again, later. */
export class Retry extends Error {
  constructor(afterMs, reason) {
    super(reason);
    this.afterMs = afterMs;
  }
}

/** A plugin. `config` is the configuration with its defaults; throw in the constructor to refuse it. */
export class Plugin {
  /** JSON Schema of the configuration object, defaults included. */
  static configSchema = { type: "object" };

  constructor(config) {
    this.config = config;
  }

  /** Checked before the version may serve; throw to refuse it. */
  selfTest() {}

  // schedules

  /** When it wants to be called, by names: `every 10m`, or five fields of cron and a time zone. Asked once. */
  times() {
    return {};
  }

  // upgrade

  /** What the state of the version before needs. Asked before this version takes over; throw to refuse it. */
  needs(_fromVersion) {
    return Need.compatible();
  }

  /** Some keys (`Kept`) of the version before: those to be written over them in the copy. A key that is written or deleted
   * meanwhile is shown again. */
  migrate(_fromVersion, _items) {
    return [];
  }

  // content-filter

  /** The hits in one text; none to let it pass. */
  scan(_text) {
    return [];
  }

  // message-strategy

  decide(_command) {
    return Decision.pass();
  }

  // command

  /** Which commands there are under the configuration. Asked once. */
  names() {
    return [];
  }

  run(invocation) {
    throw new Error(`nothing answers /${invocation.name}`);
  }

  // admin-rule

  register(_occasion) {
    return Judgement.abstain();
  }

  login(_occasion) {
    return Judgement.abstain();
  }

  connect(_occasion) {
    return Judgement.abstain();
  }

  /** An administrator does something. */
  action(_occasion) {
    return Judgement.abstain();
  }

  /** Somebody was reported; only the actions count. */
  reportFiled(_occasion) {
    return Judgement.abstain();
  }

  /** A filter rejected or held what somebody wrote; only the actions count. */
  contentFlagged(_occasion) {
    return Judgement.abstain();
  }

  /** A time of `times` is due, `what` is its name; only the actions count. */
  schedule(_occasion) {
    return Judgement.abstain();
  }

  /** Every occasion. Kinds that are not known abstain. */
  judge(occasion) {
    const asked = OCCASIONS[occasion.kind];
    return asked ? this[asked](occasion) : Judgement.abstain();
  }

  // observer

  /** One event: the effects it leads to; throw `Retry` when it is to come again. */
  event(_event) {
    return [];
  }

  /** A batch: each event in turn, up to the first that is to come again. */
  observe(events) {
    const observed = new Observed();
    for (const [place, event] of events.entries()) {
      try {
        for (const effect of answered("event", this.event(event), effects)) observed.effects.push({ event: place, effect });
        observed.done += 1;
      } catch (error) {
        if (!(error instanceof Retry)) throw error;
        observed.retry = error;
        break;
      }
    }
    return observed;
  }

  // responder

  /** A message of somebody else; `account` is the id of the account it answers as. Throw `Retry` to be called again. */
  respond(_event, _account) {}
}
