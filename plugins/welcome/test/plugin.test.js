//! What the plugin answers and whom it greets, under plain node; fixtures/ runs it as a component.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { decode, encode } from "kith-plugin";
import { event, invocation, provide } from "kith-plugin/testing";

import Welcome from "../src/plugin.js";

const plugin = new Welcome({ text: "", longest: 20 });
const inGroup = (args, senderRole) => plugin.run(invocation("welcome", args, { conversation: "g1", senderRole }));
const joined = (user) =>
  event({ conversation: "g1", conversationKind: "group", entryKind: "system", contentType: "member_joined", content: JSON.stringify({ user }) });

let kept;
beforeEach(() => {
  kept = {};
  const users = {
    u1: { kind: "person", username: "ann", displayName: "Ann" },
    u2: { kind: "service", username: "bot", displayName: "" },
  };
  const userById = (id) => {
    if (!users[id]) throw { tag: "not-found", val: id };
    return users[id];
  };
  provide({ "kv-snapshot": { get: (key) => kept[key] ?? null }, directory: { userById } });
});

test("only owner and admins set the greeting", () => {
  assert.equal(inGroup("hello", "member").outcome.tag, "reject");
  const { effects } = inGroup("hello {name}", "admin");
  assert.deepEqual([effects[0].key, decode(effects[0].value)], ["text/g1", '{"text":"hello {name}","since":0}']);
  assert.deepEqual(inGroup("x".repeat(21), "owner").effects, []);
});

test("what is set is shown and said", () => {
  kept["text/g1"] = encode('{"text":"hello {name}","since":0}');
  assert.match(inGroup("", "member").outcome.val, /hello \{name\}/);
  const [effect] = plugin.event(joined("u1"));
  assert.equal(effect.key, "conversation:g1");
  assert.match(decode(effect.value), /hello Ann/);
});

test("nobody is greeted where nothing is set, and no service account anywhere", () => {
  assert.deepEqual(plugin.event(joined("u1")), []);
  kept["text/g1"] = encode('{"text":"hello","since":0}');
  assert.deepEqual(plugin.event(joined("u2")), []);
  assert.equal(plugin.event(joined("gone")).length, 1);
  kept["text/g1"] = encode('{"text":"hello","since":5}');
  assert.deepEqual(plugin.event(joined("u1")), []);
  kept["text/g1"] = encode('{"text":"","since":0}');
  assert.deepEqual(new Welcome({ text: "hi", longest: 20 }).event(joined("u1")), []);
});
