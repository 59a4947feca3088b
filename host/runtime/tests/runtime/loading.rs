//! What is taken and what is refused, with which sentence; baking and the cache. What a loaded version answers is in
//! `outcomes.rs`.

use std::os::unix::fs::PermissionsExt as _;

use kith_runtime::{Hook, LoadError, Runtime, Scope, Text};
use serde_json::json;

use crate::guests::{bench, bench_with, bound, guests, no_config, settings};

#[test]
fn a_component_is_described_by_its_own_exports_and_imports() {
    let inspection = bench()
        .runtime
        .inspect(&guests().obedient)
        .expect("a plugin");
    assert_eq!(
        (inspection.name.as_str(), inspection.version.as_str()),
        ("obedient", "1.2.3")
    );
    assert_eq!(
        inspection.hooks,
        [
            Hook::MessageStrategy,
            Hook::ContentFilter,
            Hook::Command,
            Hook::AdminRule
        ]
    );
    assert_eq!(
        inspection.abilities,
        ["log", "clock", "config", "kv-snapshot"]
    );
    assert!(inspection.digest.starts_with("sha256:") && inspection.digest.len() == 71);
    assert_eq!(
        inspection.config_schema["properties"]["word"]["default"],
        "bad"
    );
    assert_eq!(inspection.size, guests().obedient.len() as u64);
    assert_eq!(
        (inspection.defaults[0].order, inspection.defaults[0].recent),
        (7, 3)
    );
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason() {
    let bench = bench_with(|settings| settings.max_component_bytes = 1 << 20);
    let refused = |bytes: &[u8]| bench.runtime.inspect(bytes).expect_err("refused");
    assert!(matches!(refused(b"hello"), LoadError::NotWasm));
    assert!(matches!(
        refused(&guests().core_module),
        LoadError::CoreModule
    ));
    assert!(matches!(
        refused(&vec![0; 2 << 20]),
        LoadError::TooLarge { limit: 1048576, .. }
    ));
    let cut = &guests().obedient[..guests().obedient.len() / 2];
    assert!(matches!(refused(cut), LoadError::Malformed(_)));
    assert!(matches!(refused(&guests().bare), LoadError::NoHook));
    match refused(&guests().stranger) {
        LoadError::UnknownImport(name) => assert_eq!(name, "test:stranger/moon"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_wish_for_a_hook_that_is_not_exported_is_refused_until_it_serves() {
    let bench = bench();
    let refused = bench.runtime.inspect(&guests().wishful);
    let refused = refused.expect_err("refused").to_string();
    assert!(
        refused.contains("the hook observer, which the component does not export"),
        "{refused}"
    );
    // What was taken in before it was looked at goes on serving.
    let version = bench.runtime.prepare(&guests().wishful, &json!({}));
    assert!(version.is_ok());
}

#[test]
fn another_contract_and_a_missing_lifecycle_are_named() {
    let bench = bench();
    let runtime = &bench.runtime;
    let renamed = |from: &str, to: &str| replaced(&guests().obedient, from, to);
    match runtime.inspect(&renamed(
        "kith:plugin/content-filter@1.0.0",
        "kith:plugin/content-filter@2.0.0",
    )) {
        Err(LoadError::OtherContract { name, found }) => {
            assert_eq!((name.as_str(), found.as_str()), ("content-filter", "2.0.0"))
        }
        other => panic!("{other:?}"),
    }
    let other = runtime.inspect(&renamed(
        "kith:plugin/lifecycle@1.0.0",
        "some:plugin/lifecycle@1.0.0",
    ));
    assert!(matches!(other, Err(LoadError::NoLifecycle)), "{other:?}");
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut changed = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if &bytes[at..at + from.len()] == from.as_bytes() {
            changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    changed
}

#[test]
fn a_refused_configuration_says_why() {
    let bench = bench();
    let refused = |config| {
        bench
            .runtime
            .prepare(&guests().obedient, &config)
            .expect_err("refused")
    };
    assert!(
        matches!(refused(json!({"word": 3})), LoadError::BadConfiguration(why) if why.contains("word"))
    );
    assert!(
        matches!(refused(json!({"wrod": "x"})), LoadError::BadConfiguration(why) if why.contains("wrod"))
    );
    assert!(
        matches!(refused(json!({"refuse": "configure"})), LoadError::ConfigurationRefused(why) if why == "that word is not for me")
    );
    assert!(
        matches!(refused(json!({"refuse": "prepare"})), LoadError::ConfigurationRefused(why) if why == "not prepared for that")
    );
    assert!(
        matches!(refused(json!({"word": ""})), LoadError::SelfTestRefused(why) if why == "there is no word")
    );
    let fell = refused(json!({"refuse": "configure-trap"})).to_string();
    assert!(fell.contains("configure fell over"), "{fell}");
}

#[test]
fn a_second_preparation_compiles_nothing() {
    let bench = bench();
    let first = bench.version(no_config());
    assert!(first.is_baked(), "{:?}", first.not_baked());
    let compiled = bench.runtime.compiled();
    bench.version(no_config());
    assert_eq!(bench.runtime.compiled(), compiled);
    let again = Runtime::new(settings(bench.folder.path())).expect("a runtime");
    again
        .prepare(&guests().obedient, &no_config())
        .expect("prepared");
    assert_eq!(again.compiled(), 0);
    again
        .prepare(&guests().obedient, &json!({"word": "other"}))
        .expect("prepared");
    assert_eq!(
        again.compiled(),
        1,
        "another configuration is another image, of the same binary"
    );
}

#[test]
fn a_damaged_compiled_file_is_compiled_anew_and_every_file_is_private() {
    let bench = bench();
    bench.version(no_config());
    for file in std::fs::read_dir(bench.folder.path()).expect("the cache") {
        let path = file.expect("a file").path();
        assert_eq!(
            std::fs::metadata(&path)
                .expect("a file")
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        if path
            .extension()
            .is_some_and(|extension| extension == "cwasm")
        {
            let mut bytes = std::fs::read(&path).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            // A new file: the old one may be mapped.
            std::fs::remove_file(&path).expect("removed");
            std::fs::write(&path, bytes).expect("written");
        }
    }
    let again = Runtime::new(settings(bench.folder.path())).expect("a runtime");
    let version = again
        .prepare(&guests().obedient, &no_config())
        .expect("prepared");
    assert_eq!(again.compiled(), 2, "the plain and the baked one");
    assert_eq!(masked(&version, "so bad"), Some("so ***".into()));
}

#[test]
fn what_cannot_be_baked_serves_all_the_same_and_says_so() {
    let bench = bench();
    let version = bench
        .runtime
        .prepare(&guests().unbakeable, &json!({"word": "世界"}))
        .expect("prepared");
    assert!(!version.is_baked());
    assert!(version.not_baked().is_some_and(|why| !why.is_empty()));
    let baked = bench.version(json!({"word": "世界"}));
    for text in ["", "你好世界", "世界世界 x", "nothing", "世 界"] {
        assert_eq!(masked(&version, text), masked(&baked, text), "{text}");
    }
    for _ in 0..6 {
        // More failures than there are configured instances.
        masked(&version, "do:trap");
    }
    let kept = version.stats();
    assert!(kept.live_instances <= 4, "{kept:?}");
}

#[test]
fn another_node_serves_what_this_one_baked() {
    let (here, there) = (bench(), bench());
    let config = json!({"word": "worse"});
    let version = here.version(config.clone());
    let bytes = std::fs::read(version.baked_file().expect("baked")).expect("the baked file");
    let copy = there
        .runtime
        .prepare_from_baked(&guests().obedient, &config, &bytes)
        .expect("prepared");
    assert!(copy.is_baked());
    assert_eq!(masked(&copy, "worse things"), Some("***** things".into()));
    let own = there
        .runtime
        .prepare(&guests().obedient, &config)
        .expect("prepared");
    assert_eq!(
        std::fs::read(own.baked_file().expect("baked")).expect("a file"),
        bytes
    );
}

#[test]
fn sweeping_the_cache_leaves_only_what_is_kept() {
    let bench = bench();
    let kept = bench.version(json!({"word": "kept"}));
    let gone = bench.version(json!({"word": "secret"}));
    bench
        .runtime
        .sweep_cache(std::slice::from_ref(&kept))
        .expect("swept");
    assert!(kept.baked_file().is_some_and(std::path::Path::exists));
    let file = gone.baked_file().expect("baked").to_owned();
    gone.leave();
    assert_eq!(
        masked(&gone, "a secret"),
        Some("a ******".into()),
        "what is in use serves on, even when it has to be loaded again"
    );
    assert!(file.exists());
    drop(gone);
    assert!(!file.exists(), "it went with the last who used it");
    let left = std::fs::read_dir(bench.folder.path()).expect("the cache");
    for file in left {
        let bytes = std::fs::read(file.expect("a file").path()).expect("a file");
        let secret = bytes.windows(6).any(|found| found == b"secret");
        assert!(!secret, "nothing of its configuration is left");
    }
}

#[test]
fn unused_code_is_measured_before_it_goes_and_what_is_known_stays() {
    let bench = bench();
    let version = bench.version(json!({"word": "kept"}));
    let digest = version.inspection().digest.clone();
    let unused = |loaded: &[_], digests: &[&str], remove| {
        let runtime = &bench.runtime;
        runtime.unused_code(loaded, digests, remove).expect("swept")
    };
    assert_eq!(unused(&[version], &[], true), 0, "all of it is in use");
    let baked = unused(&[], &[&digest], false);
    let all = unused(&[], &[], false);
    assert!(
        all > baked && baked > 0,
        "a known binary keeps its code: {baked} of {all}"
    );
    assert_eq!(unused(&[], &[], true), all, "nothing went before");
    assert_eq!(unused(&[], &[], true), 0);
}

fn masked(version: &std::sync::Arc<kith_runtime::Version>, text: &str) -> Option<String> {
    let generation = bound(version, Hook::ContentFilter, |_| {});
    generation
        .filter(
            Scope::Direct,
            &[Text {
                place: "message",
                text,
            }],
            1,
        )
        .masked
        .remove(0)
}
