//! What starting asks of the machine: a name for this node,
//! a folder, an address to listen on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::gateway::listen::{self, Entrance};

/// Of the host's name, in a node's.
const HOST_CHARS: usize = 40;

/// The configured name, or one of this host and this start.
pub fn node_name(config: &Config, now_ms: u64) -> String {
    if !config.node.name.is_empty() {
        return config.node.name.clone();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let host: String = host.trim().chars().take(HOST_CHARS).map(plain).collect();
    format!("{host}-{now_ms}")
}

/// Binds, and serves until told to stop; the address bound.
pub async fn listen_on(
    address: &str,
    router: axum::Router,
    entrance: Entrance,
    stopped: watch::Receiver<bool>,
) -> Result<(std::net::SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is another kith running?"))?;
    let bound = listener.local_addr()?;
    Ok((
        bound,
        tokio::spawn(listen::serve(listener, router, entrance, stopped)),
    ))
}

/// The folder everything is kept in, made where it is missing.
pub fn data_folder(config: &Config) -> Result<PathBuf> {
    let folder = PathBuf::from(&config.server.data);
    make_folder(&folder)?;
    Ok(folder)
}

/// Makes a folder that nobody else may read.
pub fn make_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))
}
