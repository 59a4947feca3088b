//! What authors do on their own machine: start a plugin,
//! build and test it, inspect and sign the component.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cli::print::{self, say};
use crate::guest::{self, Language};

#[derive(Debug, clap::Args)]
pub struct New {
    /// The plugin's name and folder.
    name: PathBuf,
    /// What it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// A hook it has: content-filter, message-strategy, command, admin-rule, observer, responder. May be given more than
    /// once.
    #[arg(long, default_value = "content-filter")]
    hook: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct Build {
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The file to write [default: DIR/target/NAME-VERSION.wasm]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Makes the version X.Y.Z into X.Y.Z-SUFFIX.
    #[arg(long)]
    version_suffix: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct Test {
    /// The plugin's folder; with --replay also a component file.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Run a replay file instead of the fixtures: does the call fail here as it did on the server?
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// With --replay: the configuration, a JSON object, where the file has none.
    #[arg(long, value_name = "FILE", requires = "replay")]
    config: Option<PathBuf>,
    /// Keep what is measured as the baseline that later runs are held against.
    #[arg(long)]
    write_baseline: bool,
}

/// Makes the folder of a new plugin.
pub fn new(args: New) -> Result<()> {
    guest::scaffold(&args.name, args.lang, &args.hook)?;
    say!("{} is ready: kith plugin build {0}", args.name.display());
    Ok(())
}

/// Builds a component; its path is the last line on stdout.
pub fn build(args: Build) -> Result<()> {
    let built = guest::build(
        &args.folder,
        args.out.as_deref(),
        args.version_suffix.as_deref(),
        &say,
    )?;
    say!("{}", built.file.display());
    Ok(())
}

/// Builds, then runs the fixtures on the component.
pub fn test(args: Test) -> Result<()> {
    if let Some(file) = &args.replay {
        // Before minutes of compiling.
        let found = std::fs::metadata(file);
        found.with_context(|| format!("cannot read {}", file.display()))?;
        let component = match args.folder.is_file() {
            true => args.folder.clone(),
            false => guest::build(&args.folder, None, None, &say)?.file,
        };
        let config = args.config.as_deref();
        return guest::replay(file, &component, config, &|line| say!("{line}"));
    }
    let built = guest::build(&args.folder, None, None, &say)?;
    let say = |line: &str| say!("{line}");
    guest::test(&args.folder, &built.file, args.write_baseline, &say)
}

fn say(step: &str) {
    eprintln!("kith: {step}");
}

#[derive(Debug, clap::Args)]
pub struct Sign {
    file: PathBuf,
    /// A file with the secret key: `ed25519:` and base64 of 32 bytes. Made when it is not there.
    #[arg(long)]
    key: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

/// Writes FILE.wasm.sig.
pub fn sign(args: Sign) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    use base64::Engine;
    let component = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    if !args.key.exists() {
        let secret: [u8; 32] = rand::random();
        let text = format!(
            "ed25519:{}\n",
            base64::prelude::BASE64_STANDARD.encode(secret)
        );
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&args.key)?;
        file.write_all(text.as_bytes())?;
        eprintln!("kith: made the secret key {}; keep it", args.key.display());
    }
    let secret = std::fs::read_to_string(&args.key)
        .with_context(|| format!("cannot read {}", args.key.display()))?;
    let signature = kith_runtime::sign(&component, secret.trim())?;
    let mut beside = args.file.clone().into_os_string();
    beside.push(".sig");
    std::fs::write(&beside, format!("{signature}\n"))?;
    let key = kith_runtime::public_key(secret.trim())?;
    if args.json {
        print::json(&json!({
            "file": args.file,
            "signature": beside.to_string_lossy(),
            "key": key,
        }));
    } else {
        say!("{} is signed by {key}", args.file.display());
    }
    Ok(())
}

/// Shows what a component file is.
pub fn inspect(file: &str, as_json: bool) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
    let settings = kith_runtime::Settings::new(guest::code_cache()?);
    let runtime = kith_runtime::Runtime::new(settings)?;
    let inspection = runtime.inspect(&bytes).with_context(|| file.to_owned())?;
    let shown = json!({
        "name": inspection.name,
        "version": inspection.version,
        "summary": inspection.summary,
        "digest": inspection.digest,
        "hooks": inspection.hooks.iter().map(|hook| hook.as_str()).collect::<Vec<_>>(),
        "abilities": inspection.abilities,
        "config_schema": inspection.config_schema,
        "size": inspection.size,
    });
    super::print_inspection(&shown, as_json);
    Ok(())
}
