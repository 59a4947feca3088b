//! Replaces a running plugin: build with a development version, push, activate, through the command line alone.
//! Remembers in the data folder what is serving, so that a change made while nothing ran is picked up at the next start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sources;
use crate::build;
use crate::child;
use crate::layout::Layout;

/// The record's line of the next number; no plugin can have this name.
const NEXT: &str = "*next";

/// Pushes to one server.
pub struct Swapper {
    data: PathBuf,
    admin: String,
    token: String,
    /// Fingerprints of the sources that serve, by plugin.
    serving: BTreeMap<String, u64>,
    /// The number the next development version gets; a version's contents never change.
    next: u64,
}

impl Swapper {
    /// Reads what the data folder remembers. In a new folder the plugins just built are what the server will load.
    pub fn open(layout: &Layout, data: &Path, admin_listen: &str, token: &str) -> Result<Self> {
        let record = data.join("dev-plugins");
        let mut swapper = Self {
            data: data.to_owned(),
            admin: format!("http://{admin_listen}"),
            token: token.to_owned(),
            serving: BTreeMap::new(),
            next: 1,
        };
        match fs::read_to_string(&record) {
            Ok(text) => swapper
                .read(&text)
                .with_context(|| format!("{} is damaged; remove it", record.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                for name in layout.plugins()? {
                    let fingerprint = sources::fingerprint(layout, &name);
                    swapper.serving.insert(name, fingerprint);
                }
                swapper.write()?;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", record.display()));
            }
        }
        Ok(swapper)
    }

    /// The fingerprint that serves; zero, which stands for none, when the plugin is new to this data folder.
    pub fn serving(&self, name: &str) -> u64 {
        self.serving.get(name).copied().unwrap_or(0)
    }

    /// The server's data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Builds, pushes and activates `name`; returns the version that serves now.
    pub fn swap(&mut self, layout: &Layout, name: &str, fingerprint: u64) -> Result<String> {
        let folder = layout.target.join("dev-plugins");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(format!("{name}.wasm"));
        let suffix = format!("dev.{}", self.next);
        // Used up even when the rest fails: the server may have stored it already.
        self.next += 1;
        self.write()?;
        build::plugin(layout, name, &file, Some(&suffix))?;

        let mut last = String::new();
        let mut push = self.kith(layout);
        push.args(["plugin", "push"]).arg(&file);
        child::run_seeing(&mut push, |line| line.clone_into(&mut last))?;
        let mut words = last.split_whitespace();
        let (Some(pushed), Some(version)) = (words.next(), words.next()) else {
            bail!("`kith plugin push` printed `{last}` instead of NAME VERSION DIGEST");
        };
        let reference = format!("{pushed}@{version}");
        child::run(
            self.kith(layout)
                .args(["plugin", "activate"])
                .arg(&reference),
        )?;
        self.serving.insert(name.to_owned(), fingerprint);
        self.write()?;
        Ok(version.to_owned())
    }

    fn kith(&self, layout: &Layout) -> Command {
        let mut kith = child::command(layout.kith());
        kith.env("KITH_ADMIN_URL", &self.admin)
            .env("KITH_ADMIN_TOKEN", &self.token);
        kith
    }

    fn read(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            let (name, number) = line
                .split_once(' ')
                .with_context(|| format!("no number in `{line}`"))?;
            let number = number
                .parse()
                .with_context(|| format!("not a number in `{line}`"))?;
            if name == NEXT {
                self.next = number;
            } else {
                self.serving.insert(name.to_owned(), number);
            }
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        let mut text = format!("{NEXT} {}\n", self.next);
        for (name, fingerprint) in &self.serving {
            text.push_str(&format!("{name} {fingerprint}\n"));
        }
        let record = self.data.join("dev-plugins");
        fs::write(&record, text).with_context(|| format!("cannot write {}", record.display()))
    }
}
