//! `kith doctor`: tries the configuration and every outside server, and says what is wrong, a line each on stderr.
//! Exit status 1 when anything is.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::api::block_on;
use super::{print, settings};
use crate::app::doctor::{Finding, examine};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: settings::Args,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let config = args.settings.config()?;
    let findings = block_on(async { Ok(examine(&config).await) })?;
    let mut well = true;
    let mut parts = serde_json::Map::new();
    for Finding { part, found } in findings {
        let (ok, about) = match found {
            Ok(about) => (true, about),
            Err(error) => (false, format!("{error:#}")),
        };
        well &= ok;
        match (ok, args.json) {
            (true, false) => println!("{part}: {about}"),
            (true, true) => {}
            (false, _) => eprintln!("{part}: {about}"),
        }
        parts.insert(part.to_owned(), json!({"ok": ok, "about": about}));
    }
    if args.json {
        print::json(&Value::Object(parts));
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
