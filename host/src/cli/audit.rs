//! The audit log on a terminal: the newest lines, or every line as it is written. Following is taken up again behind the
//! last line seen when the server was away.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use serde_json::Value;

use super::api::{Api, Server, segment};
use super::print::{self, say};

/// The pause before a server is asked again that was away.
const AGAIN: Duration = Duration::from_secs(1);

/// Which lines, and whether to wait for more.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Go on showing lines as they are written.
    #[arg(long)]
    follow: bool,
    /// Begin behind the line with this id.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// How many lines, without --follow.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    last: u16,
}

/// Shows lines whose actions begin with `prefix`.
pub async fn run(server: Server, args: Args, prefix: &str) -> Result<()> {
    let api = Api::new(&server)?;
    if args.follow {
        return follow(&api, args.after, prefix, server.json).await;
    }
    let behind = args.after.map(|after| format!("&after={after}"));
    let path = format!(
        "/audit?limit={}&prefix={}{}",
        args.last,
        segment(prefix),
        behind.unwrap_or_default()
    );
    let mut lines = api.get(&path).await?["lines"].take();
    let rows = lines.as_array_mut().context("the answer has no lines")?;
    if args.after.is_none() {
        rows.reverse();
    }
    if server.json {
        print::json(&lines);
    } else {
        rows.iter().for_each(|row| say!("{}", line(row)));
    }
    Ok(())
}

async fn follow(api: &Api, after: Option<u64>, prefix: &str, json: bool) -> Result<()> {
    let mut after = after;
    let mut connected = false;
    loop {
        let behind = after.map(|after| format!("&after={after}"));
        let path = format!(
            "/events?prefix={}{}",
            segment(prefix),
            behind.unwrap_or_default()
        );
        match api.stream(&path).await {
            Ok(response) => {
                connected = true;
                read(response, &mut after, json).await;
            }
            // What is refused at first stays refused.
            Err(error) if !connected => return Err(error),
            Err(error) => eprintln!("kith: {error:#}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Shows the events of one stream until it ends.
async fn read(response: reqwest::Response, after: &mut Option<u64>, json: bool) {
    let mut chunks = response.bytes_stream();
    let mut unread = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let text: Vec<u8> = unread.drain(..=end).collect();
            let text = String::from_utf8_lossy(&text);
            let Some(data) = text.trim_end().strip_prefix("data:") else {
                continue;
            };
            let Ok(entry) = serde_json::from_str::<Value>(data.trim_start()) else {
                continue;
            };
            *after = entry["id"].as_u64().or(*after);
            if json {
                say!("{entry}");
            } else {
                say!("{}", line(&entry));
            }
        }
    }
}

/// A line for people: when, who, what, of what, from what to what.
fn line(entry: &Value) -> String {
    let text = |field: &str| print::text(entry, field);
    let at = entry["at"].as_u64().and_then(|at| i64::try_from(at).ok());
    let at = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let mut line = format!(
        "{} {} {} {} {}",
        text("id"),
        at.map(|at| at.to_string()).unwrap_or_default(),
        text("actor"),
        text("action"),
        text("subject")
    );
    match (text("from"), text("to")) {
        (from, to) if from.is_empty() && to.is_empty() => {}
        (from, to) => line.push_str(&format!(" {} → {}", or_dash(from), or_dash(to))),
    }
    for (field, value) in entry["detail"].as_object().into_iter().flatten() {
        if field != "digest" {
            line.push_str(&format!(" {field}={value}"));
        }
    }
    line
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
