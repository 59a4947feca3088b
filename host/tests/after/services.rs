//! Services behind the host: what is imported must be granted, what is not granted is denied, and where the server has none,
//! that is what is said.

use serde_json::json;

use super::{GRANTS, Stage, activate};

#[tokio::test]
async fn a_service_that_is_not_granted_is_denied_and_one_that_is_not_there_says_so() {
    let mut stage = Stage::new(GRANTS).await;
    let (status, refused) = activate(&stage.server, "wide", "random").await;
    assert_eq!(status, 409, "{refused}");
    let says = refused["message"].as_str().expect("a message");
    assert!(says.ends_with("--grant random,knowledge,llm"), "{says}");
    let (status, done) = activate(&stage.server, "wide", "random,llm,knowledge").await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        stage.ask("model").await,
        "no not configured: this server has no language model"
    );
    assert_eq!(
        stage.ask("look").await,
        "no not configured: this server has no knowledge base"
    );
    let revoke = json!({"revoke": ["llm", "knowledge"]});
    let path = "/plugins/observant/grants";
    let (status, done) = stage.server.admin("POST", path, Some(revoke)).await;
    assert_eq!(
        (status, &done["wanted"]),
        (200, &json!(["knowledge", "llm"])),
        "{done}"
    );
    assert_eq!(stage.ask("model").await, "no denied: llm is not granted");
    assert_eq!(
        stage.ask("look").await,
        "no denied: knowledge is not granted"
    );
}
