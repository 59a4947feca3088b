//! Pulling from registries: by digest, with whatever proof the registry wants, and nothing that is not what its digest
//! says. The server that it goes into is left as it was by everything that fails.

use kith::oci::Digest;

use super::remote::{Asks, Blobs, Manners, PASSWORD, Registry, USER, artifact, basic, bearer};
use super::{Ended, audited, component, plugin, plugin_with, versions};
use crate::support::TestServer;

const KNOWN: [(&str, &str); 2] = [
    ("KITH_REGISTRY_USER", USER),
    ("KITH_REGISTRY_PASSWORD", PASSWORD),
];

async fn pull(server: &TestServer, registry: &Registry) -> Ended {
    plugin(server, &["pull", &registry.reference()]).await
}

async fn pull_as(server: &TestServer, registry: &Registry, who: &[(&str, &str)]) -> Ended {
    plugin_with(server, &["pull", &registry.reference()], who).await
}

/// What a pull of the word filter prints.
fn pulled() -> String {
    let digest = Digest::of(&component("word-filter"));
    format!("word-filter 0.1.0 {digest}\n")
}

#[tokio::test]
async fn a_plugin_is_pulled_by_its_digest_and_nobody_says_who_asks() {
    let server = TestServer::bare().await;
    let registry = Registry::start(Manners::default()).await;
    let done = pull_as(&server, &registry, &KNOWN).await;
    assert_eq!(done.err, "kith: word-filter: this plugin is not signed\n");
    assert_eq!(done.done(), pulled());
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 available"]);
    assert_eq!(registry.proofs("/v2/"), [None, None, None]);
    assert_eq!(audited(&server, "plugin.push").len(), 1);
    // With a tag beside the digest, the digest counts.
    let both = format!("{}:9.9@{}", registry.repository(), registry.manifest);
    assert_eq!(plugin(&server, &["pull", &both]).await.done(), pulled());
}

#[tokio::test]
async fn a_tag_alone_is_refused_with_the_digest_it_has_now() {
    let server = TestServer::bare().await;
    let registry = Registry::start(Manners::default()).await;
    let tagged = format!("{}:1.0", registry.repository());
    let refused = plugin(&server, &["pull", &tagged]).await.refused();
    let pinned = format!("{tagged}@{}", registry.manifest);
    assert!(refused.contains(&pinned), "{refused}");
    assert!(versions(&server).await.is_empty());
    assert_eq!(plugin(&server, &["pull", &pinned]).await.done(), pulled());
    let refused = plugin(&server, &["pull", &registry.repository()]).await;
    let refused = refused.refused();
    assert!(refused.contains("a tag can be moved"), "{refused}");
    assert!(refused.contains("has no latest"), "{refused}");
}

#[tokio::test]
async fn an_index_brings_every_plugin_it_lists() {
    let server = TestServer::bare().await;
    let registry = Registry::with(Manners::default(), &["word-filter", "direct-strategy"]).await;
    let reference = registry.reference();
    let done = plugin(&server, &["pull", &reference, "--json"])
        .await
        .json();
    assert_eq!(done.as_array().map(Vec::len), Some(2), "{done}");
    assert_eq!(versions(&server).await.len(), 2);
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says_and_shown_to_the_registry_alone() {
    let server = TestServer::bare().await;
    let gate = Registry::start(Manners::default()).await;
    let store = Registry::start(Manners::default()).await;
    let manners = Manners {
        asks: Asks::Token(format!("http://{}/token", gate.address)),
        blobs: Blobs::At(format!("http://{}/elsewhere/", store.address)),
        manifest: None,
    };
    let registry = Registry::start(manners).await;
    let refused = pull(&server, &registry).await.refused();
    assert!(
        refused.contains("gives no token without a name and a password"),
        "{refused}"
    );
    let wrong = [KNOWN[0], ("KITH_REGISTRY_PASSWORD", "password-2")];
    let refused = pull_as(&server, &registry, &wrong).await.refused();
    assert!(
        refused.contains("gives no token with this name and password"),
        "{refused}"
    );
    assert!(!refused.contains("password-2"), "{refused}");
    let before = registry.asked().len();
    assert_eq!(pull_as(&server, &registry, &KNOWN).await.done(), pulled());
    let proofs = &registry.proofs("/v2/")[before..];
    let token = Some(bearer());
    assert_eq!(proofs, [None, token.clone(), token.clone(), token]);
    assert_eq!(
        gate.proofs("/token").last(),
        Some(&Some(basic(USER, PASSWORD)))
    );
    assert_eq!(
        store.proofs("/"),
        [None, None],
        "no proof goes where blobs are"
    );
}

#[tokio::test]
async fn a_token_that_is_given_is_shown_as_it_is() {
    let server = TestServer::bare().await;
    let manners = || Manners {
        asks: Asks::Token("http://127.0.0.1:1/token".to_owned()),
        ..Manners::default()
    };
    let registry = Registry::start(manners()).await;
    let good = bearer().replace("Bearer ", "");
    let token = [("KITH_REGISTRY_TOKEN", good.as_str())];
    assert_eq!(pull_as(&server, &registry, &token).await.done(), pulled());
    assert_eq!(registry.proofs("/v2/"), vec![Some(bearer()); 3]);
    let token = [("KITH_REGISTRY_TOKEN", "another")];
    let refused = pull_as(&server, &registry, &token).await.refused();
    assert!(refused.contains("does not take the token"), "{refused}");
    let token = [("KITH_REGISTRY_TOKEN", "two\nlines")];
    let refused = pull_as(&server, &registry, &token).await.refused();
    assert!(
        refused.contains("the token given for it is none"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_password_is_shown_when_it_is_asked_for() {
    let server = TestServer::bare().await;
    let manners = |asks| Manners {
        asks,
        ..Manners::default()
    };
    let registry = Registry::start(manners(Asks::Password)).await;
    let refused = pull(&server, &registry).await.refused();
    assert!(refused.contains("wants a name and a password"), "{refused}");
    let half = pull_as(&server, &registry, &KNOWN[..1]).await.refused();
    assert!(half.contains("set together"), "{half}");
    let wrong = [KNOWN[0], ("KITH_REGISTRY_PASSWORD", "password-2")];
    let refused = pull_as(&server, &registry, &wrong).await.refused();
    assert!(
        refused.contains("does not let this asker read team/words"),
        "{refused}"
    );
    assert!(!refused.contains('\u{1b}'), "{refused:?}");
    assert_eq!(pull_as(&server, &registry, &KNOWN).await.done(), pulled());
    let odd = Registry::start(manners(Asks::Oddly)).await;
    let refused = pull_as(&server, &odd, &KNOWN).await.refused();
    assert!(
        refused.contains("not by a token or a password"),
        "{refused}"
    );
    assert_eq!(odd.proofs("/v2/"), [None]);
}

#[tokio::test]
async fn passwords_and_blobs_go_no_way_without_tls() {
    let server = TestServer::bare().await;
    let open = Manners {
        asks: Asks::Token("http://tokens.example.org/token".to_owned()),
        ..Manners::default()
    };
    let registry = Registry::start(open).await;
    let refused = pull_as(&server, &registry, &KNOWN).await.refused();
    assert!(refused.contains("anybody could read them"), "{refused}");
    let open = Manners {
        blobs: Blobs::At("http://blobs.example.org/".to_owned()),
        ..Manners::default()
    };
    let registry = Registry::start(open).await;
    let refused = pull(&server, &registry).await.refused();
    assert!(
        refused.contains("redirects to where there is no TLS"),
        "{refused}"
    );
    let plain = format!("http://registry.example.org/a@{}", registry.manifest);
    let refused = plugin(&server, &["pull", &plain]).await.refused();
    assert!(refused.contains("by https only"), "{refused}");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_never_comes_in() {
    let server = TestServer::with_plugins().await;
    let before = (versions(&server).await, server.app().rollout.generation());
    let blobs = |blobs| Manners {
        blobs,
        ..Manners::default()
    };
    let other = artifact("direct-strategy")
        .blobs
        .pop()
        .expect("a manifest")
        .1;
    let manifest = |bytes: &[u8]| Manners {
        manifest: Some(bytes.to_vec()),
        ..Manners::default()
    };
    for (manners, why) in [
        (
            blobs(Blobs::Other),
            "has another content: its digest is sha256:",
        ),
        (blobs(Blobs::CutOff), "broke off"),
        (blobs(Blobs::Endless), "has more than the"),
        (blobs(Blobs::Stated(1 << 40)), "has more than the"),
        (blobs(Blobs::InCircles), "redirects in circles"),
        (blobs(Blobs::Failing), "answered 502 Bad Gateway"),
        (
            manifest(&other),
            "has another content: its digest is sha256:",
        ),
        (manifest(b""), "has another content: its digest is sha256:"),
        (
            manifest(&vec![b' '; 5 << 20]),
            "has more than the 4194304 bytes",
        ),
    ] {
        let registry = Registry::start(manners).await;
        let refused = pull(&server, &registry).await.refused();
        assert!(refused.contains(why), "{why}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{why}: {refused}");
    }
    let registry = Registry::start(Manners::default()).await;
    let absent = format!("{}@{}", registry.repository(), Digest::of(b"nothing"));
    let refused = plugin(&server, &["pull", &absent]).await.refused();
    assert!(refused.contains("has no sha256:"), "{refused}");
    assert!(refused.contains("(MANIFEST_UNKNOWN unknown)"), "{refused}");
    let gone = registry.reference();
    drop(registry);
    tokio::task::yield_now().await;
    let refused = plugin(&server, &["pull", &gone]).await.refused();
    assert!(refused.contains("cannot be asked: "), "{refused}");
    assert_eq!(
        before,
        (versions(&server).await, server.app().rollout.generation())
    );
}
