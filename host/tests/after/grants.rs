//! Grants: what a version imports must be granted before it serves; more of it waits, less of it does not; what is taken
//! back answers `denied`.

use serde_json::{Value, json};

use super::{GRANTS, Stage, activate, versions};
use crate::support::TestServer;

fn sorted(mut difference: Value) -> Value {
    for names in difference.as_object_mut().expect("both").values_mut() {
        let names = names.as_array_mut().expect("names");
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
    }
    difference
}

#[tokio::test]
async fn a_version_that_wants_more_than_is_granted_waits_and_the_old_one_serves() {
    let mut stage = Stage::new(GRANTS).await;
    let (status, refused) = activate(&stage.server, "wide", "").await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("conflict")));
    let message = refused["message"].as_str().expect("a message");
    assert!(
        message.ends_with("--grant knowledge,llm,random"),
        "{message}"
    );
    assert!(
        stage.ask("random").await.starts_with("no denied"),
        "the old one serves"
    );
    let shown = async |kind: &str| {
        let path = format!("/plugins/observant/versions/0.1.0-{kind}");
        stage.server.admin("GET", &path, None).await.1["difference"].clone()
    };
    let more = json!({"adds": ["knowledge", "llm", "random"], "drops": []});
    assert_eq!(sorted(shown("wide").await), more);
    assert_eq!(shown("other").await, json!({"adds": [], "drops": []}));
    assert!(shown("plain").await.is_null(), "it is the one that serves");
    let (status, done) = activate(&stage.server, "other", "").await;
    assert_eq!(status, 200, "no more than before: {done}");
    let (status, done) = activate(&stage.server, "wide", "knowledge,llm,random").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(stage.ask("random").await, "ok 32");
}

#[tokio::test]
async fn the_first_activation_names_everything_that_is_wanted() {
    let component = tokio::task::spawn_blocking(|| versions()[0].clone())
        .await
        .expect("the guest");
    let server = TestServer::bare().await;
    server.push(component).await;
    let (status, refused) = activate(&server, "plain", "kv").await;
    assert_eq!(status, 409);
    let message = refused["message"].as_str().expect("a message");
    let wanted = "--grant kv,directory,history,http:host=HOST,metrics,reply,send";
    assert!(message.ends_with(wanted), "{message}");
    let (status, refused) = activate(&server, "plain", "moon").await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (400, Some("bad_request"))
    );
    let (_, shown) = server
        .admin("GET", "/plugins/observant/versions/0.1.0-plain", None)
        .await;
    assert_eq!(shown["grants"], "", "{shown}");
    assert_eq!(shown["wanted"].as_array().map(Vec::len), Some(7), "{shown}");
}

#[tokio::test]
async fn what_is_taken_back_is_denied_and_what_is_given_back_works() {
    let mut stage = Stage::new(GRANTS).await;
    assert_eq!(stage.ask("members").await, "ok 2");
    let change = json!({"revoke": ["directory"]});
    let path = "/plugins/observant/grants";
    let (status, done) = stage.server.admin("POST", path, Some(change)).await;
    assert_eq!(
        (status, &done["wanted"]),
        (200, &json!(["directory"])),
        "{done}"
    );
    assert_eq!(
        stage.ask("members").await,
        "no denied: directory is not granted"
    );
    let (status, _) = stage
        .server
        .admin("POST", path, Some(json!({"grants": "directory"})))
        .await;
    assert_eq!(status, 200);
    assert_eq!(stage.ask("members").await, "ok 2");
    let (_, list) = stage.server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let active = rows
        .iter()
        .find(|row| row["state"] == "active")
        .expect("one serves");
    assert_eq!(active["grants"], GRANTS, "{list}");
}

#[tokio::test]
async fn a_plugin_whose_name_a_person_has_is_not_activated() {
    let component = tokio::task::spawn_blocking(|| versions()[0].clone())
        .await
        .expect("the guest");
    let server = TestServer::bare().await;
    let body = json!({"username": "observant", "password": "password-1"});
    let (status, user) = server.call("POST", "/v1/users", None, Some(body)).await;
    assert_eq!(status, 201, "{user}");
    server.push(component).await;
    let (status, refused) = activate(&server, "plain", GRANTS).await;
    assert_eq!(status, 409, "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|why| why.contains("user name")),
        "{refused}"
    );
}

#[tokio::test]
async fn without_a_terminal_the_command_line_names_the_grants_and_exits_with_one() {
    let component = tokio::task::spawn_blocking(|| versions()[0].clone())
        .await
        .expect("the guest");
    let server = TestServer::bare().await;
    server.push(component).await;
    server.push(versions()[2].clone()).await;
    let run = async |kind: &str, args: &[&str]| {
        let url = format!("http://{}", server.app().admin_address);
        let mut command = tokio::process::Command::new(crate::crash::process::program());
        let version = format!("observant@0.1.0-{kind}");
        command.args(["plugin", "activate", version.as_str()]);
        command
            .args(args)
            .env("KITH_ADMIN_URL", url)
            .env("KITH_ADMIN_TOKEN", crate::support::BOOTSTRAP)
            .stdin(std::process::Stdio::null());
        let output = command.output().await.expect("the program runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = run("plain", &["--grant", "kv:bytes=65536"]).await;
    assert_eq!(code, Some(1), "{said}");
    // What was given is named again: with a host filled in, the line works as it is printed.
    let (_, printed) = said.trim_end().split_once(" --grant ").expect("the grants");
    let wanted = "kv:bytes=65536,directory,history,http:host=HOST,metrics,reply,send";
    assert_eq!(printed, wanted);
    let (code, said) = run("plain", &["--grant", &printed.replace("HOST", "a.example")]).await;
    assert_eq!(code, Some(0), "{said}");
    // An upgrade says what it adds, and waits for its grant.
    let (code, said) = run("wide", &[]).await;
    assert_eq!(code, Some(1), "{said}");
    for part in ["imports more: ", "--grant knowledge,llm,random"] {
        assert!(said.contains(part), "{said}");
    }
}

/// What the audit log says of a plugin's grants.
#[tokio::test]
async fn grants_are_told_with_the_plugins_name_and_a_version_that_waits_with_what_it_wants() {
    let stage = Stage::new(GRANTS).await;
    let server = &stage.server;
    let (status, _) = activate(server, "wide", "llm").await;
    assert_eq!(status, 409);
    let path = "/plugins/observant/grants";
    let change = json!({"grants": "random", "revoke": ["send"]});
    let (status, done) = server.admin("POST", path, Some(change)).await;
    assert_eq!(status, 200, "{done}");
    let lines = crate::rollout::audit(server).await;
    let told = |action: &str| -> Vec<Value> {
        let own = lines.iter().filter(|line| line["action"] == action);
        own.inspect(|line| assert_eq!(line["subject"], "observant", "{line}"))
            .cloned()
            .collect()
    };
    let granted = told("plugin.grant");
    assert_eq!(granted.len(), 2, "{lines:#?}");
    let first = &granted[0]["detail"];
    assert_eq!(
        (&first["added"], &first["grants"]),
        (&json!(GRANTS), &json!(GRANTS))
    );
    let activated = told("plugin.activate");
    assert_eq!(first["generation"], activated[0]["detail"]["generation"]);
    let all = GRANTS
        .replace(",send", "")
        .replace(",reply", ",random,reply");
    let second = json!({
        "added": "random", "revoked": ["send"], "grants": all, "generation": done["generation"],
    });
    assert_eq!(granted[1]["detail"], second);
    let waits = told("plugin.waits");
    assert_eq!(waits.len(), 1, "{lines:#?}");
    assert_eq!(
        (&waits[0]["actor"], &waits[0]["from"], &waits[0]["to"]),
        (
            &json!("bootstrap"),
            &json!("0.1.0-plain"),
            &json!("0.1.0-wide")
        )
    );
    assert_eq!(waits[0]["detail"]["wants"], json!(["knowledge", "random"]));
    assert!(waits[0]["detail"]["digest"].is_string(), "{}", waits[0]);
    assert!(
        lines.iter().all(|line| line["subject"] == "observant"),
        "{lines:#?}"
    );
}
