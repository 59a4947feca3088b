//! What documents point to exists: links between files and to headings, and files named as `folder/file`.
//! It follows no link out of the repository.

use std::collections::HashSet;

use super::Finding;
use super::repository::{File, Repository};

/// A path in backticks that begins with one of these is meant to exist.
const OUR_FOLDERS: [&str; 5] = ["deploy/", "host/", "plugins/", "sdk/", "wit/"];

pub fn check(repository: &Repository) -> Vec<Finding> {
    let known = Known::new(repository);
    let mut findings = Vec::new();
    for file in repository.ending(".md") {
        for (number, line) in prose(file) {
            for target in links(line) {
                if let Some(problem) = known.dead_link(file, target) {
                    findings.push(Finding::new(&file.path, number, problem));
                }
            }
            for name in named_paths(line) {
                if !known.exists(name.trim_end_matches('/')) {
                    findings.push(Finding::new(
                        &file.path,
                        number,
                        format!("there is no `{name}`"),
                    ));
                }
            }
        }
    }
    findings
}

/// Paths of all files and folders.
struct Known<'a> {
    repository: &'a Repository,
    paths: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn new(repository: &'a Repository) -> Self {
        let mut paths = HashSet::new();
        for file in &repository.files {
            paths.insert(file.path.as_str());
            for (at, _) in file.path.match_indices('/') {
                paths.insert(&file.path[..at]);
            }
        }
        Self { repository, paths }
    }

    fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    fn dead_link(&self, from: &File, target: &str) -> Option<String> {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        let (relative, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if relative.is_empty() {
            from.path.clone()
        } else {
            resolve(&from.path, relative)
        };
        if !self.exists(&path) {
            return Some(format!("the link to {target} is dead"));
        }
        let file = self
            .repository
            .files
            .iter()
            .find(|file| file.path == path)?;
        let found = heading.is_empty() || headings(file).any(|known| known == heading);
        (!found).then(|| format!("{path} has no heading #{heading}"))
    }
}

/// Lines outside fenced blocks.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.lines().filter(move |(_, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return false;
        }
        !fenced
    })
}

/// Targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        (!target.is_empty()).then_some(target)
    })
}

/// Whole paths in backticks; patterns and placeholders are none.
fn named_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| {
        OUR_FOLDERS.iter().any(|folder| name.starts_with(folder))
            && !name.contains(|c: char| c.is_whitespace() || "*<>{}$…,".contains(c))
            && !name.contains("NAME")
            && !name.contains("NNNN")
            && !name.contains("/target")
    })
}

fn resolve(from: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Headings as links name them: lower case, blanks as hyphens, no punctuation.
fn headings(file: &File) -> impl Iterator<Item = String> {
    prose(file)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_and_paths_are_found() {
        let text = "\
[a](../README.md) [b](b.md#two-words-i1) [c](#here) [out](https://example.org/x)
[gone](gone.md) [no](b.md#three)
`host/b.md` `host/gone.rs` `host/*.rs` `gone.rs` `plugins/NAME`
## Here
";
        let repository = Repository::of(vec![
            File::made_up("README.md", ""),
            File::made_up("host/a.md", text),
            File::made_up("host/b.md", "# Two words (I1)\n"),
        ]);
        let found: Vec<String> = check(&repository).iter().map(Finding::to_string).collect();
        assert_eq!(
            found,
            [
                "host/a.md:2: the link to gone.md is dead",
                "host/a.md:2: host/b.md has no heading #three",
                "host/a.md:3: there is no `host/gone.rs`",
            ]
        );
    }
}
