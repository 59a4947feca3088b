//! `kith plugin export`, `import`, `pull` and `prune`: versions on their way between deployments, and out of one.
//! Whatever comes in is pushed as a file would be, so that the server checks it as one.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::named::Named;
use super::push_bytes;
use crate::cli::api::{Api, Body, Server, segment};
use crate::cli::print::{self, say};
use crate::oci::layout::{self, Layout};
use crate::oci::reference::Reference;
use crate::oci::remote::{Credentials, Remote};
use crate::oci::{self, Artifact, Described, Digest, Offer, Source};

#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    server: Server,
    /// NAME@VERSION or NAME@sha256:…, one or more.
    #[arg(required = true, value_name = "NAME@VERSION")]
    versions: Vec<Named>,
    /// A folder, added to when it is a layout already; or a new file that ends in .tar.
    #[arg(value_name = "DIR|FILE.tar")]
    target: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Import {
    #[command(flatten)]
    server: Server,
    /// An OCI layout: a folder, or a tar file of one.
    #[arg(value_name = "DIR|FILE.tar")]
    source: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Pull {
    #[command(flatten)]
    server: Server,
    /// REGISTRY/REPOSITORY@sha256:…, the digest of the manifest. A tag can be moved: one alone is refused, and the
    /// refusal says which digest it is now.
    reference: String,
}

#[derive(Debug, clap::Args)]
pub struct Prune {
    #[command(flatten)]
    server: Server,
    /// How many unused versions of each plugin stay, the newest.
    #[arg(long, default_value_t = 0, value_name = "N")]
    keep: u32,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
}

/// A version as the server has it.
struct Fetched {
    about: Value,
    component: Vec<u8>,
}

pub async fn export(args: Export) -> Result<()> {
    let api = Api::new(&args.server)?;
    let mut artifacts = Vec::with_capacity(args.versions.len());
    let mut rows = Vec::with_capacity(args.versions.len());
    for version in &args.versions {
        let fetched = fetch(&api, version).await?;
        let text = |field: &str| fetched.about[field].as_str().unwrap_or_default();
        let artifact = Artifact::of(Described {
            name: text("name"),
            version: text("version"),
            summary: text("summary"),
            component: &fetched.component,
            signature: fetched.about["signature"].as_str(),
        });
        rows.push(json!({
            "name": text("name"),
            "version": text("version"),
            "digest": text("digest"),
            "manifest": artifact.entry.digest,
        }));
        artifacts.push(artifact);
    }
    layout::write(&args.target, &artifacts)?;
    let line = |row: &Value| {
        let text = |field: &str| print::text(row, field);
        say!(
            "{} {} is manifest {}",
            text("name"),
            text("version"),
            text("manifest")
        );
    };
    show(&args.server, rows, line);
    Ok(())
}

async fn fetch(api: &Api, what: &Named) -> Result<Fetched> {
    let (name, version) = (segment(&what.name), segment(&what.version));
    let path = format!("/plugins/{name}/versions/{version}");
    let about = api.get(&path).await?;
    let component = api.file(&format!("{path}/component")).await?;
    let digest = print::text(&about, "digest");
    let found = Digest::of(&component);
    if found.as_str() != digest {
        bail!("the server gave another file for {what}: {found} in place of {digest}");
    }
    Ok(Fetched { about, component })
}

pub async fn import(args: Import) -> Result<()> {
    let api = Api::new(&args.server)?;
    let layout = Layout::open(&args.source)?;
    let offers = oci::offers(&layout, &layout.index()?).await?;
    take_in(&api, &args.server, &layout, &offers).await
}

pub async fn pull(args: Pull) -> Result<()> {
    let api = Api::new(&args.server)?;
    let reference: Reference = args.reference.parse()?;
    let remote = Remote::new(&reference, credentials()?)?;
    let Some(digest) = &reference.digest else {
        return Err(tag_alone(&remote, reference.clone()).await);
    };
    let root = remote.root(digest).await?;
    let offers = oci::offers(&remote, &root).await?;
    take_in(&api, &args.server, &remote, &offers).await
}

/// Why a tag is not enough, with what would be.
async fn tag_alone(remote: &Remote, reference: Reference) -> anyhow::Error {
    let tag = reference.tag.clone().unwrap_or_else(|| "latest".to_owned());
    let why = "a tag can be moved, so a plugin is pulled by its digest";
    match remote.resolve(&tag).await {
        Ok(digest) => {
            let pinned = Reference {
                digest: Some(digest),
                ..reference
            };
            anyhow::anyhow!("{why}; at this moment {tag} is {pinned}")
        }
        Err(error) => anyhow::anyhow!("{why}; which one {tag} is cannot be told: {error}"),
    }
}

fn credentials() -> Result<Credentials> {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let basic = match (read("KITH_REGISTRY_USER"), read("KITH_REGISTRY_PASSWORD")) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => bail!("KITH_REGISTRY_USER and KITH_REGISTRY_PASSWORD are set together or not at all"),
    };
    Ok(Credentials {
        basic,
        token: read("KITH_REGISTRY_TOKEN"),
    })
}

/// Pushes what is offered. Everything is read and checked before the first is pushed; one that the server refuses stops
/// none of the others.
async fn take_in(api: &Api, server: &Server, source: &dyn Source, offers: &[Offer]) -> Result<()> {
    if let [only] = offers {
        let component = oci::component(source, only).await?;
        let pushed = push_bytes(api, component, only.signature.clone()).await?;
        show(server, vec![pushed], line_of_push);
        return Ok(());
    }
    // Many are not held in memory: each is read a second time.
    for offer in offers {
        oci::component(source, offer).await?;
    }
    let (mut pushed, mut refused) = (Vec::new(), 0);
    for offer in offers {
        let component = oci::component(source, offer).await?;
        match push_bytes(api, component, offer.signature.clone()).await {
            Ok(row) => pushed.push(row),
            Err(error) => {
                refused += 1;
                eprintln!("kith: {}: {error:#}", offer.component.digest);
            }
        }
    }
    show(server, pushed, line_of_push);
    if refused > 0 {
        bail!("{refused} of {} plugins were refused", offers.len());
    }
    Ok(())
}

fn line_of_push(row: &Value) {
    let text = |field: &str| print::text(row, field);
    say!("{} {} {}", text("name"), text("version"), text("digest"));
}

pub async fn prune(args: Prune) -> Result<()> {
    let body = json!({"keep": args.keep, "dry_run": args.dry_run});
    let pruned = Api::new(&args.server)?
        .call(Method::POST, "/plugins/prune", Body::Json(body))
        .await
        .context("the server pruned nothing")?;
    if args.server.json {
        print::json(&pruned);
        return Ok(());
    }
    let rows: Vec<_> = pruned["removed"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            ["name", "version", "bytes", "digest"]
                .map(|field| print::text(row, field))
                .to_vec()
        })
        .collect();
    if !rows.is_empty() {
        print::table(&["NAME", "VERSION", "BYTES", "DIGEST"], &rows);
    }
    let bytes = |field: &str| print::bytes(pruned["freed"][field].as_u64().unwrap_or_default());
    say!(
        "{} {} of components and {} of compiled code",
        if args.dry_run { "would free" } else { "freed" },
        bytes("components"),
        bytes("code"),
    );
    Ok(())
}

fn show(server: &Server, rows: Vec<Value>, line: impl Fn(&Value)) {
    if server.json {
        print::json(&rows.into());
    } else {
        rows.iter().for_each(line);
    }
}
