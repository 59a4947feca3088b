//! The image file: its settings are the program's, it is nobody privileged, what it starts and asks for its health are
//! commands that there are.

use std::collections::BTreeMap;

use clap::Parser;
use kith::cli::Cli;

use super::{loaded, text};
use crate::crash::process::program;
use crate::support::TestServer;

/// Lines, those that go on joined.
fn lines() -> Vec<String> {
    let text = text("image/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The words of an instruction in JSON's form.
fn words(of: &str) -> Vec<String> {
    let lines = lines();
    let line = lines.iter().rfind(|line| line.starts_with(of));
    let line = line.unwrap_or_else(|| panic!("there is no {of}"));
    let list = &line[line.find('[').expect("a list")..];
    serde_json::from_str(list).expect("JSON")
}

#[test]
fn the_settings_of_the_image_are_the_programs() {
    let lines = lines();
    let environment = lines.iter().find_map(|line| line.strip_prefix("ENV "));
    let pairs = environment.expect("settings").split_whitespace();
    let settings: BTreeMap<_, _> = pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let config = loaded(&settings);
    assert_eq!(config.server.listen, "0.0.0.0:7700");
    assert!(
        config.server.admin_listen.starts_with("127.0.0.1:"),
        "the administration is opened on purpose or not at all"
    );
    assert_eq!(config.server.data, "/var/lib/kith");
}

#[test]
fn the_image_runs_as_nobody_and_its_commands_exist() {
    let lines = lines();
    let users: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("USER "))
        .collect();
    assert_eq!(users, ["65532:65532"]);
    let from = lines.iter().rfind(|line| line.starts_with("FROM "));
    assert!(from.expect("a base").ends_with(":nonroot"));
    assert_eq!(words("ENTRYPOINT"), ["kith"]);
    let parses = |words: &[&str]| Cli::try_parse_from(words.iter().copied());
    let command = words("CMD");
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    parses(&[&["kith"][..], &command[..]].concat()).expect("the command");
    let health = words("HEALTHCHECK");
    let health: Vec<_> = health.iter().map(String::as_str).collect();
    parses(&health).expect("the health check");
    assert!(parses(&["kith", "healthy"]).is_err());
}

/// Exit status and what was printed.
async fn health(url: &str) -> (Option<i32>, String) {
    let asked = tokio::process::Command::new(program())
        .args(["health", "--server", url])
        .output();
    let output = asked.await.expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.code(), printed)
}

#[tokio::test]
async fn health_is_whether_the_server_serves() {
    let server = TestServer::bare().await;
    let (clients, admin) = (server.app().address, server.app().admin_address);
    for address in [clients, admin] {
        let told = health(&format!("http://{address}")).await;
        assert_eq!(told, (Some(0), "ready".to_owned()));
    }
    drop(server);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let told = health(&format!("http://{address}")).await;
    assert_eq!(told, (Some(1), String::new()));
}
