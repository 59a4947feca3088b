//! `kith plugin`: for authors (new, build, test, inspect,
//! sign) and administrators (push, list, activate …).

pub mod author;
mod bind;
mod consumers;
mod grants;
mod logs;
mod named;
pub mod registry;
pub mod replay;
mod rollout;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::api::{Api, Body, Server, block_on, segment};
use super::audit;
use super::print::{self, say};
use crate::plugins::rollout::COMPONENT_BYTES_MAX;
use named::Named;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the folder of a new plugin; it builds and its tests pass.
    New(author::New),
    /// Build a plugin's component; the last line printed is its path.
    Build(author::Build),
    /// Build a plugin and run its fixtures on the real component.
    Test(author::Test),
    /// Sign a component: writes FILE.wasm.sig.
    Sign(author::Sign),
    /// Show what a component is and asks for: a file, or NAME@VERSION of the server.
    Inspect {
        #[command(flatten)]
        server: Server,
        #[arg(value_parser = named::file_or_version)]
        what: String,
    },
    /// Send a component to the server; prints NAME VERSION DIGEST.
    Push {
        #[command(flatten)]
        server: Server,
        file: PathBuf,
    },
    /// Write versions of the server as an OCI layout, to be carried elsewhere.
    Export(registry::Export),
    /// Send every plugin of an OCI layout to the server; prints NAME VERSION DIGEST of each.
    Import(registry::Import),
    /// Fetch a plugin from an OCI registry by its digest and send it to the server.
    ///
    /// Without TLS only a registry on this machine is asked. KITH_REGISTRY_USER and KITH_REGISTRY_PASSWORD, or
    /// KITH_REGISTRY_TOKEN, say who asks when the registry wants to know.
    Pull(registry::Pull),
    /// Remove versions that neither serve nor could be gone back to, and their compiled code.
    Prune(registry::Prune),
    /// Ask a version again what was decided, without effect, and show every decision that differs; or see to the files
    /// about calls that failed.
    Replay(replay::Replay),
    /// Show the newest lines of a plugin's log.
    Logs {
        #[command(flatten)]
        server: Server,
        name: String,
        /// Go on with every line that comes, until Ctrl-C.
        #[arg(long)]
        follow: bool,
    },
    /// Show the versions the server has and what they do.
    List {
        #[command(flatten)]
        server: Server,
    },
    /// Show where the hooks after the commit stand, and how far each is behind.
    Consumers {
        #[command(flatten)]
        server: Server,
        /// Of this plugin alone.
        name: Option<String>,
    },
    /// Make a version serve.
    Activate {
        #[command(flatten)]
        server: Server,
        /// NAME@VERSION or NAME@sha256:…
        #[arg(value_name = "NAME@VERSION")]
        version: Named,
        /// Activate it although it was quarantined.
        #[arg(long)]
        force: bool,
        /// What it may do, such as http:host=example.org,kv:bytes=1048576.
        #[arg(long, value_name = "GRANTS")]
        grant: Vec<String>,
    },
    /// Show or change what a plugin may do.
    Grant {
        #[command(flatten)]
        server: Server,
        name: String,
        /// Added to what it may do, such as http:host=example.org.
        #[arg(long, value_name = "GRANTS")]
        grant: Vec<String>,
        /// An ability taken back.
        #[arg(long, value_name = "ABILITY")]
        revoke: Vec<String>,
    },
    /// Change how a plugin is bound to a hook.
    Bind(Box<bind::Bind>),
    /// Show a version what happens and compare what it decides; it decides nothing.
    Shadow {
        #[command(flatten)]
        server: Server,
        /// NAME@VERSION or NAME@sha256:…
        #[arg(value_name = "NAME@VERSION")]
        version: Named,
    },
    /// Let a version decide in a share of the conversations, the same ones as long as it lasts.
    Canary {
        #[command(flatten)]
        server: Server,
        /// The share of conversations, 1 to 100.
        #[arg(long, value_name = "P", value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// NAME@VERSION or NAME@sha256:…
        #[arg(value_name = "NAME@VERSION")]
        version: Named,
    },
    /// Show what serves and is tried of a plugin, what each decided, and how a shadow differs.
    Rollout {
        #[command(flatten)]
        server: Server,
        name: String,
    },
    /// Show the nodes, and the generation each serves and has loaded.
    Nodes {
        #[command(flatten)]
        server: Server,
    },
    /// Show what was done to plugins, by whom and from what to what.
    Events {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        args: audit::Args,
    },
    /// End a shadow and a canary or, without either, go back to the version before; the configuration stays.
    Rollback {
        #[command(flatten)]
        server: Server,
        name: String,
    },
    /// Let a disabled plugin serve again.
    Enable {
        #[command(flatten)]
        server: Server,
        name: String,
    },
    /// Unbind a plugin: messages pass without it.
    Disable {
        #[command(flatten)]
        server: Server,
        name: String,
    },
    /// Show or change a plugin's configuration.
    Config {
        #[command(flatten)]
        server: Server,
        name: String,
        /// KEY=VALUE; the value is JSON where the schema's type is not text.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// A JSON object in place of the whole configuration.
        #[arg(long, conflicts_with_all = ["set", "rollback"])]
        file: Option<PathBuf>,
        /// Back to the configuration before.
        #[arg(long, conflicts_with = "set")]
        rollback: bool,
    },
}

/// Runs one plugin command.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::New(args) => author::new(args),
        Command::Build(args) => author::build(args),
        Command::Test(args) => author::test(args),
        Command::Sign(args) => author::sign(args),
        Command::Inspect { server, what } if std::path::Path::new(&what).is_file() => {
            author::inspect(&what, server.json)
        }
        Command::Inspect { server, what } => block_on(inspect(server, what)),
        Command::Push { server, file } => block_on(push(server, file)),
        Command::Export(args) => block_on(registry::export(args)),
        Command::Import(args) => block_on(registry::import(args)),
        Command::Pull(args) => block_on(registry::pull(args)),
        Command::Prune(args) => block_on(registry::prune(args)),
        Command::Replay(args) => block_on(replay::replay(args)),
        Command::Logs {
            server,
            name,
            follow,
        } => block_on(logs::show(server, name, follow)),
        Command::List { server } => block_on(list(server)),
        Command::Consumers { server, name } => block_on(consumers::show(server, name)),
        Command::Activate {
            server,
            version,
            force,
            grant,
        } => block_on(grants::activate(server, version, force, grant)),
        Command::Grant {
            server,
            name,
            grant,
            revoke,
        } => block_on(grants::change(server, name, grant, revoke)),
        Command::Bind(bind) => block_on(bind::bind_hook(*bind)),
        Command::Shadow { server, version } => block_on(rollout::shadow(server, version)),
        Command::Canary {
            server,
            percent,
            version,
        } => block_on(rollout::canary(server, version, percent)),
        Command::Rollout { server, name } => block_on(rollout::report(server, name)),
        Command::Nodes { server } => block_on(rollout::nodes(server)),
        Command::Events { server, args } => block_on(audit::run(server, args, "plugin.")),
        Command::Rollback { server, name } => block_on(simple(server, name, "rollback")),
        Command::Enable { server, name } => block_on(simple(server, name, "enable")),
        Command::Disable { server, name } => block_on(simple(server, name, "disable")),
        Command::Config {
            server,
            name,
            set,
            file,
            rollback,
        } => block_on(config(server, name, set, file, rollback)),
    }
}

async fn inspect(server: Server, what: String) -> Result<()> {
    let named: Result<Named, String> = what.parse();
    let Named { name, version } = named
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("there is no file {what}"))?;
    let found = Api::new(&server)?
        .get(&format!(
            "/plugins/{}/versions/{}",
            segment(&name),
            segment(&version)
        ))
        .await?;
    print_inspection(&found, server.json);
    Ok(())
}

/// What a component is, for a person or a program.
pub fn print_inspection(found: &Value, json: bool) {
    if json {
        print::json(found);
        return;
    }
    let text = |field: &str| print::text(found, field);
    say!("{} {}: {}", text("name"), text("version"), text("summary"));
    let schema = found["config_schema"]["properties"].as_object();
    let settings: Vec<&str> = schema
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    for (what, value) in [
        ("digest", text("digest")),
        ("bytes", text("size")),
        ("hooks", text("hooks")),
        ("abilities", text("abilities")),
        ("settings", settings.join(",")),
        ("signed by", text("signed_by")),
    ] {
        if !value.is_empty() {
            say!("{what:<10} {value}");
        }
    }
    for line in grants::differences(found) {
        say!("{line}");
    }
}

async fn push(server: Server, file: PathBuf) -> Result<()> {
    let unread = || format!("cannot read {}", file.display());
    let size = std::fs::metadata(&file).with_context(unread)?.len();
    if size > COMPONENT_BYTES_MAX as u64 {
        bail!(
            "{} has {size} bytes; a plugin has at most {COMPONENT_BYTES_MAX}",
            file.display()
        );
    }
    let bytes = std::fs::read(&file).with_context(unread)?;
    let mut beside = file.clone().into_os_string();
    beside.push(".sig");
    let signature = std::fs::read_to_string(&beside).ok();
    let pushed = push_bytes(&Api::new(&server)?, bytes, signature).await?;
    show(&server, &pushed, &["name", "version", "digest"]);
    Ok(())
}

/// Sends a component, however it came here: the server's checks are the same.
pub async fn push_bytes(api: &Api, bytes: Vec<u8>, signature: Option<String>) -> Result<Value> {
    let body = Body::Component(bytes, signature);
    let pushed = api.call(Method::POST, "/plugins", body).await?;
    if let Some(warning) = pushed["warning"].as_str() {
        eprintln!("kith: {}: {warning}", print::text(&pushed, "name"));
    }
    Ok(pushed)
}

async fn list(server: Server) -> Result<()> {
    let answer = Api::new(&server)?.get("/plugins").await?;
    let plugins = answer["plugins"].clone();
    if server.json {
        print::json(&plugins);
        return Ok(());
    }
    let rows: Vec<_> = plugins
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            let mut cells = [
                "name", "version", "state", "hooks", "grants", "note", "digest",
            ]
            .map(|field| print::text(row, field));
            if let Some(trouble) = row["trouble"].as_str() {
                let joint = if cells[5].is_empty() { "" } else { "; " };
                cells[5].push_str(&format!("{joint}{trouble}"));
            }
            if let Some(percent) = row["percent"].as_u64() {
                cells[2].push_str(&format!(" {percent} %"));
            }
            cells.to_vec()
        })
        .collect();
    print::table(
        &[
            "NAME", "VERSION", "STATE", "HOOKS", "GRANTS", "NOTE", "DIGEST",
        ],
        &rows,
    );
    Ok(())
}

async fn simple(server: Server, name: String, verb: &str) -> Result<()> {
    let done = Api::new(&server)?
        .post(&format!("/plugins/{}/{verb}", segment(&name)), json!({}))
        .await?;
    show_switched(&server, &done);
    Ok(())
}

async fn config(
    server: Server,
    name: String,
    set: Vec<String>,
    file: Option<PathBuf>,
    rollback: bool,
) -> Result<()> {
    let api = Api::new(&server)?;
    let path = format!("/plugins/{}/config", segment(&name));
    let answer = if rollback {
        api.post(&format!("{path}/rollback"), json!({})).await?
    } else if let Some(file) = file {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let read: Map<String, Value> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a JSON object", file.display()))?;
        let values = shown_values(read);
        api.call(Method::PUT, &path, Body::Json(json!({"values": values})))
            .await?
    } else if set.is_empty() {
        api.get(&path).await?
    } else {
        let mut texts = Map::new();
        for pair in &set {
            let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                bail!("{pair} is not KEY=VALUE");
            };
            texts.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        api.call(Method::PATCH, &path, Body::Json(json!({"texts": texts})))
            .await?
    };
    if server.json {
        print::json(&answer);
        return Ok(());
    }
    say!("{name}, generation {}", print::text(&answer, "generation"));
    for (key, value) in answer["values"].as_object().into_iter().flatten() {
        say!("{key} = {value}");
    }
    Ok(())
}

/// The values of a file that holds them, or what `config --json` printed around them.
fn shown_values(mut read: Map<String, Value>) -> Map<String, Value> {
    let is_shown = read.len() == 3 && read.contains_key("name") && read.contains_key("generation");
    match read.get_mut("values").map(Value::take) {
        Some(Value::Object(values)) if is_shown => values,
        Some(other) => {
            read.insert("values".to_owned(), other);
            read
        }
        None => read,
    }
}

fn show(server: &Server, value: &Value, fields: &[&str]) {
    if server.json {
        print::json(value);
    } else {
        say!(
            "{}",
            fields
                .iter()
                .map(|field| print::text(value, field))
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
}

fn show_switched(server: &Server, done: &Value) {
    if server.json {
        print::json(done);
        return;
    }
    let behind = done["behind"].as_array().into_iter().flatten();
    for node in behind.filter_map(Value::as_str) {
        eprintln!("kith: {node} is not ready and judges nothing until it is");
    }
    let (name, version) = (print::text(done, "name"), print::text(done, "version"));
    for trial in done["ended"].as_array().into_iter().flatten() {
        say!(
            "the {} of {name} has ended",
            trial.as_str().unwrap_or_default()
        );
    }
    let percent = done["percent"].as_u64();
    let percent = percent.map(|percent| format!(" in {percent} % of the conversations"));
    say!(
        "{name} {version} is {}{}, generation {}",
        print::text(done, "state"),
        percent.unwrap_or_default(),
        print::text(done, "generation")
    );
}
