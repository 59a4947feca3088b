//! Layouts that are damaged, or made to mislead: each is refused with the reason, in one line, and the server that it was
//! meant for is as it was before.

use kith::oci::{Digest, SIGNATURE};
use serde_json::{Value, json};

use super::layouts::{Spoiled, with_three};
use super::{component, versions};
use crate::support::TestServer;

type Spoil = (&'static str, fn(&Spoiled), &'static str);

/// What is done to a layout, and what is said of it.
const SPOILT: &[Spoil] = &[
    (
        "a flipped bit",
        |layout| {
            let mut bytes = std::fs::read(layout.component()).expect("a blob");
            bytes[100] ^= 1;
            std::fs::write(layout.component(), bytes).expect("written");
        },
        "has another content: its digest is sha256:",
    ),
    (
        "a blob cut off",
        |layout| {
            let bytes = std::fs::read(layout.component()).expect("a blob");
            std::fs::write(layout.component(), &bytes[..1000]).expect("written");
        },
        "has 1000 bytes, but",
    ),
    (
        "a blob that goes on",
        |layout| {
            let bytes = std::fs::read(layout.component()).expect("a blob");
            std::fs::write(layout.component(), [bytes, vec![0; 9]].concat()).expect("written");
        },
        "has more than the",
    ),
    (
        "a blob that is gone",
        |layout| {
            std::fs::remove_file(layout.component()).expect("removed");
        },
        "is missing",
    ),
    (
        "a blob that leads elsewhere",
        |layout| {
            let (blob, aside) = (layout.component(), layout.file("aside"));
            std::fs::rename(&blob, &aside).expect("moved");
            std::os::unix::fs::symlink(&aside, &blob).expect("a link");
        },
        "plain files only",
    ),
    (
        "an index that leads out",
        |layout| {
            layout.change_index(|index| {
                index["manifests"][0]["digest"] =
                    json!(format!("sha256:{:/<64}", "../../../letter"));
            });
        },
        "is not sha256: and 64 hexadecimal digits",
    ),
    (
        "another algorithm",
        |layout| {
            layout.change_index(|index| index["manifests"][0]["digest"] = json!("sha512:00"));
        },
        "is not sha256: and 64 hexadecimal digits",
    ),
    (
        "a manifest of another size",
        |layout| {
            layout.change_index(|index| index["manifests"][0]["size"] = json!(100_000));
        },
        "but 100000 are stated",
    ),
    (
        "a manifest without end",
        |layout| {
            layout.change_index(|index| index["manifests"][0]["size"] = json!(u64::MAX));
        },
        "has more than the 4194304 bytes it may have",
    ),
    (
        "a component without end",
        |layout| {
            layout.change_manifest(|manifest| manifest["layers"][0]["size"] = json!(1_u64 << 40));
        },
        "has more than the 33554432 bytes it may have",
    ),
    (
        "a configuration that is not there",
        |layout| {
            layout.change_manifest(|manifest| {
                manifest["config"]["digest"] = json!(Digest::of(b"nothing").as_str());
            });
        },
        "is missing",
    ),
    (
        "two layers",
        |layout| {
            layout.change_manifest(|manifest| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"]
                    .as_array_mut()
                    .expect("layers")
                    .push(layer);
            });
        },
        "a plugin is one layer",
    ),
    (
        "no plugin",
        |layout| {
            layout.change_manifest(|manifest| {
                manifest["layers"][0]["mediaType"] = json!("text/plain")
            });
        },
        "there is no plugin: none of 1 manifests",
    ),
    (
        "an empty index",
        |layout| {
            layout.change_index(|index| index["manifests"] = json!([]));
        },
        "there is no plugin: none of 0 manifests",
    ),
    (
        "a signature that is none",
        |layout| {
            layout.change_manifest(|manifest| {
                manifest["layers"][0]["annotations"][SIGNATURE] = json!("a\r\nx-evil: header");
            });
        },
        "its signature is not 64 bytes in base64",
    ),
    (
        "a manifest that is an index too",
        |layout| {
            layout.change_manifest(|manifest| manifest["manifests"] = json!([]));
        },
        "neither an index",
    ),
    (
        "an index of itself",
        |layout| {
            // As deep as it goes: each lists the one before.
            for _ in 0..5 {
                let bytes = std::fs::read(layout.file("index.json")).expect("the index");
                let digest = json!(Digest::of(&bytes).as_str());
                std::fs::write(layout.blob(&digest), &bytes).expect("written");
                layout.change_index(|index| {
                index["manifests"] = json!([{"mediaType": index["mediaType"], "digest": digest, "size": bytes.len()}]);
            });
            }
        },
        "too deep",
    ),
    (
        "an index with too many",
        |layout| {
            layout.change_index(|index| {
                let entry = index["manifests"][0].clone();
                index["manifests"] = Value::Array(vec![entry; 1_001]);
            });
        },
        "too many manifests",
    ),
    (
        "no index",
        |layout| {
            std::fs::remove_file(layout.file("index.json")).expect("removed");
        },
        "index.json is missing",
    ),
    (
        "an index that is no JSON",
        |layout| {
            std::fs::write(layout.file("index.json"), "{\"schemaVersion\": 2,").expect("written");
        },
        "cannot be read",
    ),
    (
        "no layout",
        |layout| {
            std::fs::remove_file(layout.file("oci-layout")).expect("removed");
        },
        "is no OCI layout: it has no file oci-layout",
    ),
    (
        "a layout of another time",
        |layout| {
            std::fs::write(
                layout.file("oci-layout"),
                "{\"imageLayoutVersion\":\"2.0.0\"}",
            )
            .expect("written");
        },
        "names no version 1",
    ),
    (
        "nothing at all",
        |layout| {
            std::fs::remove_dir_all(layout.path()).expect("removed");
        },
        "No such file",
    ),
    (
        "a component that is none",
        |layout| {
            let bytes = b"\0asm and no more";
            let digest = json!(Digest::of(bytes).as_str());
            std::fs::write(layout.blob(&digest), bytes).expect("written");
            layout.change_manifest(|manifest| {
                manifest["layers"][0]["digest"] = digest;
                manifest["layers"][0]["size"] = bytes.len().into();
            });
        },
        "kith: ",
    ),
];

#[tokio::test]
async fn a_layout_that_is_not_what_it_says_brings_nothing_in() {
    let here = with_three().await;
    let there = TestServer::with_plugins().await;
    let before = (versions(&there).await, there.app().rollout.generation());
    for (what, spoil, why) in SPOILT {
        let layout = Spoiled::export(&here, &["word-filter@0.1.0"]).await;
        spoil(&layout);
        let refused = layout.import(&there).await.refused();
        assert!(refused.contains(why), "{what}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{what}: {refused}");
        let causes = refused.matches("os error").count();
        assert!(causes <= 1, "{what}: {refused}");
    }
    let after = (versions(&there).await, there.app().rollout.generation());
    assert_eq!(before, after);
}

#[tokio::test]
async fn one_damaged_plugin_keeps_all_of_its_layout_out() {
    let here = with_three().await;
    let layout = Spoiled::export(&here, &["word-filter@0.1.0", "direct-strategy@0.1.0"]).await;
    let digest = Digest::of(&component("direct-strategy"));
    std::fs::write(layout.blob(&json!(digest.as_str())), "damaged").expect("written");
    let there = TestServer::bare().await;
    let refused = layout.import(&there).await.refused();
    assert!(refused.contains(digest.as_str()), "{refused}");
    assert!(versions(&there).await.is_empty());
}
