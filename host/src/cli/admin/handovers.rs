//! `kith admin handovers`: conversations that wait for a person, or have one.
//! Only asks the server.

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::report;
use crate::cli::api::{Api, Body, Server, segment};
use crate::cli::print;

#[derive(Debug, Subcommand)]
pub enum Handovers {
    /// Show conversations in which a plugin does not answer any more, newest first.
    List,
    /// Give a conversation back: the plugin answers what is written from now on.
    Return { id: String },
}

/// Runs one of them.
pub async fn run(server: Server, command: Handovers) -> Result<()> {
    let api = Api::new(&server)?;
    match command {
        Handovers::List => {
            let list = api.get("/handovers?limit=200").await?;
            if server.json {
                print::json(&list);
                return Ok(());
            }
            let rows = list["handovers"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> = rows.iter().map(row).collect();
            print::table(&["ID", "CONVERSATION", "PLUGIN", "SINCE", "REASON"], &rows);
        }
        Handovers::Return { id } => {
            let path = format!("/handovers/{}", segment(&id));
            api.call(Method::DELETE, &path, Body::None).await?;
            report(
                &server,
                &json!({"id": id}),
                &format!("conversation {id} is given back"),
            );
        }
    }
    Ok(())
}

fn row(handover: &Value) -> Vec<String> {
    let since = handover["at"].as_i64();
    let since = since.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut cells = ["id", "conversation", "plugin"]
        .map(|field| print::text(handover, field))
        .to_vec();
    cells.push(since.map_or_else(String::new, |since| since.to_string()));
    cells.push(print::text(handover, "reason"));
    cells
}
