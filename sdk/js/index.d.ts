//! The types of the kit. What each field means stands in wit/v1; here are the shapes that hooks are given and may answer
//! with.

export type Place =
  | "message" | "edit" | "card" | "location" | "file-name" | "custom" | "title"
  | "display-name" | "username" | "friend-request" | "announcement";

export interface Text {
  place: Place | string;
  text: string;
}

export interface Fact {
  name: string;
  value: string;
}

export interface RecentEntry {
  seq: number;
  sender: string;
  atMs: number;
  kind: string;
  text: string;
}

/** What a client asks for: wit/v1/message-strategy.wit. */
export interface Command {
  operation: string;
  conversation: string;
  conversationKind: "direct" | "group" | "self" | string;
  sender: string;
  senderRole: string;
  peer: string;
  peerRole: string;
  blocked: boolean;
  blocking: boolean;
  friends: boolean;
  muted: boolean;
  unanswered: number;
  answered: boolean;
  contentType: string;
  text: string;
  atMs: number;
  targetSender: string;
  targetAgeMs: number;
  recent: RecentEntry[];
  facts: Fact[];
}

/** What a user types as `/name …`: wit/v1/command.wit. */
export interface Invocation {
  name: string;
  arguments: string;
  conversation: string;
  conversationKind: string;
  sender: string;
  senderRole: string;
  peer: string;
  blocked: boolean;
  blocking: boolean;
  friends: boolean;
  mentions: string[];
  replyTo: number;
  atMs: number;
  facts: Fact[];
}

/** What is asked or has happened: wit/v1/admin-rule.wit. */
export interface Occasion {
  kind: "register" | "login" | "connect" | "action" | "report-filed" | "content-flagged" | "schedule" | string;
  user: string;
  username: string;
  actor: string;
  address: string;
  device: string;
  deviceKind: string;
  conversation: string;
  what: string;
  text: string;
  atMs: number;
  facts: Fact[];
}

/** Something that was committed: wit/v1/events.wit. */
export interface Event {
  id: string;
  kind: "entry" | "erased" | "gone" | "schedule" | string;
  conversation: string;
  conversationKind: string;
  seq: number;
  atMs: number;
  sender: string;
  entryKind: "message" | "recall" | "edit" | "react" | "system" | "" | string;
  contentType: string;
  text: string;
  content: string;
  target: number;
  attempt: number;
  facts: Fact[];
}

/** A content of the protocol, such as `{type: "text", text: "hello"}`. */
export type Content = { type: string; [field: string]: unknown };

export function fact(asked: { facts: Fact[] }, name: string): string | undefined;

export class Hit {
  constructor(start: number, end: number, level: "mask" | "reject" | "hold" | string, rule: string);
  start: number;
  end: number;
  level: string;
  rule: string;
  static every(text: string, word: string, level: string, rule: string): Hit[];
}

export class Effect {
  constructor(kind: string, key: string, value: Uint8Array);
  kind: string;
  key: string;
  value: Uint8Array;
  static put(key: string, value: string | Uint8Array): Effect;
  static delete(key: string): Effect;
  static send(to: string, content: string | Content): Effect;
}

export type Verdict =
  | { tag: "pass" }
  | { tag: "replace"; val: string }
  | { tag: "reject" | "hold" | "drop"; val: { code: string; text: string } };

export class Decision {
  constructor(verdict: Verdict);
  verdict: Verdict;
  /** Who is to get it; null means every member. */
  audience: string[] | null;
  silent: boolean;
  recallWindowMs: number | null;
  effects: Effect[];
  static pass(): Decision;
  static replace(content: string | Content): Decision;
  static reject(code: string, text: string): Decision;
  static hold(code: string, text: string): Decision;
  static drop(code: string, text: string): Decision;
  and(effect: Effect): this;
}

export class Usage {
  constructor(name: string, summary: string);
  name: string;
  summary: string;
}

export type Outcome =
  | { tag: "done" | "pass" }
  | { tag: "reply" | "send"; val: string }
  | { tag: "reject"; val: { code: string; text: string } };

export class Answer {
  constructor(outcome: Outcome);
  outcome: Outcome;
  effects: Effect[];
  static done(): Answer;
  static reply(content: string | Content): Answer;
  static send(content: string | Content): Answer;
  static pass(): Answer;
  static reject(code: string, text: string): Answer;
  and(effect: Effect): this;
}

export class Action {
  constructor(kind: string, text: string);
  kind: string;
  subject: string;
  forMs: number;
  text: string;
  static banUser(reason: string): Action;
  static banAddress(reason: string): Action;
  static banDevice(reason: string): Action;
  static muteUser(reason: string): Action;
  static endSessions(): Action;
  static label(code: string): Action;
  static unlabel(code: string): Action;
  static notify(text: string): Action;
  static keep(key: string, text: string): Action;
  static forget(key: string): Action;
  on(subject: string): this;
  lastingMs(time: number): this;
}

export type Ruling =
  | { tag: "abstain" | "allow" }
  | { tag: "deny" | "require-approval"; val: { code: string; text: string } };

export class Judgement {
  constructor(ruling: Ruling);
  ruling: Ruling;
  actions: Action[];
  static abstain(): Judgement;
  static allow(): Judgement;
  static deny(code: string, text: string): Judgement;
  static requireApproval(code: string, text: string): Judgement;
  and(action: Action): this;
}

export class Need {
  constructor(tag: "compatible" | "migrate" | "rebuild", val?: number);
  tag: string;
  val?: number;
  static compatible(): Need;
  static migrate(): Need;
  static rebuild(commits: number): Need;
}

/** A key and what is kept under it: wit/v1/upgrade.wit. */
export class Kept {
  constructor(key: string, value?: string | Uint8Array | null, endsAtMs?: number);
  key: string;
  value: Uint8Array | null;
  endsAtMs: number;
  static gone(key: string): Kept;
  under(key: string): Kept;
  with(value: string | Uint8Array): Kept;
}

export class Retry extends Error {
  constructor(afterMs: number, reason: string);
  afterMs: number;
}

export class Observed {
  constructor(done?: number, effects?: { event: number; effect: Effect }[], retry?: Retry | null);
  done: number;
  effects: { event: number; effect: Effect }[];
  retry: Retry | null;
}

/** What a plugin's class extends; `Config` is the shape its configSchema describes. */
export class Plugin<Config = any> {
  /** JSON Schema of the configuration object, defaults included. */
  static configSchema: object;
  /** Long work on a configuration, done once; the bytes reach the constructor in the configuration's place. */
  static prepare?(config: any): string | Uint8Array;
  config: Config;
  constructor(config: Config);
  selfTest(): void;
  times(): Record<string, string>;
  needs(fromVersion: string): Need;
  migrate(fromVersion: string, items: Kept[]): Kept[];
  scan(text: Text): Hit[];
  decide(command: Command): Decision;
  names(): Usage[];
  run(invocation: Invocation): Answer;
  register(occasion: Occasion): Judgement;
  login(occasion: Occasion): Judgement;
  connect(occasion: Occasion): Judgement;
  action(occasion: Occasion): Judgement;
  reportFiled(occasion: Occasion): Judgement;
  contentFlagged(occasion: Occasion): Judgement;
  schedule(occasion: Occasion): Judgement;
  judge(occasion: Occasion): Judgement;
  event(event: Event): Iterable<Effect>;
  observe(events: Event[]): Observed;
  respond(event: Event, account: string): void;
}

export class AbilityError extends Error {
  constructor(kind: string, text?: string);
  kind: "denied" | "quota" | "conflict" | "not-found" | "invalid" | "timeout" | "unavailable" | "refused"
    | "not-configured" | string;
}

export function encode(text: string): Uint8Array;
export function decode(bytes: Uint8Array | number[]): string;
export function nowMs(): number;

export const log: Record<"debug" | "info" | "warn" | "error", (text: string) => void>;

export const snapshot: { get(key: string): Uint8Array | null };

export const kv: {
  get(key: string): { value: Uint8Array; version: number } | null;
  put(key: string, value: Uint8Array, options?: { expected?: number; ttlMs?: number }): number;
  delete(key: string, options?: { expected?: number }): void;
  keys(prefix: string, options?: { after?: string; limit?: number }): string[];
};

export interface User {
  id: string;
  username: string;
  displayName: string;
  kind: "person" | "service" | string;
}

export const directory: {
  user(id: string): User;
  userNamed(username: string): User;
  relation(user: string, other: string): { friends: boolean; blocking: boolean; blocked: boolean };
  members(conversation: string, options?: { after?: string; limit?: number }): { user: string; role: string }[];
};

export interface Entry {
  seq: number;
  atMs: number;
  sender: string;
  kind: string;
  text: string;
  content: string;
}

export const history: { before(conversation: string, options?: { before?: number; limit?: number }): Entry[] };

export interface Header {
  name: string;
  value: string;
}

export const http: {
  fetch(request: {
    url: string;
    method?: string;
    headers?: Header[];
    body?: Uint8Array;
    timeoutMs?: number;
  }): { status: number; headers: Header[]; body: Uint8Array };
};

export const send: { message(to: string, content: string | Content, once: string): { conversation: string; seq: number } };

export const reply: {
  open(): number;
  write(reply: number, delta: string): void;
  finish(reply: number): number;
  handOver(reason: string): void;
  say(text: string): number;
};

export const metrics: { add(name: string, count: number): void; set(name: string, value: number): void };

export const random: { bytes(length: number): Uint8Array };

/** What a model is asked: wit/v1/services.wit. */
export interface Prompt {
  messages: { role: "system" | "user" | "assistant" | string; text: string }[];
  model?: string;
  maxTokens?: number;
  temperature?: number;
}

export const llm: {
  open(prompt: Prompt): number;
  next(answer: number): string | null;
  finish(answer: number): { inputTokens: number; outputTokens: number; ended: "end" | "length" | "stopped" | string };
  ask(prompt: Prompt, each?: (piece: string) => void): string;
};

export interface Passage {
  document: string;
  title: string;
  text: string;
  url: string;
  score: number;
}

export const knowledge: { search(query: string, options?: { base?: string; limit?: number }): Passage[] };
