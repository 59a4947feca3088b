//! Signing, and what each policy makes of it: a pushed component with no signature, a stranger's, a trusted one, one of
//! other bytes. Also what `inspect` shows.

use kith::config::SignaturePolicy;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{audited, component, plugin, rebuilt, text, versions};
use crate::support::TestServer;

/// A folder with a component, and the key that signed it when one did.
pub struct Signed {
    pub folder: TempDir,
    pub key: String,
}

impl Signed {
    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("words.wasm")
    }

    /// Signs the component with a key of the folder; the public one.
    pub async fn sign(&mut self, server: &TestServer, key: &str) {
        let (file, key) = (self.file(), self.folder.path().join(key));
        let arguments = ["sign", text(&file), "--key", text(&key), "--json"];
        let signed = plugin(server, &arguments).await.json();
        self.key = signed["key"].as_str().expect("a key").to_owned();
        assert!(self.key.starts_with("ed25519:"));
    }

    pub fn unsigned() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let signed = Self {
            folder,
            key: String::new(),
        };
        std::fs::write(signed.file(), component("word-filter")).expect("written");
        signed
    }
}

/// A server that goes by a policy and trusts a key.
pub async fn server(policy: SignaturePolicy, key: &str) -> TestServer {
    TestServer::with(|config| {
        config.plugins.signatures = policy;
        config.plugins.trusted_keys = vec![key.to_owned()];
    })
    .await
}

async fn row(server: &TestServer) -> Value {
    plugin(server, &["list", "--json"]).await.json()[0].clone()
}

#[tokio::test]
async fn each_policy_takes_what_it_says() {
    let bare = TestServer::bare().await;
    let mut plugin_file = Signed::unsigned();
    plugin_file.sign(&bare, "own.key").await;
    let trusted = plugin_file.key.clone();
    let own = std::fs::read_to_string(plugin_file.folder.path().join("words.wasm.sig"));
    let own = own.expect("the signature");
    plugin_file.sign(&bare, "stranger.key").await;
    let beside = plugin_file.folder.path().join("words.wasm.sig");
    let stranger = std::fs::read_to_string(&beside).expect("the signature");
    let file = plugin_file.file();
    for (policy, signature, warning) in [
        (SignaturePolicy::Off, None, Ok("")),
        (SignaturePolicy::Off, Some("no signature"), Ok("")),
        (SignaturePolicy::Warn, None, Ok("is not signed")),
        (
            SignaturePolicy::Warn,
            Some(&*stranger),
            Ok("no trusted key"),
        ),
        (SignaturePolicy::Warn, Some("AAAA"), Ok("not 64 bytes")),
        (SignaturePolicy::Warn, Some(&*own), Ok("")),
        (SignaturePolicy::Require, None, Err("signed plugins only")),
        (
            SignaturePolicy::Require,
            Some(&*stranger),
            Err("no trusted key"),
        ),
        (SignaturePolicy::Require, Some("AAAA"), Err("not 64 bytes")),
        (SignaturePolicy::Require, Some(&*own), Ok("")),
    ] {
        let server = server(policy, &trusted).await;
        match signature {
            Some(signature) => std::fs::write(&beside, signature).expect("written"),
            None => std::fs::remove_file(&beside).unwrap_or_default(),
        }
        let pushed = plugin(&server, &["push", text(&file)]).await;
        match warning {
            Ok(warning) => {
                let told = format!("{pushed:?}");
                assert_eq!(pushed.err.is_empty(), warning.is_empty(), "{told}");
                assert!(pushed.err.contains(warning), "{told}");
                assert!(pushed.done().starts_with("word-filter 0.1.0 sha256:"));
                let key = (signature == Some(&*own)).then_some(trusted.as_str());
                assert_eq!(row(&server).await["signed_by"].as_str(), key, "{told}");
            }
            Err(why) => {
                let refused = pushed.refused();
                assert!(refused.contains(why), "{refused}");
                assert!(versions(&server).await.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_signature_is_of_these_bytes_alone() {
    let bare = TestServer::bare().await;
    let mut plugin_file = Signed::unsigned();
    plugin_file.sign(&bare, "own.key").await;
    let server = server(SignaturePolicy::Require, &plugin_file.key).await;
    let file = plugin_file.file();
    std::fs::write(&file, rebuilt(&component("word-filter"))).expect("written");
    let refused = plugin(&server, &["push", text(&file)]).await.refused();
    assert!(refused.contains("no trusted key"), "{refused}");
}

#[tokio::test]
async fn a_known_version_is_signed_later_and_never_loses_a_good_signature() {
    let bare = TestServer::bare().await;
    let mut plugin_file = Signed::unsigned();
    plugin_file.sign(&bare, "own.key").await;
    let trusted = plugin_file.key.clone();
    let mut server = server(SignaturePolicy::Warn, &trusted).await;
    let beside = plugin_file.folder.path().join("words.wasm.sig");
    let own = std::fs::read_to_string(&beside).expect("the signature");
    std::fs::remove_file(&beside).expect("removed");
    let file = plugin_file.file();
    plugin(&server, &["push", text(&file)]).await.done();
    assert!(row(&server).await["signed_by"].is_null());
    // What came in unsigned does not begin to serve where signatures are required.
    let require = |config: &mut kith::config::Config| {
        config.plugins.signatures = SignaturePolicy::Require;
    };
    server.restart_with(require).await;
    let activate = ["activate", "word-filter@0.1.0"];
    let refused = plugin(&server, &activate).await.refused();
    assert!(
        refused.contains("not signed by a key that is trusted"),
        "{refused}"
    );
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 available"]);
    std::fs::write(&beside, &own).expect("written");
    plugin(&server, &["push", text(&file)]).await.done();
    assert_eq!(row(&server).await["signed_by"], trusted.as_str());
    plugin(&server, &activate).await.done();
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 active"]);
    // Nor does what a key signed that is trusted no more; what serves goes on.
    let other = "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned();
    server
        .restart_with(|config| config.plugins.trusted_keys = vec![other])
        .await;
    assert_eq!(versions(&server).await, ["word-filter 0.1.0 active"]);
    let refused = plugin(&server, &activate).await.refused();
    assert!(refused.contains("trusted now"), "{refused}");
    let warn = |config: &mut kith::config::Config| {
        config.plugins.signatures = SignaturePolicy::Warn;
    };
    server.restart_with(warn).await;
    plugin(&server, &["push", text(&file)]).await.done();
    assert_eq!(
        row(&server).await["signed_by"],
        trusted.as_str(),
        "a signature that does not count takes no other's place"
    );
    let digest = kith::oci::Digest::of(&component("word-filter"));
    assert_eq!(
        audited(&server, "plugin.push"),
        vec![format!("word-filter@{digest}"); 3]
    );
}

#[tokio::test]
async fn a_key_is_made_for_its_owner_alone_and_signs_the_same_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::bare().await;
    let mut plugin_file = Signed::unsigned();
    plugin_file.sign(&server, "own.key").await;
    let key = plugin_file.folder.path().join("own.key");
    let mode = std::fs::metadata(&key)
        .expect("the key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let beside = plugin_file.folder.path().join("words.wasm.sig");
    let first = std::fs::read(&beside).expect("the signature");
    let made = plugin_file.key.clone();
    plugin_file.sign(&server, "own.key").await;
    assert_eq!(
        (std::fs::read(&beside).expect("it"), &plugin_file.key),
        (first, &made)
    );
    std::fs::write(&key, "ed25519:short").expect("written");
    let file = plugin_file.file();
    let refused = plugin(&server, &["sign", text(&file), "--key", text(&key)]).await;
    let refused = refused.refused();
    assert!(
        refused.contains("is not a key") && !refused.contains("short"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_and_a_version_are_inspected_alike() {
    let server = TestServer::bare().await;
    let plugin_file = Signed::unsigned();
    let file = plugin_file.file();
    plugin(&server, &["push", text(&file)]).await.done();
    let digest = kith::oci::Digest::of(&component("word-filter"));
    let by_digest = format!("word-filter@{digest}");
    let of_file = plugin(&server, &["inspect", text(&file), "--json"])
        .await
        .json();
    for what in ["word-filter@0.1.0", &by_digest] {
        let of_version = plugin(&server, &["inspect", what, "--json"]).await.json();
        for field in [
            "name",
            "version",
            "digest",
            "hooks",
            "abilities",
            "config_schema",
        ] {
            assert_eq!(of_file[field], of_version[field], "{field}");
            assert!(!of_file[field].is_null(), "{field}");
        }
    }
    assert_eq!(of_file["digest"], json!(digest.as_str()));
    let told = plugin(&server, &["inspect", text(&file)]).await.done();
    assert!(told.starts_with("word-filter 0.1.0: "), "{told}");
    assert!(
        told.contains("content-filter") && told.contains(digest.as_str()),
        "{told}"
    );
    let refused = plugin(&server, &["inspect", "word-filter@9.9.9"])
        .await
        .refused();
    assert!(
        refused.contains("there is no word-filter@9.9.9"),
        "{refused}"
    );
    let refused = plugin(&server, &["inspect", "nothing.wasm"])
        .await
        .refused();
    assert!(
        refused.contains("there is no file nothing.wasm"),
        "{refused}"
    );
}
