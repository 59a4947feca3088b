//! From a plugin's class to what a component exports. Called by the entry that `kith plugin build` generates; runs once
//! while the component is made, so that mistakes in the manifest are errors of the build.

import { connect, log } from "./abilities.js";
import { answered, bytes, hits, kept, need, nothing, tagged, times, usages, whole } from "./answers.js";
import { Plugin, Retry } from "./plugin.js";
import { decode, encode } from "./text.js";
import { Kept } from "./values.js";

/** The hooks by the contract's names, and the functions of which one must be the plugin's own. */
const HOOKS = {
  "content-filter": ["scan"],
  "message-strategy": ["decide"],
  command: ["run"],
  "admin-rule": ["judge", "register", "login", "connect", "action", "reportFiled", "contentFlagged", "schedule"],
  observer: ["observe", "event"],
  responder: ["respond"],
};

/** What the component exports, by interface in camel case. `about`: name, version, summary, hooks, schedules, upgrade,
 * abilities. */
export function component(made, about, imports) {
  check(made, about);
  connect(imports, about.abilities);
  let plugin = null;
  const own = () => {
    if (!plugin) throw new Error("the host configures before it calls");
    return plugin;
  };
  const prepares = Object.hasOwn(made, "prepare");
  return {
    lifecycle: {
      describe: () => ({
        name: about.name,
        version: about.version,
        summary: about.summary,
        configSchema: JSON.stringify(made.configSchema),
        hooks: Object.entries(about.hooks).map(wish),
      }),
      configure: refusing((config) => {
        if (plugin) throw new Error("configured twice");
        plugin = new made(prepares ? config : JSON.parse(decode(config)));
      }),
      selfTest: refusing(() => own().selfTest()),
    },
    preparation: {
      prepare: refusing((config) => {
        const prepared = answered("prepare", made.prepare(JSON.parse(decode(config))), bytes);
        return typeof prepared === "string" ? encode(prepared) : prepared;
      }),
    },
    schedules: {
      times: telling(() => Object.entries(answered("times", own().times(), times)).map(([name, when]) => ({ name, when }))),
    },
    upgrade: {
      needs: refusing((from) => answered("needs", own().needs(from), need)),
      migrate: refusing((from, items) => answered("migrate", own().migrate(from, items.map(shown)), kept)),
    },
    contentFilter: { scan: telling((texts) => texts.map((text) => answered("scan", own().scan(text), hits))) },
    messageStrategy: {
      decide: telling((command) => decision(answered("decide", own().decide(command), tagged("verdict", "a Decision")))),
    },
    command: {
      names: telling(() => answered("names", own().names(), usages)),
      run: telling((invocation) => answered("run", own().run(invocation), tagged("outcome", "an Answer"))),
    },
    adminRule: {
      judge: telling((occasion) => answered(judging(made, occasion), own().judge(occasion), tagged("ruling", "a Judgement"))),
    },
    observer: { observe: telling((events) => observed(answered("observe", own().observe(events), whole))) },
    responder: { respond: responding((event, account) => answered("respond", own().respond(event, account), nothing)) },
  };
}

function check(made, { name, hooks, schedules = false, upgrade = false }) {
  if (typeof made !== "function" || !(made.prototype instanceof Plugin)) {
    throw new Error(`${name}: the default export is no class that extends Plugin`);
  }
  const changed = (method) => made.prototype[method] !== Plugin.prototype[method];
  for (const [listed, part, method] of [
    [schedules, "schedules", "times"],
    [upgrade, "upgrade", "needs"],
  ]) {
    if (listed === changed(method)) continue;
    const [has, hasNot] = listed ? ["package.json", "the class"] : ["the class", "package.json"];
    throw new Error(`${name}: ${has} has ${listed ? part : method}, and ${hasNot} has no ${listed ? method : part}`);
  }
  for (const [hook, methods] of Object.entries(HOOKS)) {
    const listed = Object.hasOwn(hooks, hook);
    if (listed && !methods.some(changed)) {
      throw new Error(`${name}: package.json names the hook ${hook}, and the class has no ${methods.join(" or ")}`);
    }
    if (!listed && methods.some(changed)) {
      const method = methods.find(changed);
      throw new Error(`${name}: the class has ${method}, and package.json does not name the hook ${hook}`);
    }
  }
}

/** The function of the class that rules on an occasion. */
function judging(made, { kind }) {
  const whole = made.prototype.judge !== Plugin.prototype.judge;
  return whole ? "judge" : kind.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
}

const shown = ({ key, value, endsAtMs }) => new Kept(key, value ?? null, endsAtMs);

const wish = ([hook, wished]) => ({
  hook,
  order: 100,
  scope: "all",
  onFailed: "",
  onAbsent: "",
  budgetUs: 0,
  recent: 0,
  ...wished,
});

/** There is no clock and no chance inside a component: has the engine say so, where it would only trap. */
export function seal() {
  const none = (what, instead) => () => {
    throw new Error(`a plugin has no ${what} of its own: use ${instead}`);
  };
  const noClock = none("clock", "nowMs()");
  globalThis.Date = class extends Date {
    constructor(...at) {
      if (at.length === 0) noClock();
      super(...at);
    }

    static now() {
      return noClock();
    }
  };
  Math.random = none("randomness", "random.bytes()");
}

/** An error of the plugin goes to the log before the instance ends. */
function telling(call) {
  return (...asked) => {
    try {
      return call(...asked);
    } catch (error) {
      log.error(described(error));
      throw error;
    }
  };
}

/** An error is a refusal with its text. */
function refusing(call) {
  return (...asked) => {
    try {
      return call(...asked);
    } catch (error) {
      throw error instanceof Error ? error.message : String(error);
    }
  };
}

/** `Retry` is an answer; what else is thrown comes again too, and is told to the log. */
function responding(call) {
  return (...asked) => {
    try {
      call(...asked);
    } catch (error) {
      if (!(error instanceof Retry)) log.error(described(error));
      throw retry(error instanceof Retry ? error : new Retry(1000, String(error)));
    }
  };
}

function described(error) {
  if (!(error instanceof Error)) return String(error);
  const what = `${error.name}: ${error.message}`;
  const stack = error.stack ?? "";
  return (stack.includes(what) ? stack : `${what}\n${stack}`).trimEnd();
}

const retry = ({ afterMs, message, reason = message }) => ({ afterMs, reason });

const observed = ({ done, effects, retry: again }) => ({ done, effects, retry: again ? retry(again) : null });

const decision = ({ silent, ...rest }) => ({ ...rest, notify: silent ? "silent" : "push" });
