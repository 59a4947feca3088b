//! Who may do what in a group: add, remove, mute, rename, lead, speak to everyone, and how long one may take words back.
//!
//! Decides from the host's facts alone. What holds for every group (one owner, mutes, slow mode, how many members) is the
//! host's and cannot be decided otherwise here.

mod config;
mod roles;

use kith_plugin::{Command, Decision, HookDefault, MessageStrategy, Plugin};

pub use config::GroupStrategy;
use config::Who;
use roles::Role;

impl Plugin for GroupStrategy {
    const SUMMARY: &'static str =
        "Roles in groups: who adds, removes, mutes, renames, and the time to recall or edit.";
    const CONFIG_SCHEMA: &'static str = config::SCHEMA;

    fn hooks() -> Vec<HookDefault> {
        vec![HookDefault {
            scope: "group",
            ..HookDefault::new("message-strategy")
        }]
    }

    fn configure(config: &[u8]) -> Result<Self, String> {
        kith_plugin::from_json(config)
    }
}

impl MessageStrategy for GroupStrategy {
    fn decide(&self, command: &Command) -> Decision {
        match command.operation.as_str() {
            "send" => self.speak(command),
            "edit" if command.muted => refuse("muted", "one may not speak here now"),
            "edit" => self.own_within(command, self.edit_window_s, "edit"),
            "react" if command.muted => refuse("muted", "one may not speak here now"),
            "recall" if roles::in_charge(command) => Decision::pass(),
            "recall" => self.own_within(command, self.recall_window_s, "recall"),
            "group-create" => self.create(command),
            "group-add" => self.add(command),
            "group-remove" => over_or_oneself(command, "remove a member"),
            "group-mute" => over(command, "mute"),
            "group-title" => may(self.rename, command, "change the title"),
            "group-settings" if !command.peer.is_empty() => {
                over_or_oneself(command, "name another one")
            }
            "group-settings" => may(Who::Admins, command, "change the settings"),
            "group-role" | "group-dissolve" => may(Who::Owner, command, "do this"),
            _ => Decision::pass(),
        }
    }
}

impl GroupStrategy {
    fn speak(&self, command: &Command) -> Decision {
        if command.muted {
            return refuse("muted", "one may not speak here now");
        }
        if roles::fact(command, "mention-all") == "true" {
            return may(self.mention_all, command, "mention everyone");
        }
        Decision::pass()
    }

    fn create(&self, command: &Command) -> Decision {
        let most = self.title_max_chars;
        if most > 0 && command.text.chars().count() > most {
            return refuse("title-too-long", "titles are shorter here");
        }
        Decision::pass()
    }

    fn add(&self, command: &Command) -> Decision {
        if roles::fact(command, "requested") == "true" {
            return may(Who::Admins, command, "let somebody in");
        }
        if command.blocked || command.blocking {
            return refuse("blocked", "one of the two has blocked the other");
        }
        if self.strangers == config::Strangers::FriendsOnly && !command.friends {
            return refuse("not-friends", "only friends may be added");
        }
        if roles::fact(command, "join") == "approval" {
            // Whoever could bring others in would approve them.
            return may(Who::Admins, command, "add members");
        }
        may(self.add, command, "add members")
    }

    fn own_within(&self, command: &Command, window_s: u64, what: &str) -> Decision {
        if command.target_sender != command.sender {
            return refuse("forbidden", &format!("only its sender may {what} this"));
        }
        if command.target_age_ms > window_s.saturating_mul(1000) {
            return refuse("too-late", &format!("the time to {what} this is over"));
        }
        Decision::pass()
    }
}

fn may(who: Who, command: &Command, what: &str) -> Decision {
    let least = match who {
        Who::Members => Role::Member,
        Who::Admins => Role::Admin,
        Who::Owner => Role::Owner,
    };
    if Role::of(&command.sender_role) >= least {
        return Decision::pass();
    }
    refuse("forbidden", &format!("it takes a higher role to {what}"))
}

/// Those in charge rule over lower roles than their own.
fn over(command: &Command, what: &str) -> Decision {
    if roles::in_charge(command) && roles::over_peer(command) {
        return Decision::pass();
    }
    refuse("forbidden", &format!("it takes a higher role to {what}"))
}

fn over_or_oneself(command: &Command, what: &str) -> Decision {
    if command.peer == command.sender {
        return Decision::pass();
    }
    over(command, what)
}

fn refuse(code: &str, text: &str) -> Decision {
    Decision::reject(code, text)
}

kith_plugin::register_plugin!(GroupStrategy: message_strategy);

#[cfg(test)]
mod tests;
