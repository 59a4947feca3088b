//! The tool chains of JavaScript and Python: one pinned version of each, by the lock file in the kit this program was
//! built with, installed once into the user's cache by npm and pip. Says what it does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

pub const NPM_LOCK: &str = include_str!("../../../../sdk/js/tools/package-lock.json");
const NPM_MANIFEST: &str = include_str!("../../../../sdk/js/tools/package.json");
pub const PIP_LOCK: &str = include_str!("../../../../sdk/python/tools/requirements.txt");

/// Names Python may have.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// Where tools and components are kept: `KITH_CACHE`, or the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    if let Some(set) = std::env::var_os("KITH_CACHE") {
        return Ok(PathBuf::from(set));
    }
    if let Some(set) = std::env::var_os("XDG_CACHE_HOME").filter(|set| !set.is_empty()) {
        return Ok(PathBuf::from(set).join("kith"));
    }
    let home = std::env::var_os("HOME")
        .context("HOME is not set; KITH_CACHE may say where tools are kept")?;
    Ok(PathBuf::from(home).join(".cache/kith"))
}

/// The folder with npm's packages.
pub fn npm(say: &dyn Fn(&str)) -> Result<PathBuf> {
    if !answers("node", &["--version"]) {
        bail!(
            "node is missing, which plugins in JavaScript are built with: install Node.js 18 or later, \
             such as with `apt-get install nodejs npm`"
        );
    }
    installed("npm", &[NPM_MANIFEST, NPM_LOCK], say, &|folder| {
        if !answers("npm", &["--version"]) {
            bail!("npm is missing, which comes with Node.js: `apt-get install npm`");
        }
        run(&mut npm_ci(folder)?, "npm ci")
    })
}

/// How npm is called in a folder; only its errors are printed.
fn npm_ci(folder: &Path) -> Result<Command> {
    std::fs::write(folder.join("package.json"), NPM_MANIFEST)?;
    std::fs::write(folder.join("package-lock.json"), NPM_LOCK)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(["--loglevel", "error"])
        .current_dir(folder);
    Ok(npm)
}

/// Python's name and the folder with pip's packages.
pub fn pip(say: &dyn Fn(&str)) -> Result<(&'static str, PathBuf)> {
    let found = PYTHONS.into_iter().find(|name| {
        let recent = "import sys; sys.exit(sys.version_info < (3, 10))";
        answers(name, &["-c", recent])
    });
    let Some(python) = found else {
        bail!(
            "python3 is missing, which plugins in Python are built with: install Python 3.10 or later, \
             such as with `apt-get install python3 python3-pip`"
        );
    };
    let folder = installed("pip", &[PIP_LOCK], say, &|folder| {
        if !answers(python, &["-m", "pip", "--version"]) {
            bail!("pip is missing, which gets the tools: `apt-get install python3-pip`");
        }
        let lock = folder.join("requirements.txt");
        std::fs::write(&lock, PIP_LOCK)?;
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--root-user-action",
            "ignore",
            "--require-hashes",
            "--target",
        ])
        .arg(folder)
        .arg("--requirement")
        .arg(&lock);
        run(&mut pip, "pip install")
    })?;
    Ok((python, folder))
}

/// The folder of one set of locks; made aside and renamed, so that it is whole or not there.
fn installed(
    installer: &str,
    locks: &[&str],
    say: &dyn Fn(&str),
    install: &dyn Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    locks.iter().for_each(|lock| hash.update(lock));
    let digest: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tools = cache()?.join("tools");
    let folder = tools.join(format!("{installer}-{digest}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    say(&format!(
        "installing the tools with {installer} into {}",
        folder.display()
    ));
    let aside = tempfile::tempdir_in(&tools)?;
    install(aside.path())?;
    match std::fs::rename(aside.path(), &folder) {
        // Another build was faster.
        Err(_) if folder.is_dir() => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        Ok(()) => drop(aside.keep()),
    }
    Ok(folder)
}

fn answers(program: &str, arguments: &[&str]) -> bool {
    let asked = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Runs a tool; what it printed is told when it fails.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    run_telling(command, what, str::to_owned)
}

/// The same; `tell` makes what is told of what it printed.
pub fn run_telling(command: &mut Command, what: &str, tell: fn(&str) -> String) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what} cannot be started"))?;
    if !output.status.success() {
        let told = [output.stdout, output.stderr].concat();
        let told = tell(&String::from_utf8_lossy(&told));
        bail!("{what} failed:\n{}", told.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_says_what_it_printed() {
        let mut tool = Command::new("sh");
        tool.args(["-c", "echo one; echo two >&2; exit 3"]);
        let refused = run(&mut tool, "the tool").expect_err("it fails");
        assert_eq!(refused.to_string(), "the tool failed:\none\ntwo");
    }

    #[test]
    fn npm_that_reaches_no_registry_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut npm = npm_ci(folder.path()).expect("its files are written");
        // Nobody listens there.
        npm.env("npm_config_registry", "http://127.0.0.1:9")
            .env("npm_config_replace_registry_host", "always")
            .env("npm_config_fetch_retries", "0")
            .env("npm_config_cache", folder.path().join("cache"));
        let refused = run(&mut npm, "npm ci").expect_err("it fails").to_string();
        assert!(refused.contains("ECONNREFUSED"), "{refused}");
    }
}
