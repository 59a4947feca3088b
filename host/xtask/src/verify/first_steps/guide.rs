//! Walks the authors' guide, `plugins/README.md`, in Rust: from its own text, on the server and with the two people that
//! are there already. What only a person can do, a second language and a second server, is passed over.

use std::fs;
use std::path::{Path, PathBuf};

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

/// Every command of the guide, in a folder of its own.
pub fn walk(
    layout: &Layout,
    exports: &[String],
    people: (&mut Running, &mut Running),
) -> Result<()> {
    let folder = layout.target.join("first-steps-guide");
    let _ = fs::remove_dir_all(&folder);
    let walked = steps(layout, folder.clone(), exports, people);
    let _ = fs::remove_dir_all(&folder);
    walked
}

fn steps(
    layout: &Layout,
    mut folder: PathBuf,
    exports: &[String],
    (alice, bob): (&mut Running, &mut Running),
) -> Result<()> {
    let text = fs::read_to_string(layout.root.join(GUIDE))?;
    for said in [SENT, ARRIVES] {
        if !text.contains(said) {
            bail!("{GUIDE} does not say what becomes of {SENT:?}");
        }
    }
    let commands = commands(&text)?;
    fs::create_dir_all(&folder)?;
    let mut changed = false;
    for command in &commands {
        if let Some(into) = command.strip_prefix("cd ") {
            folder = entered(&folder, into)?;
            continue;
        }
        run_shown(layout, &folder, exports, command)?;
        if command == CONFIGURED {
            alice.say(&format!("{SENT} of the guide"))?;
            bob.waits_for(&[&format!("{ARRIVES} of the guide")])?;
            changed = true;
        }
    }
    if !changed {
        bail!("{GUIDE} does not show `{CONFIGURED}`");
    }
    talk(bob, alice, "still here after the guide")
}

fn entered(folder: &Path, into: &str) -> Result<PathBuf> {
    let folder = folder.join(into);
    let there = folder.is_dir().then_some(folder);
    there.with_context(|| format!("the folder {into} is not there"))
}

/// What is run: not the server, the terminals and the exports that are there already, nor another language's plugin.
fn commands(text: &str) -> Result<Vec<String>> {
    let is_there = |command: &str| {
        ["cargo dev", "export ", "kith chat "]
            .iter()
            .any(|begins| command.starts_with(begins))
    };
    let mut found = Vec::new();
    for section in SECTIONS {
        let blocks = documents::blocks(text, section);
        if blocks.is_empty() {
            bail!("{GUIDE} shows no commands below {section:?}");
        }
        let of_rust = blocks
            .into_iter()
            .filter(|block| !block.iter().any(|command| command.contains("--lang ")));
        found.extend(of_rust.flatten().filter(|command| !is_there(command)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_other_languages_are_passed_over() {
        let block = |commands: &str| format!("```sh\n{commands}\n```\n");
        let text = [
            SECTIONS[0],
            &block("cargo dev"),
            &block("export KITH_ADMIN_URL=x"),
            &block("kith plugin new a\ncd a"),
            &block("kith plugin new a --lang python\ncd a"),
            &block("kith chat --register --user alice bob"),
            SECTIONS[1],
            &block("kith plugin sign a.wasm"),
            SECTIONS[2],
            &block("kith plugin enable a"),
        ]
        .join("\n");
        let found = commands(&text).expect("every section has some");
        let wanted = [
            "kith plugin new a",
            "cd a",
            "kith plugin sign a.wasm",
            "kith plugin enable a",
        ];
        assert_eq!(found, wanted);
        assert!(commands(SECTIONS[0]).is_err());
    }
}
