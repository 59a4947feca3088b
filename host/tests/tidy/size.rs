//! How long files and functions may be, and how large a file.
//! A longer one needs an entry in `exceptions.toml`, which says why and how much; an entry that is not needed any more,
//! or allows more than there is, must go or shrink.

use serde::Deserialize;

use super::Finding;
use super::repository::{File, Repository};
use super::rust;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const FILE_BYTES: u64 = 256 * 1024;

/// Endings of the sources people write.
const SOURCES: [&str; 8] = [".rs", ".ts", ".tsx", ".js", ".vue", ".py", ".wit", ".sh"];
/// Written by tools, as long as they must be.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "package-lock.json"];

const EXCEPTIONS: &str = "host/tests/tidy/exceptions.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    long_file: Vec<Exception>,
    #[serde(default)]
    long_function: Vec<Exception>,
    #[serde(default)]
    large_file: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: String,
    /// The function's name, for a long function.
    #[serde(default)]
    name: String,
    /// Lines, or bytes of a large file.
    at_most: u64,
    reason: String,
}

pub fn check(repository: &Repository) -> Vec<Finding> {
    let text = &repository.file(EXCEPTIONS).text;
    let exceptions: Exceptions =
        toml::from_str(text).unwrap_or_else(|error| panic!("{EXCEPTIONS}: {error}"));
    let mut measured = Measured::default();
    for file in &repository.files {
        measured.add(file);
    }
    let mut findings = Vec::new();
    for (found, excused) in [
        (&measured.files, &exceptions.long_file),
        (&measured.functions, &exceptions.long_function),
        (&measured.large, &exceptions.large_file),
    ] {
        compare(found, excused, &mut findings);
    }
    findings
}

/// What is over a limit.
#[derive(Default)]
struct Measured {
    files: Vec<Over>,
    functions: Vec<Over>,
    large: Vec<Over>,
}

struct Over {
    path: String,
    line: usize,
    name: String,
    amount: u64,
    limit: u64,
    unit: &'static str,
}

impl Measured {
    fn add(&mut self, file: &File) {
        let over = |line, name: &str, amount, limit, unit| Over {
            path: file.path.clone(),
            line,
            name: name.to_owned(),
            amount,
            limit,
            unit,
        };
        if SOURCES.iter().any(|ending| file.path.ends_with(ending)) {
            let lines = file.text.lines().count();
            if lines > FILE_LINES {
                self.files
                    .push(over(0, "", lines as u64, FILE_LINES as u64, "lines"));
            }
        }
        let written_by_tools = LOCK_FILES.iter().any(|name| file.path.ends_with(name));
        if file.size > FILE_BYTES && !written_by_tools {
            self.large.push(over(0, "", file.size, FILE_BYTES, "bytes"));
        }
        if file.is_rust() {
            for function in rust::functions(&rust::code(&file.text)) {
                if function.length > FUNCTION_LINES {
                    self.functions.push(over(
                        function.line,
                        &function.name,
                        function.length as u64,
                        FUNCTION_LINES as u64,
                        "lines of code",
                    ));
                }
            }
        }
    }
}

fn compare(found: &[Over], excused: &[Exception], findings: &mut Vec<Finding>) {
    for over in found {
        let excuse = excused
            .iter()
            .find(|excuse| excuse.path == over.path && excuse.name == over.name);
        if over.amount > excuse.map_or(over.limit, |excuse| excuse.at_most) {
            let what = if over.name.is_empty() {
                "the file"
            } else {
                &over.name
            };
            findings.push(Finding::new(
                &over.path,
                over.line,
                format!(
                    "{what} has {} {}, {} are allowed",
                    over.amount, over.unit, over.limit
                ),
            ));
        }
    }
    for excuse in excused {
        let needed = found
            .iter()
            .find(|over| excuse.path == over.path && excuse.name == over.name);
        let about = format!("{} {}", excuse.path, excuse.name);
        let problem = match needed {
            None => Some("is not needed any more: remove it".to_owned()),
            Some(over) if over.amount < excuse.at_most => {
                Some(format!("must shrink to {}", over.amount))
            }
            Some(_) if excuse.reason.trim().len() < 20 => Some("gives no reason".to_owned()),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            findings.push(Finding::new(
                EXCEPTIONS,
                0,
                format!("the exception for {} {problem}", about.trim_end()),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: File, exceptions: &str) -> Vec<String> {
        let repository = Repository::of(vec![file, File::made_up(EXCEPTIONS, exceptions)]);
        check(&repository).iter().map(Finding::to_string).collect()
    }

    fn long(lines: usize) -> File {
        File::made_up(
            "a.rs",
            &format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines)),
        )
    }

    #[test]
    fn what_is_too_long_is_found() {
        assert!(findings(long(FUNCTION_LINES), "").is_empty());
        assert_eq!(
            findings(long(FUNCTION_LINES + 1), ""),
            ["a.rs:1: f has 71 lines of code, 70 are allowed"]
        );
        assert_eq!(findings(long(FILE_LINES), "").len(), 2);
    }

    #[test]
    fn an_exception_covers_what_it_says_and_may_only_shrink() {
        let entry = |at_most: u64| {
            format!(
                "[[long_function]]\npath = \"a.rs\"\nname = \"f\"\nat_most = {at_most}\n\
                 reason = \"a table that reads best in one piece\"\n"
            )
        };
        assert!(findings(long(80), &entry(80)).is_empty());
        assert_eq!(findings(long(80), &entry(79)).len(), 1, "it grew");
        assert_eq!(findings(long(80), &entry(90)).len(), 1, "it must shrink");
        assert_eq!(findings(long(10), &entry(80)).len(), 1, "it must go");
    }

    #[test]
    fn a_large_file_is_found() {
        let large = File {
            path: "plugins/x/words.bin".to_owned(),
            size: FILE_BYTES + 1,
            text: String::new(),
        };
        assert_eq!(findings(large, "").len(), 1);
    }
}
