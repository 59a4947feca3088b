//! `cargo dev --nodes N`: several nodes on this machine, with the servers they share and a front door, all on loopback.
//! Owns their addresses and their order; ends all of them, the servers last.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};

use super::companions::{Companion, Programs};
use super::server::{self, Server, Start};
use crate::args::DevOptions;
use crate::layout::Layout;

const REDIS: u16 = 7710;
const MONGODB: u16 = 7711;
const SEARCH: u16 = 7712;
/// Of the search server's own protocol between its nodes.
const SEARCH_INSIDE: u16 = 7713;
/// Of the first node's clients; the others follow.
const CLIENTS: u16 = 7720;
/// Of the second node's administration; the first one's is the caller's choice.
const ADMINISTRATION: u16 = 7730;

/// Everything that runs.
pub struct Cluster {
    nodes: Vec<Server>,
    companions: Vec<Companion>,
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Where a node's clients and administrators connect, besides the front door.
pub fn addresses(options: &DevOptions, node: u16) -> (String, String) {
    let administration = match node {
        0 => options.admin_listen.clone(),
        more => local(ADMINISTRATION + more),
    };
    (local(CLIENTS + node), administration)
}

/// Says which address is taken before minutes go into a build.
pub fn check_free(options: &DevOptions) -> Result<()> {
    for port in [REDIS, MONGODB, SEARCH, SEARCH_INSIDE] {
        server::check_free(&local(port))?;
    }
    for node in 0..options.nodes {
        let (clients, administration) = addresses(options, node);
        server::check_free(&clients)?;
        server::check_free(&administration)?;
    }
    Ok(())
}

impl Cluster {
    /// Starts the servers, then the nodes, then the door; each is ready before the next.
    pub fn start(
        (layout, options, data): (&Layout, &DevOptions, &Path),
        token: &str,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let programs = Programs::of(&layout.root)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            companions: Vec::new(),
        };
        let folder = |name: &str| -> Result<_> {
            let folder = data.join(name);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            Ok(folder)
        };
        for companion in [
            programs.redis(&folder("redis")?, REDIS),
            programs.mongodb(&folder("mongodb")?, MONGODB),
            programs.search(&folder("search")?, (SEARCH, SEARCH_INSIDE)),
        ] {
            cluster.companions.push(companion?.ready(stop)?);
        }
        for node in 0..options.nodes {
            let (clients, administration) = addresses(options, node);
            println!("      node-{node}: clients {clients}, administration {administration}");
            let started = Server::start(&Start {
                kith: layout.kith(),
                plugins: layout.components(),
                data: folder(&format!("node-{node}"))?,
                listen: &clients,
                admin_listen: &administration,
                token,
                settings: settings(node),
                stop,
            });
            cluster.nodes.push(started?);
        }
        let nodes: Vec<String> = (0..options.nodes)
            .map(|node| addresses(options, node).0)
            .collect();
        let door = programs.door(&folder("door")?, &options.listen, &nodes)?;
        cluster.companions.push(door.ready(stop)?);
        Ok(cluster)
    }

    /// What ended by itself, if something has. A node may: the others go on, and it is said once by whoever asks.
    pub fn ended(&mut self) -> Result<Option<String>> {
        for companion in &mut self.companions {
            if let Some(status) = companion.ended()? {
                return Ok(Some(format!("{} ended with {status}", companion.name())));
            }
        }
        let mut alive = 0;
        for node in &mut self.nodes {
            alive += usize::from(node.ended()?.is_none());
        }
        Ok((alive == 0).then(|| "the last node ended".to_owned()))
    }

    /// Nodes drain first, while everything they need still runs.
    pub fn stop(&mut self) -> Result<()> {
        let mut wrong = Vec::new();
        for node in &mut self.nodes {
            if let Err(error) = node.stop() {
                wrong.push(format!("{error:#}"));
            }
        }
        // The door first, what the nodes stood on last.
        for companion in self.companions.iter_mut().rev() {
            companion.stop();
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Only a failure on the way leaves something running, and that is what will be reported.
        let _ = self.stop();
    }
}

/// What makes a server one node of many.
fn settings(node: u16) -> Vec<(&'static str, String)> {
    let mongodb = local(MONGODB);
    vec![
        ("KITH_NODE__NAME", format!("node-{node}")),
        ("KITH_STORE__ENGINE", "mongodb".to_owned()),
        (
            "KITH_STORE__URL",
            format!("mongodb://{mongodb}/kith?directConnection=true"),
        ),
        ("KITH_BUS__ENGINE", "redis".to_owned()),
        ("KITH_BUS__URL", format!("redis://{}", local(REDIS))),
        ("KITH_SEARCH__ENGINE", "elasticsearch".to_owned()),
        ("KITH_SEARCH__URL", format!("http://{}", local(SEARCH))),
        // Files of several nodes are kept in a bucket, and there is none here.
        ("KITH_MEDIA__ENGINE", "none".to_owned()),
    ]
}
