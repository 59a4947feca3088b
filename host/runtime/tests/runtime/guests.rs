//! Builds the guests once a run and gives tests a runtime, versions and bindings made of them. Checks nothing
//! itself.

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::{Arc, OnceLock};

use kith_runtime::{
    Binding, Command, Generation, Hook, Invocation, Occasion, Runtime, Settings, Version,
};
use serde_json::{Value, json};
use wasmparser::{Parser, Payload};

const TARGET: &str = "wasm32-unknown-unknown";

/// A component, and a core module without one.
pub struct Guests {
    pub obedient: Vec<u8>,
    pub core_module: Vec<u8>,
    pub bare: Vec<u8>,
    pub stranger: Vec<u8>,
    /// The obedient one, that wishes for a hook it does not export.
    pub wishful: Vec<u8>,
    /// The obedient one with a global no snapshot can hold.
    pub unbakeable: Vec<u8>,
}

pub fn guests() -> &'static Guests {
    static GUESTS: OnceLock<Guests> = OnceLock::new();
    GUESTS.get_or_init(|| {
        let core_module = build("");
        Guests {
            obedient: component(&core_module),
            unbakeable: component(&with_vector_global(&core_module)),
            bare: component(&build("bare")),
            stranger: component(&build("stranger")),
            wishful: component(&build("wishful")),
            core_module,
        }
    })
}

/// The guest with hooks after the commit, as a component.
pub fn diligent() -> &'static [u8] {
    static DILIGENT: OnceLock<Vec<u8>> = OnceLock::new();
    DILIGENT.get_or_init(|| component(&build_guest("diligent", "default")))
}

fn build(feature: &str) -> Vec<u8> {
    build_guest("obedient", feature)
}

fn build_guest(guest: &str, feature: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
    let manifest = folder.join(guest).join("Cargo.toml");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let output = Process::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            TARGET,
            "--features",
            feature,
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the guest did not build; is the target there? `rustup target add {TARGET}`\n{said}"
    );
    std::fs::read(
        target
            .join(TARGET)
            .join(format!("release/{guest}_guest.wasm")),
    )
    .expect("the built guest")
}

fn component(module: &[u8]) -> Vec<u8> {
    let encoder = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .expect("a module with a world");
    let mut encoder = encoder;
    encoder.encode().expect("a component")
}

/// Adds a mutable v128 global behind the others.
fn with_vector_global(module: &[u8]) -> Vec<u8> {
    let globals = Parser::new(0).parse_all(module).find_map(|payload| {
        match payload.expect("a valid module") {
            Payload::GlobalSection(section) => Some((section.range(), section.count())),
            _ => None,
        }
    });
    let (range, count) = globals.expect("a stack pointer");
    assert!(count < 127, "the count has one byte");
    let body_start = range.start + 1;
    let mut body = vec![u8::try_from(count + 1).expect("small")];
    body.extend_from_slice(&module[body_start..range.end]);
    body.extend_from_slice(&[0x7b, 0x01, 0xfd, 0x0c]);
    body.extend_from_slice(&[7; 16]);
    body.push(0x0b);
    assert!(
        body.len() < 127 && range.end - range.start < 127,
        "the length has one byte"
    );
    let mut changed = module[..range.start - 1].to_vec();
    changed.push(u8::try_from(body.len()).expect("small"));
    changed.extend_from_slice(&body);
    changed.extend_from_slice(&module[range.end..]);
    changed
}

/// A runtime with a cache of its own, removed with it.
pub struct Bench {
    pub runtime: Runtime,
    pub folder: tempfile::TempDir,
}

pub fn bench() -> Bench {
    bench_with(|_| {})
}

pub fn bench_with(change: impl FnOnce(&mut Settings)) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(folder.path());
    change(&mut settings);
    Bench {
        runtime: Runtime::new(settings).expect("a runtime"),
        folder,
    }
}

pub fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::new(folder);
    settings.total_instances = 80;
    settings
}

impl Bench {
    pub fn version(&self, config: Value) -> Arc<Version> {
        self.runtime
            .prepare(&guests().obedient, &config)
            .expect("prepared")
    }
}

/// A generation of one binding, changed before.
pub fn bound(version: &Arc<Version>, hook: Hook, change: impl FnOnce(&mut Binding)) -> Generation {
    let mut binding = Binding::as_wished(version, hook).expect("it exports the hook");
    change(&mut binding);
    Generation::new(1, vec![binding])
}

pub fn saying(text: &str) -> Command<'_> {
    Command {
        operation: "send",
        conversation: "c1",
        conversation_kind: "direct",
        sender: "u1",
        sender_role: "member",
        peer: "u2",
        peer_role: "",
        blocked: false,
        blocking: false,
        friends: true,
        muted: false,
        unanswered: 0,
        answered: true,
        content_type: "text",
        text,
        at_ms: 1234,
        target_sender: "",
        target_age_ms: 0,
        recent: &[],
        facts: &[],
    }
}

pub fn typed<'a>(name: &'a str, arguments: &'a str) -> Invocation<'a> {
    Invocation {
        name,
        arguments,
        conversation: "c1",
        conversation_kind: "direct",
        sender: "u1",
        sender_role: "member",
        peer: "u2",
        blocked: false,
        blocking: false,
        friends: true,
        mentions: &[],
        reply_to: 0,
        at_ms: 1234,
        facts: &[],
    }
}

/// Somebody who registers; `what` tells the guest what to do.
pub fn asking(what: &str) -> Occasion<'_> {
    Occasion {
        kind: "register",
        user: "u1",
        username: "ann",
        actor: "",
        address: "192.0.2.1",
        device: "",
        device_kind: "",
        conversation: "",
        what,
        text: "",
        at_ms: 1234,
        facts: &[],
    }
}

pub fn no_config() -> Value {
    json!({})
}
