//! `kith admin`: words, held messages, users, bans,
//! tokens; and work on the stores themselves.

mod bans;
mod handovers;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, Body, Server, block_on, segment};
use super::print::{self, say};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The filter's words.
    Words {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: Words,
    },
    /// Messages that wait for a decision.
    Held {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: Held,
    },
    /// Users of the deployment.
    Users {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: Users,
    },
    /// Who is kept out.
    Bans {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: bans::Bans,
    },
    /// Conversations that plugins have handed over to a person.
    Handovers {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: handovers::Handovers,
    },
    /// Administrators' tokens.
    Token {
        #[command(flatten)]
        server: Server,
        #[command(subcommand)]
        command: Token,
    },
    /// Show what administrators and the server did, when, and from what to what.
    Audit {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        args: super::audit::Args,
    },
    /// Take a damaged message log back into use: keeps everything before the damage (the server must not run).
    Repair {
        /// The data folder, as for `serve`.
        #[arg(long, default_value = "data")]
        data: PathBuf,
    },
    /// Rewrite the message log, the accounts and the search index so that erased content is gone from the disk (the
    /// server must not run).
    Compact(super::settings::Args),
    /// Write everything of a deployment into one file: a backup, or what `import` takes (no server may run, unless it is
    /// asked with --running).
    Export(super::moving::Export),
    /// Put a file that `export` wrote into an empty deployment, of whichever engines (the server must not run).
    Import(super::moving::Import),
    /// Create or update MongoDB's collections, indexes and shard keys; done already where a server has started.
    Migrate(super::migrate::Args),
    /// Make the search index anew from the message log (the server must not run).
    Reindex(super::reindex::Args),
}

#[derive(Debug, Subcommand)]
pub enum Words {
    /// Add words, or change the level of known ones.
    Add {
        /// What a hit does: mask, reject or hold.
        #[arg(long, value_parser = ["mask", "reject", "hold"])]
        level: String,
        /// A name to tell hits apart by.
        #[arg(long)]
        category: Option<String>,
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Take words away.
    Remove {
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Show every word.
    List,
    /// Add the words of a CSV file with the header `word,level,category`; one bad row imports nothing.
    Import { file: PathBuf },
    /// Show what the filter finds in a text.
    Test { text: String },
}

#[derive(Debug, Subcommand)]
pub enum Held {
    /// Show what waits, oldest first.
    List,
    /// Let a message through.
    Release { id: String },
    /// Refuse a message for good.
    Refuse {
        id: String,
        /// The reason's code, told to the sender.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Users {
    /// Show users by name.
    List {
        /// Part of a name.
        #[arg(default_value = "")]
        query: String,
    },
    /// End a user's sessions and keep them out.
    Disable { user: String },
    /// Let a user in again.
    Enable { user: String },
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a lasting administrator's token; it is shown once.
    Create {
        /// Whose it is, for the audit log.
        #[arg(long, default_value = "admin")]
        name: String,
    },
}

/// Runs one administration command.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Words { server, command } => block_on(words(server, command)),
        Command::Held { server, command } => block_on(held(server, command)),
        Command::Users { server, command } => block_on(users(server, command)),
        Command::Bans { server, command } => block_on(bans::run(server, command)),
        Command::Handovers { server, command } => block_on(handovers::run(server, command)),
        Command::Token {
            server,
            command: Token::Create { name },
        } => block_on(create_token(server, name)),
        Command::Audit { server, args } => block_on(super::audit::run(server, args, "")),
        Command::Repair { data } => super::serve::repair(&data),
        Command::Compact(settings) => block_on(super::serve::compact(settings)),
        Command::Migrate(args) => block_on(super::migrate::run(args)),
        Command::Export(args) => block_on(super::moving::export(args)),
        Command::Import(args) => block_on(super::moving::import(args)),
        Command::Reindex(args) => block_on(super::reindex::run(args)),
    }
}

async fn words(server: Server, command: Words) -> Result<()> {
    let api = Api::new(&server)?;
    let answer = match command {
        Words::Add {
            level,
            category,
            words,
        } => {
            let rows: Vec<Value> = words
                .iter()
                .map(|word| json!({"word": word, "level": level, "category": category}))
                .collect();
            api.post("/words", json!({"words": rows})).await?
        }
        Words::Remove { words } => api.post("/words/remove", json!({"words": words})).await?,
        Words::List => {
            let list = api.get("/words").await?;
            if server.json {
                print::json(&list);
                return Ok(());
            }
            let rows = list["words"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    ["word", "level", "category"]
                        .map(|field| print::text(row, field))
                        .to_vec()
                })
                .collect();
            print::table(&["WORD", "LEVEL", "CATEGORY"], &rows);
            return Ok(());
        }
        Words::Import { file } => {
            let csv = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            api.call(Method::POST, "/words/import", Body::Csv(csv))
                .await?
        }
        Words::Test { text } => {
            let found = api.post("/words/test", json!({"text": text})).await?;
            return show_test(&server, &found);
        }
    };
    if server.json {
        print::json(&answer);
    } else {
        let (words, generation) = (
            print::text(&answer, "count"),
            print::text(&answer, "generation"),
        );
        say!("{words} words are in force, generation {generation}");
    }
    Ok(())
}

fn show_test(server: &Server, found: &Value) -> Result<()> {
    if server.json {
        print::json(found);
        return Ok(());
    }
    say!(
        "{}: {}",
        print::text(found, "verdict"),
        print::text(found, "text")
    );
    let hits = found["hits"].as_array().cloned().unwrap_or_default();
    let rows: Vec<_> = hits
        .iter()
        .map(|hit| {
            ["start", "end", "level", "rule"]
                .map(|field| print::text(hit, field))
                .to_vec()
        })
        .collect();
    if !rows.is_empty() {
        print::table(&["START", "END", "LEVEL", "RULE"], &rows);
    }
    Ok(())
}

async fn held(server: Server, command: Held) -> Result<()> {
    let api = Api::new(&server)?;
    match command {
        Held::List => {
            let list = api.get("/held").await?;
            if server.json {
                print::json(&list);
                return Ok(());
            }
            let rows = list["held"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    let mut cells = ["hold", "from", "by", "reason"]
                        .map(|field| print::text(row, field))
                        .to_vec();
                    cells.push(print::text(&row["content"], "text"));
                    cells
                })
                .collect();
            print::table(&["HOLD", "FROM", "BY", "REASON", "TEXT"], &rows);
        }
        Held::Release { id } => {
            let done = api
                .post(&format!("/held/{}/release", segment(&id)), json!({}))
                .await?;
            report(
                &server,
                &done,
                &format!("{id} released as {}", print::text(&done, "seq")),
            );
        }
        Held::Refuse { id, reason } => {
            let path = format!("/held/{}/refuse", segment(&id));
            let done = api.post(&path, json!({"reason": reason})).await?;
            report(&server, &done, &format!("{id} refused: {reason}"));
        }
    }
    Ok(())
}

async fn users(server: Server, command: Users) -> Result<()> {
    let api = Api::new(&server)?;
    match command {
        Users::List { query } => {
            let list = api
                .get(&format!("/users?query={}", segment(&query)))
                .await?;
            if server.json {
                print::json(&list);
                return Ok(());
            }
            let rows = list["users"].as_array().cloned().unwrap_or_default();
            let fields = ["id", "username", "display_name", "kind", "disabled"];
            let rows: Vec<_> = rows
                .iter()
                .map(|row| fields.map(|field| print::text(row, field)).to_vec())
                .collect();
            print::table(&["ID", "USERNAME", "NAME", "KIND", "DISABLED"], &rows);
        }
        Users::Disable { user } => {
            let done = api
                .post(&format!("/users/{}/disable", segment(&user)), json!({}))
                .await?;
            report(
                &server,
                &done,
                &format!("{user} is disabled; its sessions have ended"),
            );
        }
        Users::Enable { user } => {
            let done = api
                .post(&format!("/users/{}/enable", segment(&user)), json!({}))
                .await?;
            report(&server, &done, &format!("{user} may sign in again"));
        }
    }
    Ok(())
}

async fn create_token(server: Server, name: String) -> Result<()> {
    let made = Api::new(&server)?
        .post("/tokens", json!({"name": name}))
        .await?;
    report(&server, &made, &print::text(&made, "token"));
    Ok(())
}

fn report(server: &Server, value: &Value, text: &str) {
    if server.json {
        print::json(value);
    } else {
        say!("{text}");
    }
}
