//! The repository's own rules, as ordinary tests: what style and architecture promise and no compiler checks.
//! Each test names every place that breaks its rule at once, as `file:line: what`. Exceptions stand, with a reason, in
//! `tidy/exceptions.toml`, and that list may only shrink. Nothing here builds or runs the host.

mod dependencies;
mod documents;
mod names;
mod repository;
mod rooms;
mod rust;
mod size;
mod words;

use std::fmt;

use repository::Repository;

/// One place that breaks a rule. Line 0 stands for the whole file.
struct Finding {
    path: String,
    line: usize,
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(to, "{}: {}", self.path, self.text)
        } else {
            write!(to, "{}:{}: {}", self.path, self.line, self.text)
        }
    }
}

#[track_caller]
fn none(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} places break this rule:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn files_and_functions_are_short_and_nothing_is_large() {
    none(size::check(Repository::whole()));
}

#[test]
fn every_source_file_says_what_it_owns() {
    none(words::openings(Repository::whole()));
}

#[test]
fn nothing_is_left_undone_ignored_or_tied_to_one_machine() {
    none(words::check(Repository::whole()));
}

#[test]
fn names_say_what_things_are_and_the_top_level_is_fixed() {
    none(names::check(Repository::whole()));
}

#[test]
fn rooms_are_kept_apart() {
    none(rooms::check(Repository::whole()));
}

#[test]
fn documents_point_to_what_exists() {
    none(documents::check(Repository::whole()));
}

#[test]
fn dependencies_are_listed_once_and_used() {
    none(dependencies::check_manifests(Repository::whole()));
}

#[test]
fn dependencies_come_from_one_registry_under_agreed_licences() {
    none(dependencies::check_packages(Repository::whole()));
}
