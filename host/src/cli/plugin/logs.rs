//! `kith plugin logs`: the lines a plugin has written,
//! and with `--follow` those it writes.

use anyhow::Result;
use serde_json::Value;

use crate::cli::api::{Api, Server, segment};
use crate::cli::print::{self, say};

/// Seconds the server waits for a line before it says that there is none.
const WAIT_S: u64 = 20;

/// Prints the newest lines, and with `follow` all that come.
pub async fn show(server: Server, name: String, follow: bool) -> Result<()> {
    let api = Api::new(&server)?;
    let path = format!("/plugins/{}/logs", segment(&name));
    let mut page = api.get(&path).await?;
    let mut told = false;
    loop {
        if page["missed"] == true {
            eprintln!("kith: lines were forgotten before they were read");
        }
        if !told && page["lines"].as_array().is_none_or(Vec::is_empty) {
            eprintln!("kith: no lines yet");
        }
        told = true;
        for line in page["lines"].as_array().into_iter().flatten() {
            if server.json {
                say!("{line}");
            } else {
                say!("{}", shown(line));
            }
        }
        if !follow {
            return Ok(());
        }
        let next = page["next"].as_u64().unwrap_or(0);
        page = api
            .get(&format!("{path}?after={next}&wait_s={WAIT_S}"))
            .await?;
    }
}

fn shown(line: &Value) -> String {
    let text = |field: &str| print::text(line, field);
    let at = line["at"].as_u64().unwrap_or(0);
    format!(
        "{} {:<5} {}  {}",
        time_of_day(at),
        text("level"),
        text("version"),
        text("text")
    )
}

/// Hours, minutes, seconds and milliseconds, UTC.
fn time_of_day(at_ms: u64) -> String {
    let (s, ms) = (at_ms / 1000, at_ms % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        s / 3600 % 24,
        s / 60 % 60,
        s % 60
    )
}
