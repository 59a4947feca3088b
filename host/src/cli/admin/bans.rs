//! `kith admin bans`: who is kept out, for how long, and why.
//! Only asks the server.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::report;
use crate::cli::api::{Api, Body, Server, segment};
use crate::cli::print;

#[derive(Debug, Subcommand)]
pub enum Bans {
    /// Show every ban in force.
    List,
    /// Keep a user, an address or a device out, or a user from speaking.
    Add {
        #[command(flatten)]
        whom: Whom,
        /// For how long, such as 90s, 30m, 12h or 7d; for ever when left out.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        time: Option<Duration>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Lift a ban.
    Remove { id: String },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Whom {
    /// A user by name or id.
    #[arg(long)]
    user: Option<String>,
    /// An IP address.
    #[arg(long)]
    address: Option<String>,
    /// A device's id.
    #[arg(long)]
    device: Option<String>,
    /// A user by name or id, who may come in and not speak.
    #[arg(long, value_name = "USER")]
    speech: Option<String>,
}

impl Whom {
    fn named(self) -> (&'static str, String) {
        let named = [
            ("user", self.user),
            ("address", self.address),
            ("device", self.device),
            ("speech", self.speech),
        ];
        let mut named = named
            .into_iter()
            .filter_map(|(kind, subject)| Some((kind, subject?)));
        named.next().unwrap_or_default()
    }
}

/// `90s`, `30m`, `12h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no time: a number and s, m, h or d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    let seconds = count.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Runs one of them.
pub async fn run(server: Server, command: Bans) -> Result<()> {
    let api = Api::new(&server)?;
    match command {
        Bans::List => {
            let list = api.get("/bans").await?;
            if server.json {
                print::json(&list);
                return Ok(());
            }
            let rows = list["bans"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> = rows.iter().map(row).collect();
            print::table(&["ID", "KIND", "SUBJECT", "UNTIL", "BY", "REASON"], &rows);
        }
        Bans::Add { whom, time, reason } => {
            let (kind, subject) = whom.named();
            let seconds = time.map(|time| time.as_secs());
            let body =
                json!({"kind": kind, "subject": subject, "seconds": seconds, "reason": reason});
            let made = api.post("/bans", body).await?;
            let text = format!("{kind} {subject} is banned: {}", print::text(&made, "id"));
            report(&server, &made, &text);
        }
        Bans::Remove { id } => {
            let path = format!("/bans/{}", segment(&id));
            api.call(Method::DELETE, &path, Body::None).await?;
            report(&server, &json!({"id": id}), &format!("ban {id} is lifted"));
        }
    }
    Ok(())
}

fn row(ban: &Value) -> Vec<String> {
    let until = ban["until"].as_i64();
    let until = until.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut cells = ["id", "kind", "subject"]
        .map(|field| print::text(ban, field))
        .to_vec();
    cells.push(until.map_or_else(|| "for ever".to_owned(), |until| until.to_string()));
    cells.extend(["by", "reason"].map(|field| print::text(ban, field)));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "h", "0m", "soon", "5", "-1h", "5 h", "3日"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
