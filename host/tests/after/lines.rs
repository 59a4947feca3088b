//! What a plugin logs, as its author follows it by the command line:
//! each line once, as it comes, whichever version wrote it.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{GRANTS, Stage, activate};
use crate::crash::process::program;
use crate::registry::plugin;
use crate::support::{BOOTSTRAP, PATIENCE};

/// `kith plugin logs --follow` at work.
struct Following {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn begin(stage: &Stage, more: &[&str]) -> Self {
        let mut command = Command::new(program());
        let admin = format!("http://{}", stage.server.app().admin_address);
        command.args(["plugin", "logs", "observant", "--follow"]);
        command.args(more).env("KITH_ADMIN_URL", admin);
        command.env("KITH_ADMIN_TOKEN", BOOTSTRAP);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("it runs");
        let output = process.stdout.take().expect("its stdout");
        Self {
            process,
            lines: BufReader::new(output).lines(),
        }
    }

    async fn next(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("in time").expect("a line").expect("no end")
    }

    /// Nothing but being ended ends it.
    async fn end(mut self) {
        assert!(self.process.try_wait().expect("its state").is_none());
        self.process.kill().await.expect("ended");
    }
}

#[tokio::test]
async fn lines_are_followed_by_the_command_line() {
    let mut stage = Stage::new(GRANTS).await;
    stage.say("log first").await;
    // Messages are observed in order.
    assert_eq!(stage.ask("total").await, "total 0");
    let (mut people, mut programs) = (
        Following::begin(&stage, &[]),
        Following::begin(&stage, &["--json"]),
    );
    for (text, version) in [
        ("first", "0.1.0-plain"),
        ("second", "0.1.0-plain"),
        ("third", "0.1.0-other"),
    ] {
        // The first was written before anybody followed.
        if text == "third" {
            let (status, done) = activate(&stage.server, "other", GRANTS).await;
            assert_eq!(status, 200, "{done}");
        }
        if text != "first" {
            stage.say(&format!("log {text}")).await;
        }
        let line = people.next().await;
        assert!(
            line.ends_with(&format!(" info  {version}  {text}")),
            "{line}"
        );
        let line: Value = serde_json::from_str(&programs.next().await).expect("JSON");
        assert_eq!(
            (&line["text"], &line["version"], &line["level"]),
            (&text.into(), &version.into(), &"info".into())
        );
    }
    people.end().await;
    programs.end().await;
    let shown = plugin(&stage.server, &["logs", "observant"]).await.done();
    assert_eq!(shown.lines().count(), 3, "{shown}");
}
