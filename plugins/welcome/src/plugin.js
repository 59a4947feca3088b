//! Greets whoever joins a group, as the account `welcome`, in groups that want it: one of their admins sets the text with
//! `/welcome TEXT` and adds the account. `{name}` in the text is the new member's name.

import { AbilityError, Answer, Effect, Plugin, Usage, decode, directory, fact, snapshot } from "kith-plugin";

const MAY_SET = ["owner", "admin"];

const keyOf = (conversation) => `text/${conversation}`;

export default class Welcome extends Plugin {
  static configSchema = {
    type: "object",
    additionalProperties: false,
    properties: {
      text: { type: "string", default: "", description: "said in groups that have set none; empty: nothing" },
      longest: { type: "integer", minimum: 1, maximum: 4000, default: 500, description: "most characters of a text" },
    },
  };

  constructor(config) {
    super(config);
    if ([...config.text].length > config.longest) throw new Error(`text has more than ${config.longest} characters`);
  }

  names() {
    return [new Usage("welcome", "Shows what new members are greeted with; /welcome TEXT sets it, /welcome off ends it")];
  }

  run({ arguments: asked, conversation, senderRole, atMs }) {
    const set = (text) => Effect.put(keyOf(conversation), JSON.stringify({ text, since: atMs }));
    if (asked === "") {
      const { text } = this.greeting(conversation);
      return Answer.reply(text ? `New members read: ${text}` : "New members are not greeted here. /welcome TEXT changes that.");
    }
    if (!MAY_SET.includes(senderRole)) return Answer.reject("forbidden", "only owner and admins set the greeting");
    if (asked === "off") {
      return Answer.reply("New members are not greeted any more.").and(set(""));
    }
    if ([...asked].length > this.config.longest) {
      return Answer.reply(`That is too long: a greeting has at most ${this.config.longest} characters.`);
    }
    return Answer.reply("New members will read this. The user welcome has to be a member here to say it.").and(set(asked));
  }

  event(event) {
    if (event.entryKind !== "system" || event.contentType !== "member_joined" || fact(event, "plugin")) return [];
    const { text, since } = this.greeting(event.conversation);
    const { user } = JSON.parse(event.content);
    const name = nameOf(user);
    // Who came before the text was set knows the group already.
    if (!text || name === null || event.atMs < since) return [];
    return [Effect.send(`conversation:${event.conversation}`, text.replaceAll("{name}", name))];
  }

  /** The group's own text and since when, else the configured one. */
  greeting(conversation) {
    const kept = snapshot.get(keyOf(conversation));
    return kept === null ? { text: this.config.text, since: 0 } : JSON.parse(decode(kept));
  }
}

/** What somebody is called; null for a service account, which nobody greets. */
function nameOf(id) {
  try {
    const { kind, displayName, username } = directory.user(id);
    return kind === "person" ? displayName || username : null;
  } catch (error) {
    // Gone meanwhile, or not granted: still welcome.
    if (error instanceof AbilityError && ["not-found", "denied"].includes(error.kind)) return "";
    throw error;
  }
}
