//! The tools that check `deploy/`, in the user's cache: those from Python's registry by the versions in `tools.txt`, and
//! Prometheus's own, of which no server is started. Got once for each list.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::child;
use crate::machine::{self, servers};

/// What is asked for, and kept beside what was got for it.
const ASKED: &str = include_str!("tools.txt");
const LIST: &str = "tools.txt";

/// Where the programs are.
pub struct Tools {
    folder: PathBuf,
    promtool: PathBuf,
}

impl Tools {
    /// Gets what is not there.
    pub fn get() -> Result<Self> {
        let cache = servers::cache().context("HOME is not set: there is no cache for tools")?;
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make {}", cache.display()))?;
        let promtool = promtool(&cache)?;
        let folder = cache.join("deployment-tools");
        let got = std::fs::read_to_string(folder.join(LIST)).unwrap_or_default();
        if got == ASKED {
            println!("      the tools for deploy/ are there");
        } else {
            println!("      getting the tools for deploy/, some 200 MB");
            from_python(&folder)?;
        }
        Ok(Self { folder, promtool })
    }

    /// One from Python's registry.
    pub fn command(&self, program: &str) -> Command {
        child::command(self.folder.join("bin").join(program))
    }

    pub fn promtool(&self) -> Command {
        child::command(&self.promtool)
    }
}

/// Programs in it name its path, so it is made where it stays; the list comes last, when it is whole.
fn from_python(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    child::run(child::command("python3").args(["-m", "venv"]).arg(folder))
        .context("`python3 -m venv` failed: `apt-get install python3-venv`")?;
    let list = folder.join("asked.txt");
    std::fs::write(&list, ASKED)?;
    let pip = ["-m", "pip", "install", "--quiet", "--requirement"];
    let python = folder.join("bin/python3");
    child::run(child::command(python).args(pip).arg(&list))
        .context("pip could not get the tools for deploy/")?;
    std::fs::rename(&list, folder.join(LIST))?;
    Ok(())
}

/// The one on the PATH, or the one in Debian's package, which would start a server if it were installed.
fn promtool(cache: &Path) -> Result<PathBuf> {
    if child::on_path("promtool") {
        return Ok("promtool".into());
    }
    let folder = cache.join("prometheus");
    let program = folder.join("usr/bin/promtool");
    if !program.is_file() {
        println!("      getting promtool");
        let got = machine::unpack("prometheus", &folder);
        got.context("no promtool: install Prometheus's tools in this system's own way")?;
    }
    Ok(program)
}
