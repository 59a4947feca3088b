//! OCI layouts in folders: what is exported comes in elsewhere as it was, many plugins in one layout, beside what other
//! tools put there. What damaged layouts come to stands in `damaged.rs`.

use std::path::{Path, PathBuf};

use kith::config::SignaturePolicy;
use kith::oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::signing::{self, Signed};
use super::{Ended, audited, component, plugin, rebuilt, text, versions};
use crate::support::TestServer;

/// A layout with one plugin, for tests to spoil.
pub struct Spoiled {
    folder: TempDir,
}

impl Spoiled {
    pub async fn export(server: &TestServer, versions: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spoiled = Self { folder };
        let path = spoiled.path();
        let arguments = [&["export"], versions, &[text(&path)]].concat();
        plugin(server, &arguments).await.done();
        spoiled
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn blob(&self, digest: &Value) -> PathBuf {
        let hex = digest
            .as_str()
            .and_then(|digest| digest.strip_prefix("sha256:"));
        self.file(&format!("blobs/sha256/{}", hex.expect("a digest")))
    }

    pub fn index(&self) -> Value {
        read(&self.file("index.json"))
    }

    pub fn manifest(&self) -> Value {
        read(&self.blob(&self.index()["manifests"][0]["digest"]))
    }

    pub fn component(&self) -> PathBuf {
        self.blob(&self.manifest()["layers"][0]["digest"])
    }

    pub fn change_index(&self, change: impl FnOnce(&mut Value)) {
        let mut index = self.index();
        change(&mut index);
        std::fs::write(self.file("index.json"), index.to_string()).expect("written");
    }

    /// Another manifest, which the index lists rightly.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        let bytes = manifest.to_string().into_bytes();
        let digest = json!(Digest::of(&bytes).as_str());
        std::fs::write(self.blob(&digest), &bytes).expect("written");
        self.change_index(|index| {
            index["manifests"][0]["digest"] = digest;
            index["manifests"][0]["size"] = bytes.len().into();
        });
    }

    pub async fn import(&self, server: &TestServer) -> Ended {
        plugin(server, &["import", text(&self.path())]).await
    }
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("a document");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A server with every first-party plugin pushed and none active.
pub async fn with_three() -> TestServer {
    let server = TestServer::bare().await;
    for name in ["word-filter", "direct-strategy", "group-strategy"] {
        assert_eq!(server.push(component(name)).await.0, 201);
    }
    server
}

#[tokio::test]
async fn what_is_exported_comes_in_elsewhere_with_its_signature_and_serves() {
    let here = TestServer::bare().await;
    let mut plugin_file = Signed::unsigned();
    plugin_file.sign(&here, "own.key").await;
    let file = plugin_file.file();
    plugin(&here, &["push", text(&file)]).await.done();
    let folder = plugin_file.folder.path();
    let targets = ["one", "two.tar", "three.tar"].map(|name| folder.join(name));
    let digest = Digest::of(&component("word-filter"));
    let by_digest = format!("word-filter@{digest}");
    let mut manifests = Vec::new();
    for (target, what) in targets
        .iter()
        .zip(["word-filter@0.1.0", &by_digest, &by_digest])
    {
        let exported = plugin(&here, &["export", what, text(target), "--json"]).await;
        let exported = exported.json();
        assert_eq!(exported[0]["digest"], digest.as_str());
        manifests.push(exported[0]["manifest"].clone());
    }
    assert_eq!(
        manifests[0], manifests[1],
        "a version is one manifest everywhere"
    );
    let bytes = [1, 2].map(|number: usize| std::fs::read(&targets[number]).expect("a file"));
    assert!(bytes[0] == bytes[1], "and one archive");
    assert_eq!(audited(&here, "plugin.fetch"), vec![by_digest.clone(); 3]);

    let there = signing::server(SignaturePolicy::Require, &plugin_file.key).await;
    let unsigned = with_three().await;
    let without = Spoiled::export(&unsigned, &["word-filter@0.1.0"]).await;
    let refused = without.import(&there).await.refused();
    assert!(refused.contains("signed plugins only"), "{refused}");
    for target in &targets {
        let imported = plugin(&there, &["import", text(target)]).await;
        assert_eq!(imported.err, "");
        assert_eq!(imported.done(), format!("word-filter 0.1.0 {digest}\n"));
    }
    assert_eq!(versions(&there).await, ["word-filter 0.1.0 available"]);
    plugin(&there, &["activate", &by_digest]).await.done();
    assert_eq!(versions(&there).await, ["word-filter 0.1.0 active"]);
}

#[tokio::test]
async fn a_layout_is_what_other_tools_for_webassembly_read() {
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0"]).await;
    let mark = read(&layout.file("oci-layout"));
    assert_eq!(mark, json!({"imageLayoutVersion": "1.0.0"}));
    let entry = &layout.index()["manifests"][0];
    assert_eq!(
        entry["annotations"]["org.opencontainers.image.ref.name"],
        "word-filter-0.1.0"
    );
    let manifest = layout.manifest();
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(
        (layers.len(), &layers[0]["mediaType"]),
        (1, &json!("application/wasm"))
    );
    // The layer's digest is the plugin's own.
    let digest = Digest::of(&component("word-filter"));
    assert_eq!(layers[0]["digest"], digest.as_str());
    let config = read(&layout.blob(&manifest["config"]["digest"]));
    assert_eq!(config["layerDigests"], json!([digest.as_str()]));
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasip2"))
    );
    let names = |field: &str| config["component"][field].to_string();
    assert!(
        names("exports").contains("kith:plugin/content-filter@"),
        "{config}"
    );
    assert!(names("imports").contains("kith:plugin/"), "{config}");
}

#[tokio::test]
async fn many_plugins_go_in_one_layout_and_one_that_is_refused_stops_no_other() {
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0", "group-strategy@0.1.0"]).await;
    // A third one is added, the first again, and something that is no plugin.
    for name in ["direct-strategy@0.1.0", "word-filter@0.1.0"] {
        plugin(&here, &["export", name, text(&layout.path())])
            .await
            .done();
    }
    layout.change_index(|index| {
        let listed = index["manifests"].as_array_mut().expect("manifests");
        assert_eq!(listed.len(), 3);
        let foreign = json!({"mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": "sha512:00", "size": 1, "platform": {"os": "linux"}});
        listed.insert(0, foreign);
    });
    let there = TestServer::bare().await;
    assert_eq!(
        there.push(rebuilt(&component("direct-strategy"))).await.0,
        201
    );
    let imported = layout.import(&there).await;
    assert_eq!(imported.code, Some(1), "{imported:?}");
    assert!(
        imported.err.contains("1 of 3 plugins were refused"),
        "{imported:?}"
    );
    assert!(
        imported.err.contains("is known with another digest"),
        "{imported:?}"
    );
    assert_eq!(imported.out.lines().count(), 2, "{imported:?}");
    assert_eq!(
        versions(&there).await,
        ["direct-strategy", "group-strategy", "word-filter"]
            .map(|name| format!("{name} 0.1.0 available"))
    );
    // What another tool listed is still there after the next export.
    plugin(
        &here,
        &["export", "word-filter@0.1.0", text(&layout.path())],
    )
    .await
    .done();
    assert_eq!(layout.index()["manifests"][0]["platform"]["os"], "linux");
}

#[tokio::test]
async fn an_export_writes_into_nothing_but_a_layout() {
    let here = with_three().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("letter.txt"), "dear Bob").expect("written");
    let archive = folder.path().join("there.tar");
    std::fs::write(&archive, "a tar file").expect("written");
    for (what, target, why) in [
        (
            "word-filter@0.1.0",
            folder.path(),
            "is no OCI layout: it has no file oci-layout",
        ),
        ("word-filter@0.1.0", &archive, "it is there already"),
        (
            "word-filter@9.9.9",
            &folder.path().join("new"),
            "there is no word-filter@9.9.9",
        ),
    ] {
        let refused = plugin(&here, &["export", what, text(target)])
            .await
            .refused();
        assert!(refused.contains(why), "{refused}");
    }
    let left = std::fs::read_dir(folder.path())
        .expect("the folder")
        .count();
    assert_eq!(left, 2, "nothing was begun");
    assert_eq!(std::fs::read(&archive).expect("the file"), b"a tar file");
}
