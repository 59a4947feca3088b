//! `cargo dev`: everything from a fresh checkout to a running server whose plugins follow their sources.
//! Owns the order; the server's process is `dev/server.rs`, noticing changes `dev/sources.rs`, replacing a running
//! plugin `dev/swap.rs`. It must never leave a server behind.

mod cluster;
mod companions;
mod server;
mod sources;
mod swap;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::DevOptions;
use crate::build;
use crate::layout::Layout;
use crate::machine;
use crate::progress::Steps;
use cluster::Cluster;
use server::{Server, Start};
use sources::Sources;
use swap::Swapper;

/// How often sources and server are looked at.
const POLL: Duration = Duration::from_millis(100);

/// Runs until the person presses Ctrl-C (or SIGTERM, SIGHUP), or the server ends by itself, which is an error.
pub fn run(options: &DevOptions) -> Result<()> {
    let layout = Layout::find(options.release)?;
    for address in [&options.listen, &options.admin_listen] {
        server::check_free(address)?;
    }
    if options.nodes > 1 {
        cluster::check_free(options)?;
    }
    let mut steps = Steps::of(4);
    steps.take("checking the tool chain", || {
        machine::tool_chain()?;
        match options.nodes {
            1 => Ok(()),
            _ => machine::nodes(&layout.root),
        }
    })?;
    steps.take("building the host", || build::host(&layout))?;
    steps.take("building the plugins", || build::plugins(&layout))?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .context("cannot watch for Ctrl-C")?;
    }
    let data = match &options.data {
        Some(folder) => folder.clone(),
        None if options.nodes > 1 => layout.target.join("dev-cluster"),
        None => layout.target.join("dev-data"),
    };
    let (mut running, mut swapper) = steps.take("starting the server", || {
        start(&layout, options, &data, &stop)
    })?;
    print_welcome(&layout, options, &swapper);
    let watched = watch(&layout, &mut running, &mut swapper, &stop);
    let stopped = running.stop();
    watched.and(stopped)
}

/// One server, or several with what they share.
enum Running {
    One(Server),
    Several(Cluster),
}

impl Running {
    /// What ended by itself, when that ends all.
    fn ended(&mut self) -> Result<Option<String>> {
        match self {
            Self::One(server) => {
                let ended = server.ended()?;
                Ok(ended.map(|status| format!("the server ended by itself with {status}")))
            }
            Self::Several(cluster) => cluster.ended(),
        }
    }

    fn stop(&mut self) -> Result<()> {
        match self {
            Self::One(server) => server.stop(),
            Self::Several(cluster) => cluster.stop(),
        }
    }
}

fn start(
    layout: &Layout,
    options: &DevOptions,
    data: &Path,
    stop: &AtomicBool,
) -> Result<(Running, Swapper)> {
    fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let token = token(&data.join("dev-token"))?;
    let swapper = Swapper::open(layout, data, &options.admin_listen, &token)?;
    if options.nodes > 1 {
        let cluster = Cluster::start((layout, options, data), &token, stop)?;
        return Ok((Running::Several(cluster), swapper));
    }
    let server = Server::start(&Start {
        kith: layout.kith(),
        plugins: layout.components(),
        data: data.to_owned(),
        listen: &options.listen,
        admin_listen: &options.admin_listen,
        token: &token,
        settings: Vec::new(),
        stop,
    })?;
    Ok((Running::One(server), swapper))
}

/// The administrator's token of this data folder: made once, readable by its owner alone.
fn token(path: &PathBuf) -> Result<String> {
    if let Ok(known) = fs::read_to_string(path)
        && !known.trim().is_empty()
    {
        return Ok(known.trim().to_owned());
    }
    let mut bytes = [0_u8; 24];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(token.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(token)
}

fn print_welcome(layout: &Layout, options: &DevOptions, swapper: &Swapper) {
    if options.nodes > 1 {
        println!("\n{} nodes are behind one address:", options.nodes);
        for node in 0..options.nodes {
            let (clients, administration) = cluster::addresses(options, node);
            println!(
                "  node-{node}          http://{clients}, administration http://{administration}"
            );
        }
    }
    let kith = layout.kith();
    let (kith, listen, admin) = (kith.display(), &options.listen, &options.admin_listen);
    println!(
        "
Kith is running.
  clients         http://{listen}
  administration  http://{admin}
  data            {data}

Talk, in two terminals (without --register from the second time on):
  {kith} chat --server http://{listen} --register --user alice bob
  {kith} chat --server http://{listen} --register --user bob alice

Administer, in a third:
  export KITH_ADMIN_URL=http://{admin}
  export KITH_ADMIN_TOKEN={token}
  {kith} admin words add --level mask heck

A plugin whose source under plugins/ changes is built and swapped in while they talk. Ctrl-C stops.
",
        data = swapper.data().display(),
        token = swapper.token(),
    );
}

/// Looks after sources and server until one of them, or the person, ends it.
fn watch(
    layout: &Layout,
    running: &mut Running,
    swapper: &mut Swapper,
    stop: &AtomicBool,
) -> Result<()> {
    let mut watched: Vec<(String, Sources)> = layout
        .plugins()?
        .into_iter()
        .map(|name| {
            let sources = Sources::of_plugin(layout, &name, swapper.serving(&name));
            (name, sources)
        })
        .collect();
    while !stop.load(Ordering::Relaxed) {
        if let Some(how) = running.ended()? {
            bail!("{how}; the last lines are above");
        }
        for (name, sources) in &mut watched {
            let Some(fingerprint) = sources.changed() else {
                continue;
            };
            println!("\n{name} changed");
            match swapper.swap(layout, name, fingerprint) {
                Ok(version) => println!("{name} {version} is serving\n"),
                // The old version goes on serving; the next change tries again.
                Err(error) => println!("{name} was not swapped: {error:#}\n"),
            }
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_token_is_made_once_and_is_the_owners_alone() {
        let path = std::env::temp_dir().join(format!("xtask-token-{}", std::process::id()));
        let first = token(&path).expect("a token is made");
        assert_eq!(first.len(), 48);
        assert_eq!(token(&path).expect("it is read back"), first);
        let mode = fs::metadata(&path)
            .expect("it is a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(&path).expect("it can be removed");
    }
}
