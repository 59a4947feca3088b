//! Checks that the commands in our documents exist: sub-commands and flags of `kith`, and the cargo aliases.
//! It asks the built program for its help and runs none of the commands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::args;
use crate::child;
use crate::layout::Layout;

/// Languages of fenced blocks that hold commands.
const SHELL: [&str; 3] = ["sh", "bash", "console"];

/// One command of a document.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    line: usize,
    words: Vec<String>,
}

/// Every command in every document; all that are wrong are named at once.
pub fn check(layout: &Layout) -> Result<()> {
    let mut documents = Vec::new();
    list(&layout.root, &mut documents);
    documents.sort();
    let mut helps = BTreeMap::new();
    let mut findings = Vec::new();
    let mut checked = 0;
    for path in documents {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(&layout.root).unwrap_or(&path);
        for shown in commands(&text) {
            let found = match program(&shown.words) {
                Some("kith") => wrong_kith(layout, &shown.words, &mut helps),
                Some("cargo") => wrong_cargo(&shown.words),
                _ => continue,
            };
            checked += 1;
            if let Some(problem) = found {
                findings.push(format!("{}:{}: {problem}", name.display(), shown.line));
            }
        }
    }
    println!("      {checked} commands");
    if checked == 0 {
        bail!("no document shows a command; the README must");
    }
    if !findings.is_empty() {
        bail!(
            "documents show what does not exist:\n{}",
            findings.join("\n")
        );
    }
    Ok(())
}

fn list(folder: &Path, documents: &mut Vec<PathBuf>) {
    let Ok(items) = folder.read_dir() else { return };
    for item in items.flatten() {
        let name = item.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        let path = item.path();
        if path.is_dir() {
            list(&path, documents);
        } else if name.ends_with(".md") {
            documents.push(path);
        }
    }
}

/// The commands of each fenced shell block below a heading, as they are written.
pub fn blocks(text: &str, heading: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| line.trim() != heading);
    let section = lines
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .map(str::trim);
    let mut blocks = Vec::new();
    let mut block = None;
    for line in section {
        match (line.strip_prefix("```"), &mut block) {
            (Some(_), Some(_)) => blocks.extend(block.take()),
            (Some(language), None) if SHELL.contains(&language.trim()) => block = Some(Vec::new()),
            (None, Some(commands)) if !line.is_empty() => commands.push(line.to_owned()),
            _ => {}
        }
    }
    blocks
}

fn program(words: &[String]) -> Option<&str> {
    words.first()?.rsplit('/').next()
}

/// The commands in fenced shell blocks: prompts, variables set in front and what follows `|`, `;`, `&&`, `>` are cut off.
fn commands(text: &str) -> Vec<Shown> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut pending: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(language) = trimmed.strip_prefix("```") {
            inside = !inside && SHELL.contains(&language.trim());
            continue;
        }
        if !inside {
            continue;
        }
        let trimmed = trimmed.strip_prefix("$ ").unwrap_or(trimmed);
        let (start, mut whole) = pending.take().unwrap_or((index + 1, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                pending = Some((start, whole));
            }
            None => {
                whole.push_str(trimmed);
                let words = words(&whole);
                if !words.is_empty() {
                    found.push(Shown { line: start, words });
                }
            }
        }
    }
    found
}

fn words(line: &str) -> Vec<String> {
    let is_assignment = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        })
    };
    let ends = |word: &str| matches!(word, "|" | "&&" | ";" | ">" | "&") || word.starts_with('#');
    quoted_words(line)
        .into_iter()
        .take_while(|word| !ends(word))
        .skip_while(|word| is_assignment(word) || word == "sudo")
        .collect()
}

/// Words as a shell splits them: what stands in quotes is one, without them.
fn quoted_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What is wrong with a `kith` command, by the program's own help.
fn wrong_kith(
    layout: &Layout,
    words: &[String],
    helps: &mut BTreeMap<String, Option<String>>,
) -> Option<String> {
    let path: Vec<&str> = words[1..]
        .iter()
        .map(String::as_str)
        .take_while(|word| !word.starts_with('-'))
        .collect();
    let help = helps
        .entry(path.join(" "))
        .or_insert_with(|| child::answer(child::command(layout.kith()).args(&path).arg("--help")));
    let Some(help) = help else {
        return Some(format!("`kith {}` is refused", path.join(" ")));
    };
    words
        .iter()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split_once('=').map_or(word.as_str(), |(flag, _)| flag))
        .find(|flag| !mentions(help, flag))
        .map(|flag| format!("`kith {}` has no {flag}", path.join(" ")))
}

/// True when `flag` stands in `help` as a whole word.
fn mentions(help: &str, flag: &str) -> bool {
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .any(|word| word == flag)
}

/// What is wrong with a command of one of our aliases; cargo's own commands are cargo's business.
fn wrong_cargo(words: &[String]) -> Option<String> {
    let rest = match words.get(1).map(String::as_str) {
        Some("xtask") => &words[2..],
        Some("dev" | "simulate" | "verify") => &words[1..],
        _ => return None,
    };
    args::parse(rest.iter().filter(|word| *word != "--").cloned()).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_quotes_is_one_word() {
        let found = words("kith admin words test \"a B # c\" --json 'd e' # why");
        assert_eq!(found[4..], ["a B # c", "--json", "d e"]);
    }

    #[test]
    fn a_sections_blocks_are_its_own() {
        let text = "# K\n```sh\nno\n```\n## Try\n```text\nno\n```\n```sh\none\n\ntwo\n```\n```sh\nthree\n```\n## Next\n```sh\nno\n```\n";
        assert_eq!(blocks(text, "## Try"), [vec!["one", "two"], vec!["three"]]);
    }

    #[test]
    fn commands_are_found_in_shell_blocks_only() {
        let text = "\
run `cargo dev`

```sh
# a comment
$ KITH_X=1 cargo verify --long | tee log
kith chat \\
  --user alice bob   # why
```

```toml
kith = 1
```
";
        let found: Vec<(usize, String)> = commands(text)
            .into_iter()
            .map(|shown| (shown.line, shown.words.join(" ")))
            .collect();
        assert_eq!(
            found,
            [
                (5, "cargo verify --long".to_owned()),
                (6, "kith chat --user alice bob".to_owned())
            ]
        );
    }

    #[test]
    fn an_alias_with_a_wrong_flag_is_found() {
        let wrong = |line: &str| wrong_cargo(&words(line));
        assert_eq!(wrong("cargo xtask build --release"), None);
        assert_eq!(wrong("cargo build --release -p kith"), None);
        assert_eq!(
            wrong("cargo verify --quick"),
            Some("unknown argument `--quick`".to_owned())
        );
    }

    #[test]
    fn a_flag_is_a_whole_word() {
        let help = "Options:\n      --admin-listen <A>  \n  -h, --help";
        assert!(mentions(help, "--admin-listen"));
        assert!(!mentions(help, "--admin"));
    }
}
