//! The host's abilities. Those after the commit do what is granted during a call of `event` or `respond`; everywhere
//! else they throw an AbilityError of kind `denied`. Outside a component nothing is there, unless a test gives it.

let host = {};
let declared = null;

/** The generated entry of a component, or a test, says what is there. */
export function connect(imports, abilities = null) {
  host = imports;
  declared = abilities;
}

/** Why an ability did not do it: `kind` is the contract's word, such as `denied`, `quota` or `not-found`. */
export class AbilityError extends Error {
  constructor(kind, text) {
    super(text ? `${kind}: ${text}` : kind);
    this.kind = kind;
  }
}

/** Without a host there is none of these, and asking again cannot mend it. */
const SERVICES = ["knowledge", "llm"];

function reach(ability) {
  if (host[ability]) return host[ability];
  if (!declared || declared.includes(ability)) {
    throw new AbilityError(SERVICES.includes(ability) ? "not-configured" : "unavailable", "there is no host");
  }
  // Not `unavailable`: asking again cannot mend it.
  throw new AbilityError("denied", `"${ability}" is not among the abilities in package.json`);
}

/** Calls a function of the host; what it throws becomes an AbilityError. */
function ask(ability, call) {
  const reached = reach(ability);
  try {
    return call(reached);
  } catch (error) {
    // In a component the engine wraps what the host has answered.
    const told = error?.payload ?? error;
    if (error instanceof AbilityError || typeof told?.tag !== "string") throw error;
    throw new AbilityError(told.tag, told.val);
  }
}

const orNull = (value) => (value === undefined ? null : value);

/** Lines for whoever looks after the plugin. Outside a component they go to the console. */
export const log = {
  debug: (text) => write("debug", text),
  info: (text) => write("info", text),
  warn: (text) => write("warn", text),
  error: (text) => write("error", text),
};

function write(level, text) {
  if (host.log) host.log.write(level, String(text));
  else console.error(`${level}: ${text}`);
}

/** The message's time, milliseconds since 1970 UTC; 0 outside a call on a message. */
export function nowMs() {
  return host.clock ? host.clock.nowMs() : 0;
}

/** What the plugin has written, for hooks on the message's path; all reads of one call see one moment. */
export const snapshot = {
  /** Bytes, or null where nothing is kept under the key. */
  get: (key) => ask("kv-snapshot", (kept) => orNull(kept.get(key))),
};

/** The plugin's own keys and values, after the commit. */
export const kv = {
  /** `{value, version}`, or null. */
  get: (key) => ask("kv", (kept) => orNull(kept.get(key))),
  /** Writes at once; the new version. `expected`: only over this version, 0 for a key that is not there. */
  put: (key, value, { expected, ttlMs } = {}) => ask("kv", (kept) => kept.put(key, value, orNull(expected), orNull(ttlMs))),
  delete: (key, { expected } = {}) => ask("kv", (kept) => kept.delete(key, orNull(expected))),
  /** Keys that begin with a prefix, in order, after one; at most 200. */
  keys: (prefix, { after = "", limit = 200 } = {}) => ask("kv", (kept) => kept.keys(prefix, after, limit)),
};

/** Who there is. */
export const directory = {
  user: (id) => ask("directory", (known) => known.userById(id)),
  userNamed: (username) => ask("directory", (known) => known.userNamed(username)),
  relation: (user, other) => ask("directory", (known) => known.relationOf(user, other)),
  /** `{user, role}` of members of a conversation the plugin may read. */
  members: (conversation, { after = "", limit = 200 } = {}) =>
    ask("directory", (known) => known.members(conversation, after, limit)),
};

/** Entries of conversations: the newest below `before` (0: all), oldest first. */
export const history = {
  before: (conversation, { before = 0, limit = 100 } = {}) =>
    ask("history", (kept) => kept.before(conversation, before, limit)),
};

/** Requests to hosts the administrator has allowed. */
export const http = {
  /** `{status, headers, body}`; headers are `[{name, value}]`, bodies bytes. */
  fetch: ({ method = "GET", url, headers = [], body = new Uint8Array(), timeoutMs = 0 }) =>
    ask("http", (web) => web.fetch({ method, url, headers, body, timeoutMs })),
};

/** Messages as the plugin's own account. */
export const send = {
  /** `to` is `user:ID` or `conversation:ID`; under the same `once` it is sent once. `{conversation, seq}`. */
  message: (to, content, once) =>
    ask("send", (post) =>
      post.message(to, JSON.stringify(typeof content === "string" ? { type: "text", text: content } : content), once),
    ),
};

/** The answer to the message a responder was called for. */
export const reply = {
  open: () => ask("reply", (answers) => answers.open()),
  write: (number, delta) => ask("reply", (answers) => answers.write(number, delta)),
  /** Commits what was written as one message; its seq. */
  finish: (number) => ask("reply", (answers) => answers.finish(number)),
  handOver: (why) => ask("reply", (answers) => answers.handOver(why)),
  /** A whole answer at once; its seq. */
  say(text) {
    const number = reply.open();
    reply.write(number, text);
    return reply.finish(number);
  },
};

/** Numbers for whoever looks after the plugin. */
export const metrics = {
  add: (name, count) => ask("metrics", (numbers) => numbers.add(name, count)),
  set: (name, value) => ask("metrics", (numbers) => numbers.set(name, value)),
};

/** Random bytes, at most 4096. */
export const random = {
  bytes: (length) => ask("random", (source) => source.bytes(length)),
};

/** Language models. A server that has none answers `not-configured`. */
export const llm = {
  /** Begins an answer; its number. `messages` are `[{role, text}]`; the empty model is the server's own. */
  open: ({ messages, model = "", maxTokens = 0, temperature = 0 }) =>
    ask("llm", (models) => models.open({ model, messages, maxTokens, temperature })),
  /** Waits for the next piece of text; null at the end. */
  next: (answer) => ask("llm", (models) => orNull(models.next(answer))),
  /** Ends an answer, wherever it is; `{inputTokens, outputTokens, ended}`. */
  finish: (answer) => ask("llm", (models) => models.finish(answer)),
  /** A whole answer at once, its pieces shown to `each` as they come. */
  ask(prompt, each = () => {}) {
    const answer = llm.open(prompt);
    let text = "";
    for (let piece = llm.next(answer); piece !== null; piece = llm.next(answer)) {
      text += piece;
      each(piece);
    }
    llm.finish(answer);
    return text;
  },
};

/** The knowledge base. A server that has none answers `not-configured`. */
export const knowledge = {
  /** `[{document, title, text, url, score}]`, the best first, at most 20; the empty base is the server's own. */
  search: (query, { base = "", limit = 5 } = {}) => ask("knowledge", (bases) => bases.search(base, query, limit)),
};
