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

// Ports, counted from the first of all.
const REDIS: u16 = 0;
const MONGODB: u16 = 1;
const SEARCH: u16 = 2;
/// Of the search server's own protocol between its nodes.
const SEARCH_INSIDE: u16 = 3;
/// Of the first node's clients; the others follow.
const CLIENTS: u16 = 10;
/// Of the second node's administration, less one; the first one's is the caller's choice.
const ADMINISTRATION: u16 = 20;

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
        more => local(options.ports + ADMINISTRATION + more),
    };
    (local(options.ports + CLIENTS + node), administration)
}

/// Says which address is taken before minutes go into a build.
pub fn check_free(options: &DevOptions) -> Result<()> {
    for port in [REDIS, MONGODB, SEARCH, SEARCH_INSIDE] {
        server::check_free(&local(options.ports + port))?;
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
        let port = |port: u16| options.ports + port;
        let search = (port(SEARCH), port(SEARCH_INSIDE));
        for companion in [
            programs.redis(&folder("redis")?, port(REDIS)),
            programs.mongodb(&folder("mongodb")?, port(MONGODB)),
            programs.search(&folder("search")?, search),
        ] {
            cluster.companions.push(companion?.ready(stop)?);
        }
        for node in 0..options.nodes {
            let (clients, administration) = addresses(options, node);
            let started = Server::start(&Start {
                kith: layout.kith(),
                plugins: layout.components(),
                data: folder(&format!("node-{node}"))?,
                listen: &clients,
                admin_listen: &administration,
                token,
                settings: settings(options, node),
                stop,
            });
            let started = started?;
            let process = started.process();
            println!(
                "      node-{node}: clients {clients}, administration {administration}, process {process}"
            );
            cluster.nodes.push(started);
        }
        let nodes: Vec<String> = (0..options.nodes)
            .map(|node| addresses(options, node).0)
            .collect();
        let door = programs.door(&folder("door")?, &options.listen, &nodes)?;
        cluster.companions.push(door.ready(stop)?);
        Ok(cluster)
    }

    /// What ended by itself, if something has that all need. A node may: that is told once, and the others go on.
    pub fn ended(&mut self) -> Result<Option<String>> {
        for companion in &mut self.companions {
            if let Some(status) = companion.ended()? {
                return Ok(Some(format!("{} ended with {status}", companion.name())));
            }
        }
        let mut alive = 0;
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let known = node.is_over();
            match node.ended()? {
                Some(status) if !known => {
                    println!("node-{number} ended with {status}; the others go on");
                }
                Some(_) => {}
                None => alive += 1,
            }
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
fn settings(options: &DevOptions, node: u16) -> Vec<(&'static str, String)> {
    let at = |port: u16| local(options.ports + port);
    vec![
        ("KITH_NODE__NAME", format!("node-{node}")),
        ("KITH_STORE__ENGINE", "mongodb".to_owned()),
        (
            "KITH_STORE__URL",
            format!("mongodb://{}/kith?directConnection=true", at(MONGODB)),
        ),
        ("KITH_BUS__ENGINE", "redis".to_owned()),
        ("KITH_BUS__URL", format!("redis://{}", at(REDIS))),
        ("KITH_SEARCH__ENGINE", "elasticsearch".to_owned()),
        ("KITH_SEARCH__URL", format!("http://{}", at(SEARCH))),
        // Files of several nodes are kept in a bucket, and there is none here.
        ("KITH_MEDIA__ENGINE", "none".to_owned()),
    ]
}
