//! The kit under plain node: what hooks answer by default, how hits are counted, how errors reach the host.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { AbilityError, Answer, Decision, Effect, Hit, Kept, Need, Plugin, Retry, decode, encode, knowledge, kv, llm } from "../index.js";
import { component } from "../component.js";
import { command, event, message, occasion, provide } from "../testing.js";

const about = (hooks, abilities = []) => ({
  name: "tried",
  version: "0.1.0",
  summary: "Tried.",
  hooks: Object.fromEntries(hooks.map((hook) => [hook, {}])),
  abilities,
});

const configured = (made, hooks, config = {}, imports = {}) => {
  const exports = component(made, about(hooks), imports);
  exports.lifecycle.configure(encode(JSON.stringify(config)));
  return exports;
};

test("hits are counted in characters", () => {
  const hits = Hit.every("梨𝄞 a pear, pear", "pear", "mask", "rule");
  assert.deepEqual(hits.map(({ start, end }) => [start, end]), [[5, 9], [11, 15]]);
  assert.deepEqual(Hit.every("pear", "", "mask", "rule"), []);
});

test("texts survive the way to bytes and back", () => {
  for (const text of ["", "plain", "ä 梨 𝄞", "\u0000\u007f\u0080\u07ff\u0800\uffff"]) {
    assert.deepEqual(encode(text), new TextEncoder().encode(text));
    assert.equal(decode(encode(text)), text);
  }
  assert.deepEqual(encode("a\ud800b"), new TextEncoder().encode("a\ud800b"));
  for (const bytes of [[0xff], [0xc0, 0x80], [0xe6, 0xa2], [0xed, 0xa0, 0x80, 0x61], [0xf0, 0x9d, 0x84, 0x61]]) {
    assert.ok(decode(bytes).startsWith("\ufffd"), String(bytes));
  }
});

test("what is not overridden lets everything pass", () => {
  const plugin = new Plugin({});
  assert.deepEqual(plugin.scan(message("x")), []);
  assert.deepEqual(plugin.decide(command()), Decision.pass());
  assert.equal(plugin.judge(occasion("login")).ruling.tag, "abstain");
  assert.equal(plugin.judge(occasion("unheard-of")).ruling.tag, "abstain");
  assert.deepEqual(plugin.observe([event(), event()]).done, 2);
});

test("a batch ends at the event that is to come again", () => {
  class Second extends Plugin {
    event({ seq }) {
      if (seq === 2) throw new Retry(500, "not yet");
      return [Effect.send("user:ann", `seq ${seq}`)];
    }
  }
  const { observer } = configured(Second, ["observer"]);
  const observed = observer.observe([event({ seq: 1 }), event({ seq: 2 }), event({ seq: 3 })]);
  assert.equal(observed.done, 1);
  assert.deepEqual(observed.retry, { afterMs: 500, reason: "not yet" });
  assert.equal(decode(observed.effects[0].effect.value), '{"type":"text","text":"seq 1"}');
});

test("a constructor that throws refuses the configuration with its text", () => {
  class Strict extends Plugin {
    constructor(config) {
      super(config);
      if (!config.word) throw new Error("word must not be empty");
    }

    scan() {
      return [];
    }
  }
  const { lifecycle } = component(Strict, about(["content-filter"]), {});
  assert.throws(() => lifecycle.configure(encode("{}")), (thrown) => thrown === "word must not be empty");
  lifecycle.configure(encode('{"word":"pear"}'));
  assert.throws(() => lifecycle.configure(encode('{"word":"pear"}')), (thrown) => thrown === "configured twice");
});

test("an error of a hook is told to the log with its place", () => {
  class Broken extends Plugin {
    scan(text) {
      return text.absent.length;
    }
  }
  const lines = [];
  const { contentFilter } = configured(Broken, ["content-filter"], {}, { log: { write: (...line) => lines.push(line) } });
  assert.throws(() => contentFilter.scan([message("x")]), TypeError);
  assert.equal(lines[0][0], "error");
  assert.match(lines[0][1], /^TypeError: .*\n[\s\S]*scan/);
});

test("an answer of the wrong kind is named in the log", () => {
  class Wrong extends Plugin {
    async scan() {
      return [];
    }

    decide() {
      return "pass";
    }

    names() {
      return ["hello"];
    }

    run() {}

    async reportFiled() {}

    event() {
      return "done";
    }

    async respond() {}
  }
  const lines = [];
  const hooks = ["content-filter", "message-strategy", "command", "admin-rule", "observer", "responder"];
  const exports = configured(Wrong, hooks, {}, { log: { write: (_, line) => lines.push(line) } });
  for (const [call, told] of [
    [() => exports.contentFilter.scan([message("x")]), "scan answered a Promise, a list of Hit is needed"],
    [() => exports.messageStrategy.decide(command()), "decide answered a string, a Decision is needed"],
    [() => exports.command.names(), "names answered a list with a string, a list of Usage is needed"],
    [() => exports.command.run({ name: "hello" }), "run answered nothing, an Answer is needed"],
    [() => exports.adminRule.judge(occasion("report-filed")), "reportFiled answered a Promise, a Judgement is needed"],
    [() => exports.observer.observe([event()]), "event answered a string, a list of Effect is needed"],
    [() => exports.responder.respond(event(), "me"), "respond answered a Promise, nothing is needed"],
  ]) {
    assert.throws(call);
    assert.ok(lines.at(-1)?.startsWith(`TypeError: ${told}\n`), `${lines.at(-1)} is not ${told}`);
  }
});

test("a plugin names its times, and is called with a name", () => {
  class Daily extends Plugin {
    times() {
      return { digest: this.config.when };
    }

    event({ kind, text }) {
      return kind === "schedule" ? [Effect.send("user:ann", text)] : [];
    }
  }
  const described = { ...about(["observer"]), schedules: true };
  const exports = component(Daily, described, {});
  exports.lifecycle.configure(encode('{"when":"every 1d"}'));
  assert.deepEqual(exports.schedules.times(), [{ name: "digest", when: "every 1d" }]);
  const { effects } = exports.observer.observe([event({ kind: "schedule", text: "digest" })]);
  assert.equal(decode(effects[0].effect.value), '{"type":"text","text":"digest"}');
  assert.throws(() => component(Daily, about(["observer"]), {}), /the class has times, and package.json has no schedules/);
});

test("a version says what becomes of the keys of the one before", () => {
  class Counter extends Plugin {
    needs(from) {
      if (from.startsWith("0.")) throw new Error(`nothing is known of ${from}`);
      return from.startsWith("1.") ? Need.migrate() : Need.rebuild(500);
    }

    migrate(_, items) {
      return items.flatMap((item) => [item.under(`n/${item.key}`), Kept.gone(item.key)]);
    }

    event() {
      return [];
    }
  }
  const described = { ...about(["observer"]), upgrade: true };
  const exports = component(Counter, described, {});
  exports.lifecycle.configure(encode("{}"));
  const { needs, migrate } = exports.upgrade;
  assert.deepEqual({ ...needs("1.2.0") }, { tag: "migrate" });
  assert.deepEqual({ ...needs("2.0.0") }, { tag: "rebuild", val: 500 });
  assert.throws(() => needs("0.1.0"), (told) => told === "nothing is known of 0.1.0");
  const moved = migrate("1.2.0", [{ key: "ann", value: encode("3"), endsAtMs: 7 }, { key: "bob", value: undefined, endsAtMs: 0 }]);
  assert.deepEqual(moved.map((kept) => ({ ...kept })), [
    { key: "n/ann", value: encode("3"), endsAtMs: 7 },
    { key: "ann", value: null, endsAtMs: 0 },
    { key: "n/bob", value: null, endsAtMs: 0 },
    { key: "bob", value: null, endsAtMs: 0 },
  ]);
  assert.deepEqual(new Kept("a").with("4").value, encode("4"));
  assert.equal(new Plugin({}).needs("1.0.0").tag, "compatible");
  assert.throws(() => component(Counter, about(["observer"]), {}), /the class has needs, and package.json has no upgrade/);
});

test("a manifest that does not fit the class is an error of the build", () => {
  class Filter extends Plugin {
    scan() {
      return [];
    }
  }
  assert.throws(() => component(Filter, about(["command"]), {}), /does not name the hook content-filter/);
  assert.throws(() => component(Filter, about(["content-filter", "observer"]), {}), /no observe or event/);
  const timed = { ...about(["content-filter"]), schedules: true };
  assert.throws(() => component(Filter, timed, {}), /package.json has schedules, and the class has no times/);
  const moving = { ...about(["content-filter"]), upgrade: true };
  assert.throws(() => component(Filter, moving, {}), /package.json has upgrade, and the class has no needs/);
  assert.throws(() => component(class {}, about([]), {}), /no class that extends Plugin/);
});

test("an ability that is not there says why", () => {
  provide({});
  assert.throws(() => kv.get("key"), (error) => error instanceof AbilityError && /no host/.test(error.message));
  provide({}, ["send"]);
  assert.throws(() => kv.get("key"), (error) => error.kind === "denied" && /"kv" is not among the abilities/.test(error.message));
  const denied = { get: () => { throw { tag: "denied", val: "not during this call" }; } };
  provide({ kv: denied });
  assert.throws(() => kv.get("key"), (error) => error.kind === "denied");
  const wrapped = Object.assign(new Error("as a component has it"), { payload: { tag: "quota", val: "no room" } });
  const full = { get: () => { throw wrapped; } };
  provide({ kv: full });
  assert.throws(() => kv.get("key"), (error) => error instanceof AbilityError && error.message === "quota: no room");
});

test("a service that is not there is not configured", () => {
  const prompt = { messages: [{ role: "user", text: "hello" }] };
  provide({});
  for (const ask of [() => llm.open(prompt), () => knowledge.search("hours")]) {
    assert.throws(ask, (error) => error instanceof AbilityError && error.kind === "not-configured");
  }
  provide({}, ["kv"]);
  assert.throws(() => llm.open(prompt), (error) => error.kind === "denied");
  const pieces = ["Good ", "day"];
  const asked = [];
  const open = (whole) => {
    asked.push(whole);
    return 3;
  };
  const models = { open, next: () => pieces.shift(), finish: () => ({ inputTokens: 1, outputTokens: 2, ended: "end" }) };
  const search = (...words) => asked.push(words) && [];
  provide({ llm: models, knowledge: { search } });
  assert.equal(llm.ask(prompt), "Good day");
  assert.deepEqual(knowledge.search("hours", { limit: 2 }), []);
  assert.deepEqual(asked, [{ model: "", maxTokens: 0, temperature: 0, ...prompt }, ["", "hours", 2]]);
});

test("answers carry contents of the protocol", () => {
  assert.equal(Answer.reply("hello").outcome.val, '{"type":"text","text":"hello"}');
  assert.deepEqual(Answer.done().and(Effect.put("key", "é")).effects[0].value, Uint8Array.of(0xc3, 0xa9));
});

test("the examples of the README run", async () => {
  const text = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const examples = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, source]) => source);
  assert.equal(examples.length, 3);
  const kit = { "kith-plugin": "../index.js", "kith-plugin/testing": "../testing.js" };
  for (const example of examples) {
    const source = example.replace(/from "(kith-plugin[^"]*)"/g, (_, name) => `from ${JSON.stringify(new URL(kit[name], import.meta.url).href)}`);
    await import(`data:text/javascript,${encodeURIComponent(source)}`);
  }
});
