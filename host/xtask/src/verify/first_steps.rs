//! Walks the README as a newcomer does: its first command, two people who talk in the terminals that command tells of,
//! and the commands it shows for changing the rules meanwhile; then, while they go on talking, the authors' guide
//! (`first_steps/guide.rs`); and several nodes (`first_steps/cluster.rs`). What is printed is what is run, word for word.

mod cluster;
mod guide;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::documents;
use crate::child;
use crate::layout::Layout;

/// What is waited for longest: a server's first start, a plugin's build.
const PATIENCE: Duration = Duration::from_secs(120);
/// A server drains in 10 s.
const ENDED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines that may wait to be looked at.
const LINES: usize = 10_000;
/// The section of the README that is walked.
const SECTION: &str = "## Try it";
/// The plugin whose source is saved.
const SAVED: &str = "canned-replies";
const PASSWORD: &str = "a password of the walk";

/// A program whose lines are read as they come. Dropping it ends the program.
struct Running {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = process.stdout.take().context("its output was piped")?;
        let (sender, lines) = sync_channel(LINES);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            input: process.stdin.take(),
            process,
            lines,
            seen: Vec::new(),
        })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input was piped")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// The next line that has all these words; those before it are passed over.
    fn waits_for(&mut self, words: &[&str]) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if words.iter().all(|word| line.contains(word)) {
                        return Ok(line);
                    }
                }
                Err(why) => {
                    let why = match why {
                        RecvTimeoutError::Timeout => "did not come in time",
                        RecvTimeoutError::Disconnected => "will not come: the program ended",
                    };
                    bail!("{words:?} {why}; it printed:\n{}", self.seen.join("\n"));
                }
            }
        }
    }
}

impl Drop for Running {
    /// As Ctrl-C does: what it started itself is to end too. Only what does not listen is killed.
    fn drop(&mut self) {
        let deadline = Instant::now() + ENDED_WITHIN;
        if let Ok(None) = self.process.try_wait() {
            let _ = interrupted(&self.process);
        }
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

fn interrupted(process: &Child) -> Result<()> {
    child::run(child::command("kill").args(["-INT", &process.id().to_string()]))
}

/// From the first command to a swapped plugin, with people talking before, between and after.
pub fn walk(layout: &Layout) -> Result<()> {
    let data = layout.target.join("first-steps");
    let _ = fs::remove_dir_all(&data);
    let walked = steps(layout, &data);
    let _ = fs::remove_dir_all(&data);
    // What the README has one build where one stands.
    let _ = fs::remove_file(layout.root.join("mine.wasm"));
    walked?;
    cluster::walk(layout)
}

fn steps(layout: &Layout, data: &Path) -> Result<()> {
    let readme = fs::read_to_string(layout.root.join("README.md"))?;
    let blocks = documents::blocks(&readme, SECTION);
    let Some((first, changes)) = blocks.split_first() else {
        bail!("README.md shows no commands below {SECTION:?}");
    };
    let mut dev = dev(layout, first, data, &[])?;
    let alice = dev.waits_for(&[" chat ", "--user alice"])?;
    let bob = dev.waits_for(&[" chat ", "--user bob"])?;
    let mut exports = Vec::new();
    for name in ["KITH_ADMIN_URL=", "KITH_ADMIN_TOKEN="] {
        exports.push(dev.waits_for(&["export", name])?);
    }
    dev.waits_for(&["Ctrl-C"])?;
    let (mut alice, mut bob) = (chat(layout, &alice)?, chat(layout, &bob)?);
    alice.waits_for(&["you are alice"])?;
    bob.waits_for(&["you are bob"])?;
    talk(&mut alice, &mut bob, "hello from the first terminal")?;
    talk(&mut bob, &mut alice, "hello from the second")?;
    for (number, block) in changes.iter().enumerate() {
        for command in block {
            run_shown(layout, &layout.root, &exports, command)?;
        }
        talk(&mut alice, &mut bob, &format!("still here after {number}"))?;
    }
    alice.say("an honest b a d g e r")?;
    let masked = bob.waits_for(&["an honest"])?;
    if masked.contains("b a d g e r") {
        bail!("the word added to the filter went through: {masked}");
    }
    guide::walk(layout, &exports, (&mut alice, &mut bob))?;
    save(layout, &mut dev)?;
    talk(&mut bob, &mut alice, "and after a plugin was saved")?;
    interrupt(&mut dev)
}

/// Saves a plugin's source as its author would, and waits until the new version serves. The source is put back.
fn save(layout: &Layout, dev: &mut Running) -> Result<()> {
    let source = layout.root.join("plugins").join(SAVED).join("src/lib.rs");
    let before = fs::read_to_string(&source)?;
    let began = Instant::now();
    fs::write(&source, format!("{before}\n// Saved by the walk.\n"))?;
    let serves = dev.waits_for(&[SAVED, "is serving"]);
    let took = began.elapsed().as_secs_f64();
    fs::write(&source, before)?;
    serves?;
    // What was put back is a change as well.
    dev.waits_for(&[SAVED, "is serving"])?;
    println!("      {SAVED} was saved and served {took:.1} s later");
    Ok(())
}

/// Starts what the first block of a section says, which is `cargo dev` one way or another.
fn dev(layout: &Layout, first: &[String], data: &Path, more: &[&str]) -> Result<Running> {
    let [command] = first else {
        bail!("one command was expected first: {first:?}");
    };
    // The documented command, on ports and a data folder of its own: a developer's server may be running.
    let words: Vec<&str> = command.split_whitespace().collect();
    let Some((&"cargo", task)) = words.split_first() else {
        bail!("the first command is not cargo's: {command}");
    };
    let mut dev = child::command(std::env::current_exe()?);
    dev.args(task)
        .args(["--listen", &free_address()?])
        .args(["--admin-listen", &free_address()?])
        .arg("--data")
        .arg(data)
        .args(more)
        .current_dir(&layout.root)
        .env("CARGO_TARGET_DIR", &layout.target);
    println!("      $ {command}");
    Running::start(&mut dev)
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

fn chat(layout: &Layout, shown: &str) -> Result<Running> {
    let line = shown.trim();
    println!("      $ {line}");
    let mut shell = child::command("sh");
    shell
        .args(["-c", &format!("exec {line} --password-env WALK_PASSWORD")])
        .current_dir(&layout.root)
        .env("WALK_PASSWORD", PASSWORD);
    Running::start(&mut shell)
}

fn talk(from: &mut Running, to: &mut Running, text: &str) -> Result<()> {
    from.say(text)?;
    to.waits_for(&[text]).map(drop)
}

/// One command of a document in the folder where it is typed, with the program found as the text says it is.
fn run_shown(layout: &Layout, at: &Path, exports: &[String], command: &str) -> Result<()> {
    let folder = layout.kith();
    let folder = folder.parent().context("the program is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = child::command("sh");
    shell
        .args(["-ec", &format!("{}\n{command}", exports.join("\n"))])
        .current_dir(at)
        .env("PATH", format!("{}:{path}", folder.display()));
    println!("      $ {command}");
    let output = shell.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!(
            "`{command}` ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Ctrl-C: the server drains and the task ends well.
fn interrupt(dev: &mut Running) -> Result<()> {
    interrupted(&dev.process)?;
    let status = dev.process.wait()?;
    if !status.success() {
        bail!("after Ctrl-C `cargo dev` ended with {status}");
    }
    Ok(())
}
