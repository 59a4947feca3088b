//! `kith plugin bind`: how a plugin is called at one of its hooks.
//! What is not given stays as it is.

use std::collections::BTreeMap;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::cli::api::{Api, Body, Server, segment};
use crate::cli::print::{self, say};

#[derive(Debug, clap::Args)]
pub struct Bind {
    #[command(flatten)]
    server: Server,
    name: String,
    #[arg(long, value_parser = super::named::hooks())]
    hook: String,
    /// Lower runs earlier.
    #[arg(long, allow_negative_numbers = true)]
    order: Option<i32>,
    #[arg(long, value_parser = ["direct", "group", "self", "all"])]
    scope: Option<String>,
    #[arg(long, value_parser = ["pass", "reject", "unavailable", "hold", "fallback"])]
    on_failed: Option<String>,
    #[arg(long, value_parser = ["pass", "reject", "unavailable", "hold", "fallback"])]
    on_absent: Option<String>,
    /// The version asked when the policy is `fallback`.
    #[arg(long)]
    fallback: Option<String>,
    #[arg(long, value_parser = ["reuse", "message"])]
    isolation: Option<String>,
    /// Soft budget of a call, microseconds.
    #[arg(long)]
    budget_us: Option<u32>,
    /// The service account a responder answers for.
    #[arg(long)]
    account: Option<String>,
    /// What one of a filter's own levels means here, such as `mild=mask`; given again for each. The table is replaced.
    #[arg(long = "level", value_name = "NAME=mask|reject|hold", value_parser = level)]
    levels: Vec<(String, String)>,
}

fn level(text: &str) -> Result<(String, String), String> {
    let known = ["mask", "reject", "hold"];
    match text.split_once('=') {
        Some((name, level)) if !name.is_empty() && known.contains(&level) => {
            Ok((name.to_owned(), level.to_owned()))
        }
        _ => Err("a level is NAME=mask, NAME=reject or NAME=hold".to_owned()),
    }
}

/// Changes a binding.
pub async fn bind_hook(bind: Bind) -> Result<()> {
    let levels: BTreeMap<_, _> = bind.levels.into_iter().collect();
    let change = json!({
        "order": bind.order,
        "scope": bind.scope,
        "on_failed": bind.on_failed,
        "on_absent": bind.on_absent,
        "fallback": bind.fallback,
        "isolation": bind.isolation,
        "budget_us": bind.budget_us,
        "account": bind.account,
        "levels": (!levels.is_empty()).then_some(levels),
    });
    let path = format!(
        "/plugins/{}/bindings/{}",
        segment(&bind.name),
        segment(&bind.hook)
    );
    let done = Api::new(&bind.server)?
        .call(Method::PATCH, &path, Body::Json(change))
        .await?;
    if bind.server.json {
        print::json(&done);
    } else {
        say!(
            "{} is bound to {}, generation {}",
            bind.name,
            bind.hook,
            print::text(&done, "generation")
        );
    }
    Ok(())
}
