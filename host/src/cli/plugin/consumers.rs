//! `kith plugin consumers`: where the hooks after the commit stand,
//! and how far each is behind.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::cli::api::{Api, Server};
use crate::cli::print;

/// Of several nodes, the column of the one that does the work.
const NODE_AT: usize = 4;

/// Prints a row for each responder and observer; of one plugin, where it is named.
pub async fn show(server: Server, name: Option<String>) -> Result<()> {
    let answer = Api::new(&server)?.get("/consumers").await?;
    let all = answer["consumers"].as_array().cloned().unwrap_or_default();
    let is_asked = |row: &Value| name.as_deref().is_none_or(|name| row["plugin"] == name);
    let rows: Vec<Value> = all.into_iter().filter(is_asked).collect();
    if let Some(name) = name.filter(|_| rows.is_empty()) {
        bail!("{name} has no hook after the commit, or was never activated");
    }
    if server.json {
        print::json(&Value::Array(rows));
        return Ok(());
    }
    let shared = rows.iter().any(|row| row["node"].is_string());
    let mut heads = vec![
        "PLUGIN",
        "HOOK",
        "VERSION",
        "STATE",
        "BEHIND",
        "FOR",
        "DELIVERED",
        "SKIPPED",
        "REFUSED",
        "FAILED",
        "WAITS FOR",
    ];
    let mut cells: Vec<_> = rows.iter().map(cells).collect();
    if shared {
        heads.insert(NODE_AT, "NODE");
        for (row, cells) in rows.iter().zip(&mut cells) {
            cells.insert(NODE_AT, print::text(row, "node"));
        }
    }
    print::table(&heads, &cells);
    Ok(())
}

fn cells(row: &Value) -> Vec<String> {
    let text = |field: &str| print::text(row, field);
    let more = if row["more"] == true { "+" } else { "" };
    let waits = row["behind_ms"].as_u64().unwrap_or(0);
    let mut cells = ["plugin", "hook", "version", "state"].map(text).to_vec();
    cells.push(format!("{}{more}", text("behind")));
    cells.push(format!("{}.{} s", waits / 1000, waits % 1000 / 100));
    let counts = ["delivered", "skipped", "refused", "failures", "waiting_for"];
    cells.extend(counts.map(text));
    cells
}
