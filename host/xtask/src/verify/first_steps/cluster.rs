//! Walks what the README says of several nodes: its command, two people who talk through the one address, a node that is
//! killed while they do, and Ctrl-C, after which nothing listens any more.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Running, chat, dev, documents, interrupt, talk};
use crate::child;
use crate::layout::Layout;

/// The section of the README that is walked.
const SECTION: &str = "## Several nodes";
/// How many ports a cluster has to itself, from its first on.
const PORTS: u16 = 30;
/// Where free ones are looked for: below those that are given to whoever asks for any.
const LOOKED_AT: std::ops::Range<u16> = 17_000..32_000;

/// From the command to its end.
pub fn walk(layout: &Layout) -> Result<()> {
    let data = layout.target.join("first-steps-nodes");
    let _ = fs::remove_dir_all(&data);
    let readme = fs::read_to_string(layout.root.join("README.md"))?;
    let blocks = documents::blocks(&readme, SECTION);
    let command = blocks.first().with_context(|| {
        format!("README.md shows no commands below {SECTION:?}, where several nodes are started")
    })?;
    let began = Instant::now();
    let ports = free_ports()?;
    let first = ports.to_string();
    let walked =
        dev(layout, command, &data, &["--ports", &first]).and_then(|dev| steps(layout, dev));
    let _ = fs::remove_dir_all(&data);
    walked?;
    if let Some(port) = (ports..ports + PORTS).find(|port| !is_free(*port)) {
        bail!("`cargo dev` ended, and something still listens on its port {port}");
    }
    let took = began.elapsed().as_secs_f64();
    println!("      several nodes were started, tried and stopped in {took:.1} s");
    Ok(())
}

fn steps(layout: &Layout, mut dev: Running) -> Result<()> {
    let node = dev.waits_for(&["node-1:", "process "])?;
    let (_, process) = node.rsplit_once(' ').context("a process is named last")?;
    let alice = dev.waits_for(&[" chat ", "--user alice"])?;
    let bob = dev.waits_for(&[" chat ", "--user bob"])?;
    dev.waits_for(&["Ctrl-C"])?;
    let (mut alice, mut bob) = (chat(layout, &alice)?, chat(layout, &bob)?);
    alice.waits_for(&["you are alice"])?;
    bob.waits_for(&["you are bob"])?;
    talk(&mut alice, &mut bob, "hello from one of three nodes")?;
    talk(&mut bob, &mut alice, "hello from another, perhaps")?;
    child::run(child::command("kill").args(["-KILL", process]))?;
    dev.waits_for(&["node-1 ended", "the others go on"])?;
    talk(&mut alice, &mut bob, "there are two nodes now")?;
    talk(&mut bob, &mut alice, "and nobody was lost")?;
    interrupt(&mut dev)
}

fn free_ports() -> Result<u16> {
    let mut firsts = LOOKED_AT.step_by(usize::from(PORTS));
    let free = firsts.find(|first| (*first..first + PORTS).all(is_free));
    free.context("no 30 ports beside each other are free")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_passed_over() {
        let first = free_ports().expect("some are free");
        assert!(LOOKED_AT.contains(&first));
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        assert!(!is_free(taken.local_addr().expect("it is bound").port()));
    }
}
