//! For a plugin's own tests under plain node: gives the kit abilities, and makes what hooks are asked with. Never in a
//! component.

export { connect as provide } from "./abilities.js";

/** A text of a message. */
export const message = (text) => ({ place: "message", text });

/** A command of a client, all fields at their defaults. */
export const command = (fields = {}) => ({
  operation: "send",
  conversation: "d-ann-bob",
  conversationKind: "direct",
  sender: "ann",
  senderRole: "member",
  peer: "bob",
  peerRole: "member",
  blocked: false,
  blocking: false,
  friends: false,
  muted: false,
  unanswered: 0,
  answered: false,
  contentType: "text",
  text: "",
  atMs: 0,
  targetSender: "",
  targetAgeMs: 0,
  recent: [],
  facts: [],
  ...fields,
});

/** What a user types as `/name …`. */
export const invocation = (name, args = "", fields = {}) => ({
  name,
  arguments: args,
  conversation: "d-ann-bob",
  conversationKind: "direct",
  sender: "ann",
  senderRole: "member",
  peer: "bob",
  blocked: false,
  blocking: false,
  friends: false,
  mentions: [],
  replyTo: 0,
  atMs: 0,
  facts: [],
  ...fields,
});

/** Something asked or happened. */
export const occasion = (kind, fields = {}) => ({
  kind,
  user: "ann",
  username: "ann",
  actor: "",
  address: "192.0.2.1",
  device: "phone",
  deviceKind: "web",
  conversation: "",
  what: "",
  text: "",
  atMs: 0,
  facts: [],
  ...fields,
});

/** Something that was committed: a text of ann's unless the fields say otherwise. */
export const event = (fields = {}) => ({
  id: "entry-1",
  kind: "entry",
  conversation: "d-ann-bob",
  conversationKind: "direct",
  seq: 1,
  atMs: 0,
  sender: "ann",
  entryKind: "message",
  contentType: "text",
  text: "",
  content: "",
  target: 0,
  attempt: 0,
  facts: [],
  ...fields,
});
