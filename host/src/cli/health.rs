//! `kith health`: whether the server on this machine serves, for whoever watches its process, such as a container's
//! engine. It asks `readyz` and nothing else.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::print::say;

/// Whoever watches asks again soon.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's address, for clients or for administrators.
    #[arg(long, env = "KITH_URL", default_value = "http://127.0.0.1:7700")]
    server: String,
}

/// Prints the status; 0 while it serves, though it may be degraded.
pub async fn run(args: Args) -> Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/readyz", args.server.trim_end_matches('/'));
    let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let answer = http.get(&url).send().await;
    let answer = answer.with_context(|| format!("no answer from {url}"))?;
    let serves = answer.status().is_success();
    let report: Value = answer
        .json()
        .await
        .with_context(|| format!("{url} is not Kith's"))?;
    say!("{}", report["status"].as_str().unwrap_or("unknown"));
    Ok(if serves {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
