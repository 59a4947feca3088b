//! `kith admin export` and `kith admin import`: everything of a deployment into one file, and from one into an empty
//! deployment. Shows how far it is; Ctrl-C leaves what the same command goes on from.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::api::{Api, Server};
use super::print::{self, say};
use super::settings;
use crate::app;
use crate::moving::import::{Contents, check};
use crate::moving::{Progress, export, frames};

/// Between two lines of progress.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Export {
    /// The file to write, readable by its owner alone; one that an earlier attempt left is gone on with.
    #[arg(long)]
    to: PathBuf,
    /// Ask the running server (--admin-url) instead of opening the stores; this cannot be gone on with.
    #[arg(long, conflicts_with_all = ["config", "data"])]
    running: bool,
    /// Leave out the bytes of uploads.
    #[arg(long)]
    without_media: bool,
    #[command(flatten)]
    settings: settings::Args,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
pub struct Import {
    /// A file that `kith admin export` wrote.
    #[arg(long)]
    from: PathBuf,
    /// Leave out the bytes of uploads.
    #[arg(long)]
    without_media: bool,
    #[command(flatten)]
    settings: settings::Args,
    /// Machine-readable output.
    #[arg(long)]
    json: bool,
}

/// `kith admin export`.
pub async fn export(args: Export) -> Result<()> {
    let began = Instant::now();
    let about_file = || format!("{}", args.to.display());
    if args.running {
        download(&args).await.with_context(about_file)?;
    } else {
        let stop = interrupted()?;
        let mut shown = Shown::new("exported");
        let with_media = !args.without_media;
        let wish = (args.to.as_path(), with_media);
        let config = args.settings.config()?;
        let exported = app::moving::export(&config, wish, |progress| {
            shown.show(progress, None);
            !stop.load(Ordering::Relaxed)
        });
        let exported = exported.await.with_context(about_file)?;
        shown.end();
        if exported.found > 0 && !args.server.json {
            say!("{} frames were there already", exported.found);
        }
    }
    let contents = check(&args.to, |_| {}).with_context(about_file)?;
    report(&contents, began, args.server.json, || {
        format!(
            "{} holds everything as of its beginning, passwords' hashes and keys too: only its owner may read it",
            args.to.display()
        )
    });
    Ok(())
}

/// `kith admin import`.
pub async fn import(args: Import) -> Result<()> {
    let began = Instant::now();
    let about_file = || format!("{}", args.from.display());
    let length = std::fs::metadata(&args.from)
        .with_context(about_file)?
        .len();
    let mut shown = Shown::new("checked");
    let read = |bytes| {
        let progress = Progress {
            bytes,
            ..Progress::default()
        };
        shown.show(progress, Some(length));
    };
    let contents = check(&args.from, read).with_context(about_file)?;
    shown.end();
    let stop = interrupted()?;
    let mut shown = Shown::new("imported");
    let file = (args.from.as_path(), contents);
    let config = args.settings.config()?;
    let imported = app::moving::import(&config, file, !args.without_media, |progress| {
        shown.show(progress, Some(length));
        !stop.load(Ordering::Relaxed)
    });
    let imported = imported.await?;
    shown.end();
    if imported.found > 0 && !args.json {
        say!("{} frames were in already", imported.found);
    }
    report(&imported.contents, began, args.json, || {
        "everything is in; `kith serve` may start".to_owned()
    });
    Ok(())
}

/// What a running server sends, as it comes. What broke off is of no use: its moment is gone.
async fn download(args: &Export) -> Result<()> {
    let file = &args.to;
    let path = format!("/export?media={}", !args.without_media);
    let answer = Api::new(&args.server)?.stream(&path).await?;
    let mut out = export::new_file(file)?;
    let received = receive(answer, &mut out).await;
    if received.is_err() {
        let _ = std::fs::remove_file(file);
    }
    received
}

async fn receive(mut answer: reqwest::Response, out: &mut std::fs::File) -> Result<()> {
    let mut shown = Shown::new("received");
    let mut progress = Progress::default();
    while let Some(bytes) = answer.chunk().await.context("the answer broke off")? {
        out.write_all(&bytes)?;
        progress.bytes += bytes.len() as u64;
        shown.show(progress, None);
    }
    out.sync_all()?;
    shown.end();
    Ok(())
}

/// Turns true with the first Ctrl-C; a second one ends the program.
fn interrupted() -> Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::new(AtomicBool::new(false));
    let mut asked = signal(SignalKind::interrupt())?;
    let told = stop.clone();
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            if told.swap(true, Ordering::Relaxed) {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}

fn report(contents: &Contents, began: Instant, as_json: bool, last: impl Fn() -> String) {
    let (records, end) = (contents.records(), &contents.end);
    let seconds = began.elapsed().as_secs_f64();
    if as_json {
        print::json(&json!({
            "file": contents.begin.file,
            "at": contents.begin.at,
            "version": frames::VERSION,
            "records": end.records,
            "media": end.media,
            "media_bytes": end.media_bytes,
            "bytes": contents.bytes,
            "seconds": seconds,
        }));
        return;
    }
    say!(
        "{records} records and {} uploads, {} in {seconds:.1} s",
        end.media,
        print::bytes(contents.bytes)
    );
    say!("{}", last());
}

/// Lines of progress on stderr.
struct Shown {
    what: &'static str,
    began: Instant,
    last: Instant,
    terminal: bool,
    any: bool,
}

impl Shown {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            began: Instant::now(),
            last: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
            any: false,
        }
    }

    /// With the file's length, how far it is follows from its bytes, else from its records.
    fn show(&mut self, progress: Progress, length: Option<u64>) {
        if self.last.elapsed() < SHOWN_EVERY {
            return;
        }
        self.last = Instant::now();
        self.any = true;
        let line = told(self.what, progress, length, self.began.elapsed());
        let (begin, end) = if self.terminal {
            ("\r", "\x1b[K")
        } else {
            ("", "\n")
        };
        eprint!("{begin}{line}{end}");
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        if self.any && self.terminal {
            eprintln!();
        }
    }
}

fn told(what: &str, progress: Progress, length: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let bytes = print::bytes(progress.bytes);
    let rate = print::bytes((progress.bytes as f64 / seconds) as u64);
    let mut line = format!("{what} {bytes}, {rate}/s");
    if progress.records > 0 {
        line += &format!(", {} records, {} uploads", progress.records, progress.media);
    }
    let (done, all) = match length {
        Some(length) => (progress.bytes, length),
        None => (progress.records, progress.about),
    };
    if all > 0 {
        let done = done.min(all);
        let share = done as f64 / all as f64;
        let left = if share > 0.0 {
            seconds / share - seconds
        } else {
            0.0
        };
        line += &format!(", {:.0} %, about {left:.0} s left", share * 100.0);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_much_how_fast_and_how_long() {
        let progress = Progress {
            records: 50,
            about: 200,
            media: 2,
            bytes: 2048,
        };
        let after = Duration::from_secs(2);
        assert_eq!(
            told("exported", progress, None, after),
            "exported 2.0 KiB, 1.0 KiB/s, 50 records, 2 uploads, 25 %, about 6 s left"
        );
        assert_eq!(
            told("imported", progress, Some(4096), after),
            "imported 2.0 KiB, 1.0 KiB/s, 50 records, 2 uploads, 50 %, about 2 s left"
        );
        let unknown = Progress {
            bytes: 2048,
            ..Progress::default()
        };
        assert_eq!(
            told("received", unknown, None, after),
            "received 2.0 KiB, 1.0 KiB/s"
        );
    }
}
