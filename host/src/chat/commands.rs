//! The commands that begin with a colon: how a line is read, and the help. Each subject keeps the table of its own
//! commands; a new one is a row there and an arm of that subject's deeds. Lines that begin with anything else are
//! messages, those that begin with `/` too. No I/O.

use super::{files, finding, groups, lists, messages, people, profile, render, requests};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Say(String),
    Client(requests::Deed),
    Message(messages::Deed),
    File(files::Deed),
    List(lists::Deed),
    Search(finding::Search),
    Group(groups::Deed),
    People(people::Deed),
    Profile(profile::Deed),
}

pub(super) struct Command {
    /// The colon, the name in small letters, then what it takes.
    pub usage: &'static str,
    pub about: &'static str,
    /// Reads what stands behind the name.
    pub read: fn(&str) -> Option<Action>,
}

/// The commands of a subject, under its heading in the help.
struct Section {
    heading: &'static str,
    commands: &'static [Command],
}

const SECTIONS: &[Section] = &[
    Section {
        heading: "talking",
        commands: requests::COMMANDS,
    },
    Section {
        heading: "messages of the open conversation",
        commands: messages::COMMANDS,
    },
    Section {
        heading: "the list of conversations",
        commands: lists::COMMANDS,
    },
    Section {
        heading: "search",
        commands: finding::COMMANDS,
    },
    Section {
        heading: "groups",
        commands: groups::COMMANDS,
    },
    Section {
        heading: "files and pictures",
        commands: files::COMMANDS,
    },
    Section {
        heading: "people",
        commands: people::COMMANDS,
    },
    Section {
        heading: "yourself",
        commands: profile::COMMANDS,
    },
];

/// Columns of the help before what a command is about.
const USAGE_WIDTH: usize = 30;

impl Command {
    /// `open`, `group new`: the words before what it takes.
    fn name(&self) -> &'static str {
        let usage = self.usage.trim_start_matches(':');
        let named = usage
            .split_inclusive(' ')
            .take_while(|word| word.trim().bytes().all(|b| b.is_ascii_lowercase()));
        usage[..named.map(str::len).sum()].trim_end()
    }

    fn hint(&self) -> String {
        format!("it is {} — {}", self.usage, self.about)
    }
}

fn all() -> impl Iterator<Item = &'static Command> {
    SECTIONS.iter().flat_map(|section| section.commands)
}

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
    let known = all().find_map(|known| Some((known, behind(command, known.name())?)));
    if let Some((known, rest)) = known {
        return Some((known.read)(rest).ok_or_else(|| known.hint()));
    }
    let (word, _) = first(command);
    let begins = all().find(|known| known.name().split(' ').next() == Some(word));
    Some(Err(match begins {
        Some(known) => known.hint(),
        None => format!("there is no :{word}; :help shows what there is"),
    }))
}

/// What stands behind a command's name.
fn behind<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// A line of help for each command, by subject.
pub(super) fn help() -> Vec<String> {
    let mut lines = Vec::new();
    for section in SECTIONS {
        lines.push(section.heading.to_owned());
        for command in section.commands {
            let (usage, about) = (command.usage, command.about);
            if render::width(usage) < USAGE_WIDTH {
                lines.push(format!("  {}{about}", render::padded(usage, USAGE_WIDTH)));
            } else {
                lines.push(format!("  {usage}"));
                lines.push(format!("  {}{about}", " ".repeat(USAGE_WIDTH)));
            }
        }
    }
    lines.push("anything else is a message".to_owned());
    for (usage, about) in [
        (
            "@NAME, @all",
            "in a message mentions somebody, or a whole group",
        ),
        ("/…", "is for the server's plugins"),
        ("::…", "is a message that begins with a colon"),
        ("\"…\"", "makes one word of several"),
    ] {
        lines.push(format!("  {}{about}", render::padded(usage, USAGE_WIDTH)));
    }
    lines
}

/// How one command is used.
pub(super) fn help_on(name: &str) -> Option<String> {
    let name = name.trim_start_matches(':');
    let known = all().find(|known| known.name().split(' ').next() == Some(name))?;
    Some(format!("{} — {}", known.usage, known.about))
}

pub(super) fn alone(rest: &str, action: Action) -> Option<Action> {
    rest.is_empty().then_some(action)
}

/// The first word and what follows it.
pub(super) fn first(rest: &str) -> (&str, &str) {
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    (word, rest.trim())
}

/// All of it, at least something.
pub(super) fn text(rest: &str) -> Option<String> {
    (!rest.is_empty()).then(|| rest.to_owned())
}

/// Exactly one word.
pub(super) fn word(rest: &str) -> Option<String> {
    let mut words = words(rest)?;
    let word = words.pop().filter(|word| !word.is_empty())?;
    words.is_empty().then_some(word)
}

/// Exactly one user's name, with an `@` or without.
pub(super) fn name(rest: &str) -> Option<String> {
    let name = word(rest)?;
    let name = name.strip_prefix('@').unwrap_or(&name);
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| name.to_owned())
}

/// One name or more.
pub(super) fn names(rest: &str) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = rest.split_whitespace().map(name).collect();
    names.filter(|names| !names.is_empty())
}

/// A name, and what follows it if anything does.
pub(super) fn name_and_text(rest: &str) -> Option<(String, Option<String>)> {
    let (word, rest) = first(rest);
    Some((name(word)?, text(rest)))
}

/// An entry's place, `7` or `#7`.
pub(super) fn seq(word: &str) -> Option<u64> {
    let digits = word.strip_prefix('#').unwrap_or(word);
    digits.parse().ok().filter(|seq| *seq > 0)
}

/// An entry's place and what follows it, at least something.
pub(super) fn seq_and_text(rest: &str) -> Option<(u64, String)> {
    let (word, rest) = first(rest);
    Some((seq(word)?, text(rest)?))
}

/// Words between spaces; quotes make one of several. `None` when a quote does not end.
pub(super) fn words(rest: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun, mut end) = (Vec::new(), String::new(), false, None);
    for c in rest.chars() {
        match (end, c) {
            (Some(quote), c) if c == quote => end = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '“') => (begun, end) = (true, Some(if c == '“' { '”' } else { c })),
            (None, c) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    end.is_none().then_some(words)
}

#[cfg(test)]
mod tests;
