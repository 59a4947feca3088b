//! Walks the authors' guide, `plugins/README.md`: from its own text, in Rust on the server and with the two people that are
//! there already; in the other languages up to the component, behind which everything is the same, and a server takes one
//! version of a name. What only a person can do is passed over.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Running, run_shown, talk};
use crate::layout::Layout;
use crate::verify::documents;

const GUIDE: &str = "plugins/README.md";
/// The sections that are walked, in this order.
const SECTIONS: [&str; 3] = [
    "## Your first plugin, in ten minutes",
    "## Signing",
    "## Looking after a plugin",
];
/// What the guide says the new plugin does: this is sent, and this arrives.
const SENT: &str = "a pear";
const ARRIVES: &str = "a ****";
/// The command after which it does.
const CONFIGURED: &str = "kith plugin config my-filter --set word=pear";
/// With which the component leaves the author's machine.
const LEAVES: &str = "kith plugin push ";
/// npm asks nobody else: a new plugin depends on nothing but the kit in its folder.
const NPM_ALONE: &str = "export npm_config_offline=true npm_config_audit=false";

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Javascript,
    Python,
}

impl Language {
    /// Whose commands a block has; none where they are everybody's.
    fn of(block: &[String]) -> Option<Self> {
        let has = |part: &str| block.iter().any(|command| command.contains(part));
        let only = |parts: [&str; 2], language| parts.into_iter().any(has).then_some(language);
        only(["--lang javascript", "npm "], Self::Javascript)
            .or_else(|| only(["--lang python", "python3 "], Self::Python))
            .or_else(|| only(["kith plugin new ", "cargo test"], Self::Rust))
    }
}

/// Every command of the guide, in a folder of its own.
pub fn walk(
    layout: &Layout,
    exports: &[String],
    people: (&mut Running, &mut Running),
) -> Result<()> {
    let folder = layout.target.join("first-steps-guide");
    let _ = fs::remove_dir_all(&folder);
    let walked = steps(layout, &folder, exports, people);
    let _ = fs::remove_dir_all(&folder);
    walked
}

fn steps(
    layout: &Layout,
    folder: &Path,
    exports: &[String],
    (alice, bob): (&mut Running, &mut Running),
) -> Result<()> {
    let text = fs::read_to_string(layout.root.join(GUIDE))?;
    for said in [SENT, ARRIVES] {
        if !text.contains(said) {
            bail!("{GUIDE} does not say what becomes of {SENT:?}");
        }
    }
    let mut changed = false;
    paste(
        layout,
        folder.join("rust"),
        exports,
        &all(&text)?,
        |command| {
            if command == CONFIGURED {
                alice.say(&format!("{SENT} of the guide"))?;
                bob.waits_for(&[&format!("{ARRIVES} of the guide")])?;
                changed = true;
            }
            Ok(())
        },
    )?;
    if !changed {
        bail!("{GUIDE} does not show `{CONFIGURED}`");
    }
    let alone = [exports, &[NPM_ALONE.to_owned()]].concat();
    for language in [Language::Javascript, Language::Python] {
        let began = Instant::now();
        let folder = folder.join(format!("{language:?}"));
        let commands = up_to_the_component(&text, language)?;
        paste(layout, folder, &alone, &commands, |_| Ok(()))?;
        let took = began.elapsed().as_secs_f64();
        println!("      the guide's plugin in {language:?} was tested and built in {took:.1} s");
    }
    talk(bob, alice, "still here after the guide")
}

/// Runs commands in a folder of their own, each told of once it is done.
fn paste(
    layout: &Layout,
    mut folder: PathBuf,
    exports: &[String],
    commands: &[String],
    mut done: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(&folder)?;
    for command in commands {
        match command.strip_prefix("cd ") {
            Some(into) => folder = entered(&folder, into)?,
            None => run_shown(layout, &folder, exports, command)?,
        }
        done(command)?;
    }
    Ok(())
}

fn entered(folder: &Path, into: &str) -> Result<PathBuf> {
    let folder = folder.join(into);
    let there = folder.is_dir().then_some(folder);
    there.with_context(|| format!("the folder {into} is not there"))
}

/// Every section in Rust.
fn all(text: &str) -> Result<Vec<String>> {
    let sections = SECTIONS.map(|section| commands(text, section, Language::Rust));
    let sections = sections.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(sections.concat())
}

/// The first section in a language, until the component leaves the author's machine.
fn up_to_the_component(text: &str, language: Language) -> Result<Vec<String>> {
    let mut found = commands(text, SECTIONS[0], language)?;
    let leaves = found.iter().position(|command| command.starts_with(LEAVES));
    let leaves = leaves.with_context(|| format!("{GUIDE} does not show `{LEAVES}…`"))?;
    found.truncate(leaves);
    if !found.iter().any(|command| command.contains("--lang ")) {
        bail!("{GUIDE} does not show how a plugin in {language:?} is made");
    }
    Ok(found)
}

/// What is run of a section in a language: not the server, the terminals and the exports that are there already.
fn commands(text: &str, section: &str, language: Language) -> Result<Vec<String>> {
    let is_there = |command: &str| {
        ["cargo dev", "export ", "kith chat "]
            .iter()
            .any(|begins| command.starts_with(begins))
    };
    let blocks = documents::blocks(text, section);
    if blocks.is_empty() {
        bail!("{GUIDE} shows no commands below {section:?}");
    }
    let own = blocks
        .into_iter()
        .filter(|block| Language::of(block).is_none_or(|of| of == language));
    Ok(own.flatten().filter(|command| !is_there(command)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(commands: &str) -> String {
        format!("```sh\n{commands}\n```\n")
    }

    fn guide() -> String {
        [
            SECTIONS[0],
            &block("cargo dev"),
            &block("export KITH_ADMIN_URL=x"),
            &block("kith plugin new a\ncd a"),
            &block("kith plugin new a --lang javascript\ncd a"),
            &block("kith plugin test ."),
            &block("cargo test"),
            &block("npm install && npm test"),
            &block("PYTHONPATH=src python3 -m unittest discover tests"),
            &block("kith plugin build .\nkith plugin push a.wasm"),
            &block("kith chat --register --user alice bob"),
            SECTIONS[1],
            &block("kith plugin sign a.wasm"),
            SECTIONS[2],
            &block("kith plugin enable a"),
        ]
        .join("\n")
    }

    #[test]
    fn what_is_there_and_other_languages_are_passed_over() {
        let wanted = [
            "kith plugin new a",
            "cd a",
            "kith plugin test .",
            "cargo test",
            "kith plugin build .",
            "kith plugin push a.wasm",
            "kith plugin sign a.wasm",
            "kith plugin enable a",
        ];
        assert_eq!(all(&guide()).expect("every section has some"), wanted);
        assert!(all(SECTIONS[0]).is_err());
    }

    #[test]
    fn another_language_is_walked_up_to_its_component() {
        let wanted = [
            "kith plugin new a --lang javascript",
            "cd a",
            "kith plugin test .",
            "npm install && npm test",
            "kith plugin build .",
        ];
        let found = up_to_the_component(&guide(), Language::Javascript);
        assert_eq!(found.expect("it is shown"), wanted);
        let missing = up_to_the_component(&guide(), Language::Python);
        let missing = missing.expect_err("nobody makes one").to_string();
        assert!(missing.contains("a plugin in Python"), "{missing}");
    }
}
