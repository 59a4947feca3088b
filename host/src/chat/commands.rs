//! The commands that begin with a colon: one table of names, help and readers. A new command is a row here and an
//! arm in `talk`. Lines that begin with anything else are messages, those that begin with `/` too.

use super::people::Deed;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Say(String),
    Help,
    Open(String),
    List,
    History(u64),
    /// Without a seq: the last message of one's own.
    Recall(Option<u64>),
    Block(String),
    Unblock(String),
    Blocks,
    People(Deed),
    Held,
    Sync,
    Who,
    Quit,
}

struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    read: fn(&str) -> Option<Action>,
}

/// How many entries `:history` shows when it is not told.
const PAGE: u64 = 20;

const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        usage: ":help",
        about: "show this list",
        read: |rest| alone(rest, Action::Help),
    },
    Command {
        name: "open",
        usage: ":open NAME",
        about: "talk to somebody",
        read: |rest| word(rest).map(Action::Open),
    },
    Command {
        name: "list",
        usage: ":list",
        about: "show the conversations and what is unread",
        read: |rest| alone(rest, Action::List),
    },
    Command {
        name: "history",
        usage: ":history [N]",
        about: "show the last N entries",
        read: |rest| match rest {
            "" => Some(Action::History(PAGE)),
            count => count.parse().ok().filter(|n| *n > 0).map(Action::History),
        },
    },
    Command {
        name: "recall",
        usage: ":recall [SEQ]",
        about: "take a message back (the last one of yours)",
        read: |rest| match rest.trim_start_matches('#') {
            "" => Some(Action::Recall(None)),
            seq => seq.parse().ok().map(|seq| Action::Recall(Some(seq))),
        },
    },
    Command {
        name: "block",
        usage: ":block NAME",
        about: "let somebody write to you no more",
        read: |rest| word(rest).map(Action::Block),
    },
    Command {
        name: "unblock",
        usage: ":unblock NAME",
        about: "let them write again",
        read: |rest| word(rest).map(Action::Unblock),
    },
    Command {
        name: "blocks",
        usage: ":blocks",
        about: "show whom you have blocked",
        read: |rest| alone(rest, Action::Blocks),
    },
    Command {
        name: "friends",
        usage: ":friends",
        about: "show your friends and who asks to be one",
        read: |rest| alone(rest, Action::People(Deed::Friends)),
    },
    Command {
        name: "ask",
        usage: ":ask NAME [TEXT]",
        about: "ask somebody to be your friend",
        read: |rest| {
            let (name, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let text = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            word(name).map(|name| Action::People(Deed::Ask(name, text)))
        },
    },
    Command {
        name: "accept",
        usage: ":accept NAME",
        about: "be the friend of somebody who asked",
        read: |rest| word(rest).map(|name| Action::People(Deed::Answer(name, true))),
    },
    Command {
        name: "refuse",
        usage: ":refuse NAME",
        about: "say no to somebody who asked; they are not told",
        read: |rest| word(rest).map(|name| Action::People(Deed::Answer(name, false))),
    },
    Command {
        name: "unfriend",
        usage: ":unfriend NAME",
        about: "be somebody's friend no more",
        read: |rest| word(rest).map(|name| Action::People(Deed::End(name))),
    },
    Command {
        name: "name",
        usage: ":name NAME",
        about: "change the name you are shown with",
        read: |rest| (!rest.is_empty()).then(|| Action::People(Deed::Name(rest.to_owned()))),
    },
    Command {
        name: "devices",
        usage: ":devices",
        about: "show where you are signed in",
        read: |rest| alone(rest, Action::People(Deed::Devices)),
    },
    Command {
        name: "signout",
        usage: ":signout DEVICE",
        about: "sign a device of yours out",
        read: |rest| word(rest).map(|id| Action::People(Deed::SignOut(id))),
    },
    Command {
        name: "report",
        usage: ":report NAME REASON",
        about: "report somebody to the administrators",
        read: |rest| {
            let (name, reason) = rest.split_once(char::is_whitespace)?;
            let deed = Deed::Report(name.to_owned(), reason.trim().to_owned());
            Some(Action::People(deed))
        },
    },
    Command {
        name: "held",
        usage: ":held",
        about: "show your messages that wait for a decision",
        read: |rest| alone(rest, Action::Held),
    },
    Command {
        name: "sync",
        usage: ":sync",
        about: "ask the server for anything missed",
        read: |rest| alone(rest, Action::Sync),
    },
    Command {
        name: "who",
        usage: ":who",
        about: "show who you are and whom you talk to",
        read: |rest| alone(rest, Action::Who),
    },
    Command {
        name: "quit",
        usage: ":quit",
        about: "leave",
        read: |rest| alone(rest, Action::Quit),
    },
];

/// Reads a line; `None` for an empty one. The error says what would be right.
pub(super) fn read(line: &str) -> Option<Result<Action, String>> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let Some(command) = line.strip_prefix(':') else {
        return Some(Ok(Action::Say(line.to_owned())));
    };
    // Two colons begin a message with one.
    if command.starts_with(':') {
        return Some(Ok(Action::Say(command.to_owned())));
    }
    let (name, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let known = COMMANDS.iter().find(|known| known.name == name);
    Some(match known {
        None => Err(format!("there is no :{name}; :help shows what there is")),
        Some(known) => (known.read)(rest.trim()).ok_or_else(|| format!("it is {}", known.usage)),
    })
}

/// A line of help for each command.
pub(super) fn help() -> Vec<String> {
    let mut lines: Vec<String> = COMMANDS
        .iter()
        .map(|command| format!("  {:<16}{}", command.usage, command.about))
        .collect();
    lines.push("  /…              is for the server; anything else is a message".to_owned());
    lines
}

fn alone(rest: &str, action: Action) -> Option<Action> {
    rest.is_empty().then_some(action)
}

fn word(rest: &str) -> Option<String> {
    (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(line: &str) -> Action {
        read(line).expect("not empty").expect("well formed")
    }

    #[test]
    fn lines_are_messages_unless_one_colon_begins_them() {
        assert_eq!(action("hello there"), Action::Say("hello there".into()));
        assert_eq!(
            action("/weather Paris"),
            Action::Say("/weather Paris".into())
        );
        assert_eq!(action("::smile"), Action::Say(":smile".into()));
        assert_eq!(read("   "), None);
    }

    #[test]
    fn commands_take_what_their_usage_says_and_nothing_else() {
        assert_eq!(action(":open 小明"), Action::Open("小明".into()));
        assert_eq!(action(":history"), Action::History(PAGE));
        assert_eq!(action(":history 3 "), Action::History(3));
        assert_eq!(action(":recall #7"), Action::Recall(Some(7)));
        assert_eq!(action(":recall"), Action::Recall(None));
        let ask = |text: Option<&str>| Deed::Ask("bob".into(), text.map(str::to_owned));
        assert_eq!(action(":ask bob"), Action::People(ask(None)));
        assert_eq!(
            action(":ask bob it is me"),
            Action::People(ask(Some("it is me")))
        );
        let report = Deed::Report("bob".into(), "much spam".into());
        assert_eq!(action(":report bob  much spam"), Action::People(report));
        for wrong in [
            ":open",
            ":open a b",
            ":history none",
            ":history 0",
            ":quit now",
            ":ask",
            ":report bob",
            ":name",
            ":nope",
        ] {
            assert!(read(wrong).expect("not empty").is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_command_is_in_the_help() {
        let help = help().join("\n");
        assert!(COMMANDS.iter().all(|command| help.contains(command.usage)));
    }
}
