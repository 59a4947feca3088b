//! Trying a version beside the one that serves: the beginning of a shadow or a canary, and what came of it. Prints what the
//! server says.

use anyhow::Result;
use serde_json::{Value, json};

use super::named::Named;
use super::{print, segment, show_switched};
use crate::cli::api::{Api, Server};
use crate::cli::print::say;

pub async fn shadow(server: Server, Named { name, version }: Named) -> Result<()> {
    let path = format!("/plugins/{}/shadow", segment(&name));
    let body = json!({"version": version});
    let done = Api::new(&server)?.post(&path, body).await?;
    show_switched(&server, &done);
    Ok(())
}

pub async fn canary(server: Server, Named { name, version }: Named, percent: u8) -> Result<()> {
    let path = format!("/plugins/{}/canary", segment(&name));
    let body = json!({"version": version, "percent": percent});
    let done = Api::new(&server)?.post(&path, body).await?;
    show_switched(&server, &done);
    Ok(())
}

/// The nodes, and how each stands to generations.
pub async fn nodes(server: Server) -> Result<()> {
    let nodes = Api::new(&server)?.get("/nodes").await?;
    if server.json {
        print::json(&nodes);
        return Ok(());
    }
    let fields = ["name", "state", "generation", "ready", "lag", "note"];
    let row = |node: &Value| fields.map(|field| print::text(node, field)).to_vec();
    let rows: Vec<_> = nodes.as_array().into_iter().flatten().map(row).collect();
    print::table(
        &["NAME", "STATE", "GENERATION", "READY", "LAG", "NOTE"],
        &rows,
    );
    Ok(())
}

/// What serves and is tried, what each decided, and how a shadow differs.
pub async fn report(server: Server, name: String) -> Result<()> {
    let path = format!("/plugins/{}/rollout", segment(&name));
    let report = Api::new(&server)?.get(&path).await?;
    if server.json {
        print::json(&report);
        return Ok(());
    }
    say!("{name}, generation {}", print::text(&report, "generation"));
    for part in ["serves", "previous", "canary", "shadow"] {
        let shown = &report[part];
        if shown.is_null() {
            continue;
        }
        let percent = shown["percent"].as_u64();
        let percent = percent.map(|percent| format!(" in {percent} % of the conversations"));
        let version = print::text(shown, "version");
        say!("{part}: {version}{}", percent.unwrap_or_default());
        decided(shown);
        if let Some(note) = shown["note"].as_str() {
            say!("  {note}");
        }
    }
    differences(&report["shadow"]["hooks"]);
    Ok(())
}

fn decided(shown: &Value) {
    for (hook, counts) in shown["decided"].as_object().into_iter().flatten() {
        let counts = counts.as_object().into_iter().flatten();
        let counts: Vec<String> = counts
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        if !counts.is_empty() {
            say!("  {hook}: {}", counts.join(", "));
        }
    }
}

fn differences(hooks: &Value) {
    let hooks: Vec<&Value> = hooks.as_array().into_iter().flatten().collect();
    if hooks.is_empty() {
        return;
    }
    let fields = ["hook", "agreed", "differed", "failed", "dropped"];
    let row = |hook: &&Value| fields.map(|field| print::text(hook, field)).to_vec();
    let rows: Vec<_> = hooks.iter().map(row).collect();
    print::table(&["HOOK", "AGREED", "DIFFERED", "FAILED", "DROPPED"], &rows);
    let fields = ["conversation", "operation", "served", "shadow", "differs"];
    let examples = hooks.iter().flat_map(|hook| hook["examples"].as_array());
    let rows: Vec<_> = examples
        .flatten()
        .map(|example| fields.map(|field| print::text(example, field)).to_vec())
        .collect();
    if !rows.is_empty() {
        print::table(
            &["CONVERSATION", "OPERATION", "SERVED", "SHADOW", "DIFFERS"],
            &rows,
        );
    }
}
