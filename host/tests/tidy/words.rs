//! Words that may not stand in the repository: work left undone, checks switched off, what only one machine or one tracker
//! knows. Also the opening lines of every source file. The words are written in pieces here, so as not to find themselves.

use super::Finding;
use super::repository::{File, Repository};
use super::rust;

/// Marks of work left undone, in any file.
const UNDONE: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

/// Code that is not there, or a check that is switched off.
const IN_CODE: [(&str, &str); 6] = [
    (concat!("todo", "!("), "is not written yet"),
    (concat!("unimplemented", "!("), "is not written yet"),
    (
        concat!("#[igno", "re"),
        "a test that does not run proves nothing",
    ),
    (
        concat!(", igno", "re)]"),
        "a test that does not run proves nothing",
    ),
    (
        concat!("fn te", "st_"),
        "a test's name is a sentence without this prefix",
    ),
    (
        concat!("allow(clippy", "::too_many_lines"),
        "exceptions stand in tidy/exceptions.toml",
    ),
];

/// Where whoever reads a command's output may have gone: `say!` ends quietly then.
const COMMANDS: &str = "host/src/cli";

/// Absolute paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
];

/// Parts of the names of package registries' hosts: clients know where their registry is.
const REGISTRIES: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("maven", ".org"),
    concat!("maven.apache", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// Files that tools write.
const WRITTEN_BY_TOOLS: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// Lines of `//!` a file opens with; a crate's own may be shorter or longer.
const OPENING_LINES: std::ops::RangeInclusive<usize> = 2..=6;

pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repository.files {
        let by_tools = WRITTEN_BY_TOOLS
            .iter()
            .any(|name| file.path.ends_with(name));
        if by_tools {
            // Cargo's lock names its registry; no other tool has to.
            if !file.path.ends_with("Cargo.lock") {
                each_line(file, &mut findings, registry);
            }
            continue;
        }
        each_line(file, &mut findings, undone);
        each_line(file, &mut findings, machine_path);
        each_line(file, &mut findings, registry);
        if file.path.ends_with(".md") {
            each_line(file, &mut findings, tracker);
        }
        if file.is_rust() {
            each_line(file, &mut findings, tracker_in_comment);
            in_code(file, &mut findings);
        }
    }
    findings
}

/// Every source file opens with what it owns and must never do.
pub fn openings(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        let lines = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        let is_crate = file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs");
        let fine = OPENING_LINES.contains(&lines) || is_crate && lines > 0;
        if !fine {
            findings.push(Finding::new(
                &file.path,
                1,
                format!("opens with {lines} lines of `//!`, not with {OPENING_LINES:?}"),
            ));
        }
    }
    findings
}

fn each_line(file: &File, findings: &mut Vec<Finding>, find: impl Fn(&str) -> Option<String>) {
    for (number, line) in file.lines() {
        if let Some(problem) = find(line) {
            findings.push(Finding::new(&file.path, number, problem));
        }
    }
}

fn undone(line: &str) -> Option<String> {
    UNDONE
        .iter()
        .find(|word| rust::words(line, word).next().is_some())
        .map(|word| format!("{word}: finish it or leave it out"))
}

fn machine_path(line: &str) -> Option<String> {
    MACHINE_PATHS
        .iter()
        .find(|path| {
            line.match_indices(*path).any(|(at, _)| {
                // Inside a longer path it is an ordinary name.
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-$}*".contains(c))
            })
        })
        .map(|path| format!("{path} is a path of one machine"))
}

fn registry(line: &str) -> Option<String> {
    REGISTRIES
        .iter()
        .find(|host| line.contains(**host))
        .map(|host| format!("{host} is a registry's host; its client knows it"))
}

/// Numbers of a tracker that readers of the repository may not have.
fn tracker(line: &str) -> Option<String> {
    let lower = line.to_ascii_lowercase();
    let after_word = ["issue", "issues"].iter().any(|word| {
        rust::words(&lower, word).any(|at| {
            let rest = &lower[at + word.len()..];
            let number = rest.trim_start_matches([' ', '#', '/', '-']);
            number.len() < rest.len() && number.starts_with(|c: char| c.is_ascii_digit())
        })
    });
    let after_hash = line.match_indices('#').any(|(at, _)| {
        let free = line[..at].is_empty() || line[..at].ends_with([' ', '(', '[']);
        let digits = line[at + 1..]
            .chars()
            .take_while(char::is_ascii_digit)
            .count();
        let ends = line[at + 1 + digits..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric());
        free && digits > 0 && ends
    });
    (after_word || after_hash)
        .then(|| "a number in a tracker says nothing here: say why".to_owned())
}

/// In code only comments are meant: a program may show `#3` for a message's place.
fn tracker_in_comment(line: &str) -> Option<String> {
    line.split_once("//")
        .and_then(|(_, comment)| tracker(comment))
}

fn in_code(file: &File, findings: &mut Vec<Finding>) {
    let code = rust::code(&file.text);
    for (index, line) in code.lines().enumerate() {
        if file.path.starts_with(COMMANDS) && rust::words(line, "println").next().is_some() {
            let problem = "a command prints with say!";
            findings.push(Finding::new(&file.path, index + 1, problem));
        }
        for (word, problem) in IN_CODE {
            if line.contains(word) {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    format!("{word} {problem}"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Repository::of(vec![File::made_up(path, text)])).len()
    }

    #[test]
    fn what_is_left_undone_is_found() {
        assert_eq!(findings("a.sh", &format!("# {}: later", UNDONE[0])), 1);
        assert_eq!(findings("a.sh", "# ALL TODOS DONE"), 0, "a longer word");
        for (word, _) in IN_CODE {
            assert_eq!(findings("a.rs", &format!("#[x{word}y")), 1, "{word}");
            assert_eq!(findings("a.rs", &format!("// #[x{word}y")), 0, "{word}");
        }
    }

    #[test]
    fn a_command_that_prints_past_say_is_found() {
        let printed = |path: &str, line: &str| findings(path, line);
        assert_eq!(printed("host/src/cli/a.rs", "println!(\"a\");"), 1);
        assert_eq!(printed("host/src/cli/a.rs", "eprintln!(\"a\");"), 0);
        assert_eq!(printed("host/src/app/a.rs", "println!(\"a\");"), 0);
    }

    #[test]
    fn machines_and_registries_are_found() {
        let machine = MACHINE_PATHS[0];
        assert_eq!(findings("a.md", &format!("see {machine}x")), 1);
        assert_eq!(findings("a.md", &format!("see /srv{machine}x")), 0);
        assert_eq!(
            findings("a.toml", &format!("u = \"https://x.{}\"", REGISTRIES[1])),
            1
        );
        assert_eq!(findings("Cargo.lock", REGISTRIES[0]), 0);
    }

    #[test]
    fn numbers_of_a_tracker_are_found() {
        for line in ["as issue @12 says", "see Issues/@7", "(#@12)", "since #@3."] {
            let line = line.replace('@', "");
            assert_eq!(findings("a.md", &line), 1, "{line}");
        }
        for line in ["# 1 heading", "colour #333a", "the issues are 2", "a#1"] {
            assert_eq!(findings("a.md", line), 0, "{line}");
        }
    }

    #[test]
    fn a_file_without_its_opening_is_found() {
        let opening = |path: &str, lines: usize| {
            let text = format!("{}fn a() {{}}\n", "//! owns a\n".repeat(lines));
            openings(&Repository::of(vec![File::made_up(path, &text)])).len()
        };
        assert_eq!(opening("a/b.rs", 1), 1);
        assert_eq!(opening("a/b.rs", 2), 0);
        assert_eq!(opening("a/b.rs", 7), 1);
        assert_eq!(opening("a/src/lib.rs", 7), 0);
    }
}
