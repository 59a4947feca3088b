//! Runs other programs: shows the command, streams its output, turns a bad exit into a sentence.
//! It decides nothing about what to run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A command with the environment the caller had before `cargo run` added the variables of this package.
/// Some build scripts watch those, and would be built again each time a person and xtask take turns.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_")
            || name_text.starts_with("CARGO_MANIFEST_")
            || matches!(
                name_text.as_ref(),
                "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
            )
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs to the end with output straight to the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs to the end; every line of standard output is printed as it comes and handed to `see`.
pub fn run_seeing(command: &mut Command, see: impl FnMut(&str)) -> Result<()> {
    run_watched(command, Duration::MAX, see)
}

/// The same; what prints nothing for so long hangs, and is ended with all it started.
pub fn run_watched(
    command: &mut Command,
    silent_most: Duration,
    mut see: impl FnMut(&str),
) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let output = child.stdout.take().expect("standard output was piped");
    let (sender, lines) = std::sync::mpsc::sync_channel(1);
    // It ends with what it reads from, or with whoever is told.
    std::thread::spawn(move || {
        for text in BufReader::new(output).split(b'\n') {
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    loop {
        match lines.recv_timeout(silent_most) {
            Ok(text) => {
                let text = text.with_context(|| format!("cannot read what `{line}` prints"))?;
                let text = String::from_utf8_lossy(&text);
                println!("{text}");
                see(&text);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end_with_descendants(child.id());
                let _ = child.wait();
                bail!(
                    "`{line}` printed nothing for {} s and was ended",
                    silent_most.as_secs()
                );
            }
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("lost sight of `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Kills a process and whatever it started, the youngest first.
fn end_with_descendants(process: u32) {
    let mut all = vec![process];
    let mut looked_at = 0;
    while let Some(parent) = all.get(looked_at) {
        let tasks = format!("/proc/{parent}/task");
        for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        looked_at += 1;
    }
    for process in all.iter().rev() {
        let _ = Command::new("kill")
            .args(["-KILL", &process.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

/// What a quick command prints on standard output, trimmed; `None` when it is missing or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// True when `program` is somewhere on the PATH.
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn announce(command: &Command) -> String {
    let line = shown(command);
    println!("      $ {line}");
    line
}

/// The command as a person would type it; the program by its file name alone unless it is ours to find.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut line = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        let text = argument.to_string_lossy();
        let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\'');
        // Writing to a string cannot fail.
        let _ = if plain {
            write!(line, " {text}")
        } else {
            write!(line, " {text:?}")
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed_again() {
        let mut command = Command::new("/usr/bin/kith");
        command.args(["chat", "--user", "two words"]);
        assert_eq!(shown(&command), "kith chat --user \"two words\"");
    }

    #[test]
    fn lines_are_seen_and_a_bad_exit_is_an_error() {
        let mut seen = Vec::new();
        let outcome = run_seeing(
            Command::new("sh").args(["-c", "printf 'one\\ntwo'; exit 3"]),
            |line| seen.push(line.to_owned()),
        );
        assert_eq!(seen, ["one", "two"]);
        let error = outcome.expect_err("exit 3 must fail").to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn what_hangs_is_ended_with_what_it_started() {
        let mut seen = Vec::new();
        let outcome = run_watched(
            Command::new("sh").args(["-c", "echo one; sleep 3600 & echo $!; wait"]),
            Duration::from_secs(2),
            |line| seen.push(line.to_owned()),
        );
        let error = outcome.expect_err("it hung").to_string();
        assert!(error.contains("printed nothing"), "{error}");
        let started = std::path::Path::new("/proc").join(&seen[1]).join("stat");
        let stat = std::fs::read_to_string(started).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }
}
