//! Write Kith plugins in JavaScript: what a plugin's source imports as `kith-plugin`. The types are in index.d.ts, the
//! contract in wit/v1. Nothing here needs a component: tests run under plain node.

export { AbilityError, directory, history, http, knowledge, kv, llm, log, metrics, nowMs, random, reply, send, snapshot } from "./abilities.js";
export { Plugin, Retry } from "./plugin.js";
export { decode, encode } from "./text.js";
export { Action, Answer, Decision, Effect, Hit, Judgement, Kept, Need, Observed, Usage, fact } from "./values.js";
