//! Activating with grants: what a version wants is asked for on a terminal; elsewhere it must be given, and the refusal
//! names it.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;
use serde_json::{Value, json};

use super::named::Named;
use super::{print, segment, show_switched};
use crate::cli::api::{Api, Server};
use crate::cli::print::say;

pub async fn activate(
    server: Server,
    Named { name, version }: Named,
    force: bool,
    grant: Vec<String>,
) -> Result<()> {
    let api = Api::new(&server)?;
    let mut grants = grant.join(",");
    let path = format!("/plugins/{}/versions/{}", segment(&name), segment(&version));
    let found = api.get(&path).await?;
    for line in differences(&found) {
        eprintln!("kith: {name} {line}");
    }
    if grant.is_empty() && std::io::stdin().is_terminal() {
        let wanted = found["wanted"].as_array().into_iter().flatten();
        grants = ask(wanted.filter_map(|grant| grant.as_str()))?;
    }
    let body = json!({"version": version, "force": force, "grants": grants});
    let path = format!("/plugins/{}/activate", segment(&name));
    let done = api.post(&path, body).await?;
    show_switched(&server, &done);
    Ok(())
}

/// What a version imports more and less than the one that serves, as sentences.
pub fn differences(found: &Value) -> impl Iterator<Item = String> {
    let shown = [("adds", "imports more"), ("drops", "imports no more")];
    shown.into_iter().filter_map(|(field, says)| {
        let names = found["difference"][field].as_array()?.iter();
        let names: Vec<&str> = names.filter_map(Value::as_str).collect();
        (!names.is_empty()).then(|| format!("{says}: {}", names.join(", ")))
    })
}

/// Each wish, to be granted, filled in or left out.
fn ask<'a>(wanted: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut granted: Vec<String> = Vec::new();
    for wish in wanted {
        let open = wish.strip_suffix("=HOST");
        match open {
            Some(scope) => eprint!("it wants {scope}: which host? (empty: none) "),
            None => eprint!("it wants {wish}: grant it? [y/N] "),
        }
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        match (open, answer.trim()) {
            (_, "") => {}
            (Some(scope), host) => granted.push(format!("{scope}={host}")),
            (None, "y" | "Y" | "yes") => granted.push(wish.to_owned()),
            (None, _) => {}
        }
    }
    Ok(granted.join(","))
}

pub async fn change(
    server: Server,
    name: String,
    grant: Vec<String>,
    revoke: Vec<String>,
) -> Result<()> {
    let body = json!({"grants": grant.join(","), "revoke": revoke});
    let path = format!("/plugins/{}/grants", segment(&name));
    let done = Api::new(&server)?.post(&path, body).await?;
    if server.json {
        print::json(&done);
        return Ok(());
    }
    say!("{name} may: {}", print::text(&done, "grants"));
    for wish in done["wanted"].as_array().into_iter().flatten() {
        say!("and wants: {}", wish.as_str().unwrap_or_default());
    }
    Ok(())
}
