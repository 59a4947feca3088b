//! `kith admin migrate`: brings MongoDB's collections, indexes and shard keys
//! to what this program needs. Idempotent; several may run at once.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::print::{self, say};
use super::settings;
use crate::app;
use crate::config::StoreEngine;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: settings::Args,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> Result<()> {
    let config = args.settings.config()?;
    if config.store.engine != StoreEngine::Mongodb {
        bail!(
            "the embedded store brings itself up to date when the server starts; set store.engine = \"mongodb\""
        );
    }
    let migrated = app::stores::bring(&config).await?;
    if args.json {
        let parts = migrated.iter().map(|part| {
            let versions = json!({"from": part.from, "to": part.to});
            (part.part.to_owned(), versions)
        });
        print::json(&Value::Object(parts.collect()));
        return Ok(());
    }
    for part in migrated {
        let (name, to) = (part.part, part.to);
        match part.from {
            None => say!("{name}: made, version {to}"),
            Some(from) if from == u64::from(to) => say!("{name}: version {to} already"),
            Some(from) => say!("{name}: version {from} is now {to}"),
        }
    }
    Ok(())
}
