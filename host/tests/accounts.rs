//! Accounts over REST: register, tokens, profile, devices, search, blocks, health; every route with and without a
//! good token.

use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn registering_checks_the_name_and_the_password() {
    let server = TestServer::bare().await;
    let body = json!({"username": "ann.b_c-1", "password": "long enough", "display_name": "安"});
    let (status, user) = server
        .call("POST", "/v1/users", None, Some(body.clone()))
        .await;
    assert_eq!((status, user["display_name"].as_str()), (201, Some("安")));
    assert_eq!(
        server.call("POST", "/v1/users", None, Some(body)).await.0,
        409
    );
    for wrong in [
        json!({"username": "ab", "password": "long enough"}),
        json!({"username": "Ann", "password": "long enough"}),
        json!({"username": "a".repeat(33), "password": "long enough"}),
        json!({"username": "a b", "password": "long enough"}),
        json!({"username": "abc", "password": "short"}),
        json!({"username": "abc"}),
        json!({"username": "abc", "password": "long enough", "display_name": "\u{7}"}),
        json!([]),
    ] {
        let (status, refusal) = server
            .call("POST", "/v1/users", None, Some(wrong.clone()))
            .await;
        assert_eq!(
            (status, refusal["code"].as_str()),
            (400, Some("bad_request")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn refresh_tokens_rotate_and_one_used_twice_ends_the_device() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let refresh = |token: &str| {
        let token = token.to_owned();
        let server = &server;
        async move {
            server
                .token_call(&[("grant_type", "refresh_token"), ("refresh_token", &token)])
                .await
        }
    };
    let first = ann.tokens["refresh_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let (status, second) = refresh(&first).await;
    assert_eq!(
        (status, second["token_type"].as_str()),
        (200, Some("Bearer"))
    );
    assert_ne!(second["refresh_token"], ann.tokens["refresh_token"]);
    let mut session = server
        .session_of(second["access_token"].as_str().expect("a token"), "phone")
        .await;
    let (status, error) = refresh(&first).await;
    assert_eq!(
        (status, error["error"].as_str()),
        (400, Some("invalid_grant"))
    );
    assert_eq!(session.end().await.0.as_deref(), Some("unauthenticated"));
    let (status, error) = refresh(second["refresh_token"].as_str().expect("a token")).await;
    assert_eq!(
        (status, error["error"].as_str()),
        (400, Some("invalid_grant"))
    );
    assert_eq!(
        server
            .call("GET", "/v1/me", second["access_token"].as_str(), None)
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn the_token_endpoint_answers_in_the_words_of_its_standard() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let device = [("device_id", "d"), ("device_kind", "web")];
    for (form, expected) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "invalid_request"),
        (vec![("grant_type", "magic")], "unsupported_grant_type"),
        (
            vec![("grant_type", "refresh_token"), ("refresh_token", "x")],
            "invalid_grant",
        ),
        (
            [
                &[
                    ("grant_type", "password"),
                    ("username", ann.username.as_str()),
                    ("password", "wrong"),
                ],
                &device[..],
            ]
            .concat(),
            "invalid_grant",
        ),
        (
            [
                &[
                    ("grant_type", "password"),
                    ("username", "nobody"),
                    ("password", "password-1"),
                ],
                &device[..],
            ]
            .concat(),
            "invalid_grant",
        ),
    ] {
        let (status, error) = server.token_call(&form).await;
        assert_eq!(
            (status, error["error"].as_str()),
            (400, Some(expected)),
            "{form:?}"
        );
    }
}

#[tokio::test]
async fn revoking_either_token_signs_the_device_out() {
    let server = TestServer::bare().await;
    for kind in ["access_token", "refresh_token"] {
        let ann = server.user("ann").await;
        let token = ann.tokens[kind].as_str().expect("a token");
        let revoke = server
            .http
            .post(server.url("/v1/oauth/revoke"))
            .form(&[("token", token)]);
        assert_eq!(revoke.send().await.expect("an answer").status(), 200);
        assert_eq!(
            server.call("GET", "/v1/me", Some(&ann.token), None).await.0,
            401,
            "{kind}"
        );
    }
    let unknown = server
        .http
        .post(server.url("/v1/oauth/revoke"))
        .form(&[("token", "unknown")]);
    assert_eq!(unknown.send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn keys_outlive_restarts_and_tokens_expire() {
    let mut server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let (_, keys) = server
        .call("GET", "/.well-known/jwks.json", None, None)
        .await;
    assert_eq!(
        (
            keys["keys"][0]["kty"].as_str(),
            keys["keys"][0]["crv"].as_str()
        ),
        (Some("OKP"), Some("Ed25519"))
    );
    server.restart().await;
    assert_eq!(
        server
            .call("GET", "/.well-known/jwks.json", None, None)
            .await
            .1,
        keys
    );
    assert_eq!(
        server.call("GET", "/v1/me", Some(&ann.token), None).await.0,
        200
    );

    let server = TestServer::with(|config| config.auth.access_ttl_s = 0).await;
    let ann = server.user("ann").await;
    let (status, refusal) = server.call("GET", "/v1/me", Some(&ann.token), None).await;
    assert_eq!((status, refusal["code"].as_str()), (401, Some("expired")));
    let mut socket = server.connect(None).await;
    assert_eq!(
        socket.hello(&ann.token, "phone").await["err"]["code"],
        "expired"
    );
    assert_eq!(socket.end().await.0.as_deref(), Some("expired"));
}

#[tokio::test]
async fn profiles_are_changed_searched_and_shown() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let change = json!({"display_name": "安娜 Smith"});
    let (status, me) = server
        .call("PATCH", "/v1/me", Some(&ann.token), Some(change))
        .await;
    assert_eq!(
        (status, me["display_name"].as_str()),
        (200, Some("安娜 Smith"))
    );
    for query in ["安娜", "smith", &ann.username] {
        let found = server
            .http
            .get(server.url("/v1/users"))
            .query(&[("query", query)])
            .bearer_auth(&bob.token);
        let body: serde_json::Value = found
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(body["users"][0]["id"], ann.id, "{query}");
    }
    let (status, shown) = server
        .call(
            "GET",
            &format!("/v1/users/{}", ann.id),
            Some(&bob.token),
            None,
        )
        .await;
    assert_eq!(
        (status, shown["username"].as_str()),
        (200, Some(ann.username.as_str()))
    );
    for foreign in ["1", "x", "0"] {
        assert_eq!(
            server
                .call(
                    "GET",
                    &format!("/v1/users/{foreign}"),
                    Some(&bob.token),
                    None
                )
                .await
                .0,
            404
        );
    }
    assert_eq!(
        server
            .call("GET", "/v1/users", Some(&bob.token), None)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn blocks_are_kept_and_listed() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let path = format!("/v1/blocks/{}", bob.id);
    assert_eq!(
        server.call("PUT", &path, Some(&ann.token), None).await.0,
        204
    );
    assert_eq!(
        server.call("PUT", &path, Some(&ann.token), None).await.0,
        204
    );
    let (_, list) = server
        .call("GET", "/v1/blocks", Some(&ann.token), None)
        .await;
    assert_eq!(list["blocks"][0]["id"], bob.id);
    let (_, shown) = server
        .call(
            "GET",
            &format!("/v1/users/{}", bob.id),
            Some(&ann.token),
            None,
        )
        .await;
    assert_eq!(shown["relation"]["blocked"], true);
    assert_eq!(
        server.call("DELETE", &path, Some(&ann.token), None).await.0,
        204
    );
    assert_eq!(
        server
            .call("GET", "/v1/blocks", Some(&ann.token), None)
            .await
            .1["blocks"],
        json!([])
    );
    assert_eq!(
        server
            .call(
                "PUT",
                &format!("/v1/blocks/{}", ann.id),
                Some(&ann.token),
                None
            )
            .await
            .0,
        400
    );
    assert_eq!(
        server
            .call("PUT", "/v1/blocks/1", Some(&ann.token), None)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn every_route_asks_who_one_is() {
    let server = TestServer::bare().await;
    let (_, document) = server.call("GET", "/v1/openapi.json", None, None).await;
    let open = [
        "/v1/users POST",
        "/v1/oauth/token POST",
        "/v1/oauth/revoke POST",
        "/.well-known/jwks.json GET",
        "/healthz GET",
        "/readyz GET",
        "/v1/ws GET",
    ];
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            if open.contains(&format!("{path} {method}").as_str()) {
                continue;
            }
            let body = (method != "GET").then(|| json!({}));
            for token in [None, Some("nonsense")] {
                let filled = path.replace(['{', '}'], "");
                let (status, refusal) = server.call(&method, &filled, token, body.clone()).await;
                assert_eq!(
                    (status, refusal["code"].as_str()),
                    (401, Some("unauthenticated")),
                    "{method} {path}"
                );
                asked += 1;
            }
        }
    }
    assert!(asked >= 20, "only {asked} calls");
}

#[tokio::test]
async fn every_route_of_the_administration_asks_for_an_administrators_token() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let document = server
        .http
        .get(server.admin_url("/openapi.json"))
        .send()
        .await
        .expect("an answer");
    let document: serde_json::Value = document.json().await.expect("JSON");
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let path = path
                .replace(['{', '}'], "")
                .replace("/admin/v1", "")
                .replace("/seq", "/1");
            for token in ["", "nonsense", &ann.token] {
                let method = method.to_uppercase().parse().expect("a method");
                let request = server
                    .http
                    .request(method, server.admin_url(&path))
                    .bearer_auth(token)
                    .json(&json!({}));
                assert_eq!(
                    request.send().await.expect("an answer").status(),
                    401,
                    "{path}"
                );
                asked += 1;
            }
        }
    }
    assert!(asked >= 50, "only {asked} calls");
    // The bootstrap token is good until the first administrator has one.
    let (status, made) = server
        .admin("POST", "/tokens", Some(json!({"name": "root"})))
        .await;
    assert_eq!(status, 201);
    assert_eq!(server.admin("GET", "/nodes", None).await.0, 401);
    let token = made["token"].as_str().expect("a token");
    let nodes = server
        .http
        .get(server.admin_url("/nodes"))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(nodes.status(), 200);
}

#[tokio::test]
async fn bad_input_is_never_a_500() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let post = |body: &'static str| {
        server
            .http
            .post(server.url("/v1/users"))
            .header("content-type", "application/json")
            .body(body)
    };
    for body in ["", "{", "null", "[]", "\"x\"", "{\"username\":1}"] {
        assert_eq!(
            post(body).send().await.expect("an answer").status(),
            400,
            "{body}"
        );
    }
    let plain = server
        .http
        .post(server.url("/v1/users"))
        .body("{}")
        .send()
        .await
        .expect("an answer");
    assert_eq!(plain.status(), 400);
    let huge = "x".repeat(300_000);
    let large = json!({"username": "abc", "password": huge});
    let (status, refusal) = server.call("POST", "/v1/users", None, Some(large)).await;
    assert_eq!((status, refusal["code"].as_str()), (413, Some("too_large")));
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/users", 405),
        ("GET", "/v1/conversations?limit=x", 400),
        ("GET", "/v1/conversations?limit=0", 400),
        ("GET", "/v1/conversations?cursor=x", 400),
        ("GET", "/v1/blocks?cursor=x", 400),
        ("GET", "/v1/ws", 400),
    ] {
        let (found, refusal) = server.call(method, path, Some(&ann.token), None).await;
        assert_eq!(found, status, "{method} {path}");
        assert!(refusal["code"].is_string(), "{method} {path}: {refusal}");
    }
}

#[tokio::test]
async fn health_is_told_on_both_listeners() {
    let server = TestServer::bare().await;
    assert_eq!(
        server.call("GET", "/healthz", None, None).await,
        (200, json!({"status": "ok"}))
    );
    let (status, ready) = server.call("GET", "/readyz", None, None).await;
    assert_eq!(
        (
            status,
            ready["status"].as_str(),
            ready["parts"]["store"].as_str()
        ),
        (200, Some("ready"), Some("ok"))
    );
    let admin = format!("http://{}/readyz", server.app().admin_address);
    assert_eq!(
        server
            .http
            .get(admin)
            .send()
            .await
            .expect("an answer")
            .status(),
        200
    );
}
