//! `kith admin reindex`: makes the search index anew
//! from the message log, and shows how far it is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{print, settings};
use crate::app;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: settings::Args,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

/// Between two lines of progress.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

pub async fn run(args: Args) -> Result<()> {
    let (began, mut shown) = (Instant::now(), None);
    let terminal = std::io::stderr().is_terminal();
    let mut show = |items: u64, total: u64| {
        let due = shown.is_none_or(|at: Instant| at.elapsed() >= SHOWN_EVERY) || items == total;
        if due {
            shown = Some(Instant::now());
            let percent = (items * 100).checked_div(total).unwrap_or(100);
            let end = if terminal { "\r" } else { "\n" };
            eprint!("indexed {items} of about {total} ({percent} %){end}");
            let _ = std::io::stderr().flush();
        }
    };
    let items = app::upkeep::reindex(&args.settings.config()?, &mut show).await?;
    if terminal {
        eprintln!();
    }
    let seconds = began.elapsed().as_secs_f64();
    if args.json {
        print::json(&json!({"indexed": items, "seconds": seconds}));
    } else {
        println!("the index is made anew: {items} commits of the log in {seconds:.1} s");
    }
    Ok(())
}
