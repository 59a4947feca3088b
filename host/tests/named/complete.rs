//! That nothing of the protocol is without a test named after it, and no such test without its thing: the documents and
//! lists of the server against the sources of these tests.

use std::collections::BTreeSet;
use std::path::Path;

use kith::gateway::ops::OPS;
use kith::refusal::Code;
use serde_json::Value;

use crate::support::TestServer;

/// `GET /v1/users/{id}` is `get_v1_users_id`.
fn name_of(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

async fn routes(server: &TestServer, url: &str) -> Vec<String> {
    let document = server.http.get(url).send().await.expect("an answer");
    let document: Value = document.json().await.expect("JSON");
    let mut names = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        names.extend(methods.map(|method| name_of(method, path)));
    }
    names
}

/// Names of the tests in this folder's other files.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/named");
    let mut names = BTreeSet::new();
    for file in folder.read_dir().expect("the folder of the tests") {
        let path = file.expect("a file").path();
        if path.ends_with("complete.rs") {
            continue;
        }
        let source = std::fs::read_to_string(path).expect("a source");
        let lines: Vec<&str> = source.lines().collect();
        for pair in lines.windows(2) {
            let name = pair[1].strip_prefix("async fn ");
            if let Some((name, _)) = name.and_then(|name| name.split_once("()"))
                && pair[0].starts_with("#[tokio::test")
            {
                assert!(names.insert(name.to_owned()), "{name} stands twice");
            }
        }
    }
    names
}

#[tokio::test]
async fn every_route_operation_and_error_has_a_test_of_its_name() {
    let server = TestServer::bare().await;
    let mut wanted = BTreeSet::new();
    wanted.extend(routes(&server, &server.url("/v1/openapi.json")).await);
    wanted.extend(routes(&server, &server.admin_url("/openapi.json")).await);
    assert!(wanted.len() > 60, "the documents are empty");
    wanted.extend(OPS.iter().map(|op| format!("op_{op}")));
    wanted.extend(
        Code::ALL
            .iter()
            .map(|code| format!("error_{}", code.as_str())),
    );
    let tests = tests();
    let untested: Vec<_> = wanted.difference(&tests).collect();
    assert!(untested.is_empty(), "without a test: {untested:#?}");
    let strange: Vec<_> = tests.difference(&wanted).collect();
    assert!(strange.is_empty(), "tests of nothing that is: {strange:#?}");
}

#[test]
fn names_of_routes_are_made_of_their_words() {
    for (method, path, name) in [
        ("get", "/v1/users", "get_v1_users"),
        ("get", "/v1/users/{id}", "get_v1_users_id"),
        ("post", "/v1/friend-requests", "post_v1_friend_requests"),
        ("get", "/.well-known/jwks.json", "get_well_known_jwks_json"),
    ] {
        assert_eq!(name_of(method, path), name);
    }
}
