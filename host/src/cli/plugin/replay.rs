//! `kith plugin replay`: what a version would have decided, and the files about calls that failed.
//! The server does the work; this begins it, waits and shows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::named::{Named, wrong_usage};
use crate::cli::api::{Api, Body, Server, segment};
use crate::cli::print::{self, say};

/// Between two looks at a replay that runs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    server: Server,
    /// NAME@VERSION or NAME@sha256:…, of a version that was pushed; it need not serve.
    #[arg(required_unless_present_any = ["files", "file", "remove"])]
    version: Option<String>,
    /// How many of the newest commands [default: as many as the server goes back over].
    #[arg(long)]
    last: Option<usize>,
    /// List the files about calls that failed; of one plugin where its NAME stands before.
    #[arg(long, conflicts_with_all = ["last", "file", "remove"])]
    files: bool,
    /// Fetch such a file, for `kith plugin test --replay FILE`.
    #[arg(long, value_name = "ID", conflicts_with_all = ["version", "last", "remove"])]
    file: Option<String>,
    /// With what people wrote, where the server still knows it.
    #[arg(long, requires = "file")]
    with_text: bool,
    /// With the plugin's configuration, secrets included.
    #[arg(long, requires = "file")]
    with_config: bool,
    /// Where the file is written [default: standard output].
    #[arg(long, value_name = "FILE", requires = "file")]
    out: Option<PathBuf>,
    /// Remove such a file.
    #[arg(long, value_name = "ID", conflicts_with_all = ["version", "last"])]
    remove: Option<String>,
}

/// Does what is asked for.
pub async fn replay(args: Replay) -> Result<()> {
    // Without --files a NAME alone says too little.
    let named = args.version.as_deref().filter(|_| !args.files);
    let named: Option<Named> = named.map(|text| {
        let named = text.parse();
        named.unwrap_or_else(|why: String| wrong_usage(&why))
    });
    let api = Api::new(&args.server)?;
    if args.files {
        return list(&api, &args).await;
    }
    if let Some(id) = &args.file {
        return fetch(&api, &args, id).await;
    }
    if let Some(id) = &args.remove {
        let path = format!("/replay-files/{}", segment(id));
        api.call(Method::DELETE, &path, Body::None).await?;
        return Ok(());
    }
    let Some(Named { name, version }) = named else {
        bail!("no version is named");
    };
    let wanted = json!({"version": version, "last": args.last});
    let begun = api
        .post(&format!("/plugins/{}/replays", segment(&name)), wanted)
        .await?;
    let report = wait(&api, &begun).await?;
    if args.server.json {
        print::json(&report);
    } else {
        show(&report);
    }
    match report["state"].as_str() {
        Some("done") => Ok(()),
        Some("failed") => bail!("{}", print::text(&report, "error")),
        _ => bail!("the replay was cancelled"),
    }
}

/// The report once it has ended; an interrupt ends it.
async fn wait(api: &Api, begun: &Value) -> Result<Value> {
    let path = format!("/replays/{}", segment(&print::text(begun, "id")));
    let mut told = 0;
    loop {
        let report = api.get(&path).await?;
        if report["state"] != "running" {
            return Ok(report);
        }
        let seen = report["seen"].as_u64().unwrap_or(0);
        if seen > told {
            told = seen;
            eprintln!(
                "kith: {seen} commands, {} decisions differ",
                report["differing"]
            );
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                return api.call(Method::DELETE, &path, Body::None).await;
            }
        }
    }
}

fn show(report: &Value) {
    say!(
        "{}@{}: {} of {} commands replayed, {} decisions differ",
        print::text(report, "plugin"),
        print::text(report, "version"),
        report["replayed"],
        report["seen"],
        report["differing"],
    );
    for line in left_out(report) {
        say!("{line}");
    }
    if report["approximate"].as_u64() > Some(0) {
        say!(
            "{} asked with some of today's values or entries: nobody had read them then",
            report["approximate"]
        );
    }
    if report["config_changed"].as_u64() > Some(0) {
        say!(
            "{} judged with another configuration than today's: what differs may be the configuration's doing",
            report["config_changed"]
        );
    }
    let missing = report["not_covered"].as_array().into_iter().flatten();
    let missing: Vec<&str> = missing.filter_map(Value::as_str).map(not_covered).collect();
    if !missing.is_empty() {
        say!("not covered: {}", missing.join(", "));
    }
    let differ = report["differ"].as_array().into_iter().flatten();
    let rows: Vec<_> = differ.map(row).collect();
    if !rows.is_empty() {
        let heads = [
            "CONVERSATION",
            "SEQ",
            "OPERATION",
            "HOOK",
            "RECORDED",
            "NOW",
        ];
        print::table(&heads, &rows);
    }
}

/// Why the commands that were looked at and not replayed were not: the counts and those replayed are all that were seen.
fn left_out(report: &Value) -> Vec<String> {
    let count = |field: &str| report[field].as_u64().unwrap_or(0);
    let mut rest = count("seen").saturating_sub(count("replayed"));
    let mut lines = Vec::new();
    for (why, skipped) in report["skipped"].as_object().into_iter().flatten() {
        rest = rest.saturating_sub(skipped.as_u64().unwrap_or(0));
        lines.push(format!("{skipped} skipped: {}", meaning(why)));
    }
    if rest > 0 {
        lines.push(format!(
            "{rest} left out: the plugin is not asked about them"
        ));
    }
    lines
}

fn meaning(why: &str) -> &str {
    match why {
        "recalled" => "taken back since, or taking something back",
        "edited" => "edited since; the text of then is not kept",
        "context" => "an entry the plugin was shown is changed or gone",
        "not_kept" => "what the plugin was asked with is not kept",
        "between" => "two plugins changed the content; what stood between them is not kept",
        other => other,
    }
}

fn not_covered(what: &str) -> &str {
    match what {
        "system_entries" => "system entries",
        "recalls" => "recalls that went through",
        "group_changes" => "changes of groups",
        "friend_requests" => "friend requests",
        "names" => "names of users",
        "observer" => "what the observer does after the commit",
        "responder" => "what the responder answers",
        other => other,
    }
}

fn row(differ: &Value) -> Vec<String> {
    let outcome = |what: &Value| match what["outcome"].as_str() {
        Some(outcome) => outcome.to_owned(),
        None => "not asked".to_owned(),
    };
    let mut now = outcome(&differ["now"]);
    for field in ["reason", "failure", "answer"] {
        if let Some(text) = differ["now"][field].as_str() {
            now.push_str(&format!(": {text}"));
        }
    }
    let rules = differ["now"]["hits"].as_array().into_iter().flatten();
    for hit in rules {
        now.push_str(&format!(" {}", print::text(hit, "rule")));
    }
    vec![
        print::text(differ, "conversation"),
        print::text(differ, "seq"),
        print::text(differ, "operation"),
        print::text(differ, "hook"),
        outcome(&differ["recorded"]),
        now,
    ]
}

async fn list(api: &Api, args: &Replay) -> Result<()> {
    let path = match &args.version {
        Some(plugin) => format!("/replay-files?plugin={}", segment(plugin)),
        None => "/replay-files".to_owned(),
    };
    let answer = api.get(&path).await?;
    if args.server.json {
        print::json(&answer["files"]);
        return Ok(());
    }
    let fields = ["id", "plugin", "version", "hook", "failure", "conversation"];
    let rows = answer["files"].as_array().into_iter().flatten();
    let rows: Vec<_> = rows
        .map(|row| fields.map(|field| print::text(row, field)).to_vec())
        .collect();
    let heads = ["ID", "PLUGIN", "VERSION", "HOOK", "FAILURE", "CONVERSATION"];
    print::table(&heads, &rows);
    Ok(())
}

async fn fetch(api: &Api, args: &Replay, id: &str) -> Result<()> {
    let path = format!(
        "/replay-files/{}?text={}&config={}",
        segment(id),
        args.with_text,
        args.with_config
    );
    let file = serde_json::to_string_pretty(&api.get(&path).await?)?;
    match &args.out {
        Some(out) => {
            std::fs::write(out, file).with_context(|| format!("cannot write {}", out.display()))?;
            eprintln!("kith: kith plugin test --replay {} FOLDER", out.display());
        }
        None => say!("{file}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_replayed_adds_up_in_words() {
        let report = json!({"seen": 9, "replayed": 5, "skipped": {"between": 1, "not_kept": 2}});
        assert_eq!(
            left_out(&report),
            [
                "1 skipped: two plugins changed the content; what stood between them is not kept",
                "2 skipped: what the plugin was asked with is not kept",
                "1 left out: the plugin is not asked about them",
            ]
        );
        assert_eq!(
            left_out(&json!({"seen": 2, "replayed": 2, "skipped": {}})),
            [""; 0]
        );
    }
}
