//! The target guests are built for: from rustup where it can get it, else from Debian's compiler, whose standard
//! library is built once into a folder of its own. Says what it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// How cargo is told to build guests: environment for its process.
pub struct Toolchain {
    pub environment: Vec<(String, String)>,
}

/// Finds or gets what guests need; `say` is told each step.
pub fn ready(cache: &Path, say: &dyn Fn(&str)) -> Result<Toolchain> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))
        .context("rustc is missing: get the stable tool chain with rustup")?;
    if has_std(Path::new(sysroot.trim())) {
        return Ok(Toolchain {
            environment: Vec::new(),
        });
    }
    say(&format!(
        "getting the guest target: rustup target add {TARGET}"
    ));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status();
    if added.is_ok_and(|status| status.success()) && has_std(Path::new(sysroot.trim())) {
        return Ok(Toolchain {
            environment: Vec::new(),
        });
    }
    debian(cache, Path::new(sysroot.trim()), say)
}

fn has_std(sysroot: &Path) -> bool {
    let Ok(libraries) = std::fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib"))
    else {
        return false;
    };
    libraries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn debian(cache: &Path, host_sysroot: &Path, say: &dyn Fn(&str)) -> Result<Toolchain> {
    if !Path::new(DEBIAN_RUSTC).exists() {
        say(
            "rustup cannot get the target; installing Debian's compiler: apt-get install rustc-web rust-web-src",
        );
        let installed = Command::new("apt-get")
            .args([
                "install",
                "-y",
                "--no-install-recommends",
                "rustc-web",
                "rust-web-src",
            ])
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            bail!(
                "the guest target is missing: run `rustup target add {TARGET}`, or as root \
                 `apt-get install --no-install-recommends rustc-web rust-web-src`"
            );
        }
    }
    let version = output(Command::new(DEBIAN_RUSTC).arg("-V"))?;
    let version = version
        .split_whitespace()
        .nth(1)
        .unwrap_or("unknown")
        .to_owned();
    let sysroot = cache.join(format!("sysroot-{version}"));
    let linker = host_sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    if !has_std(&sysroot) {
        say("building the guests' standard library once (about a minute)");
        build_std(&sysroot, &linker)?;
    }
    let variable = TARGET.to_uppercase().replace('-', "_");
    Ok(Toolchain {
        environment: vec![
            ("RUSTC".to_owned(), DEBIAN_RUSTC.to_owned()),
            (
                format!("CARGO_TARGET_{variable}_LINKER"),
                linker.display().to_string(),
            ),
            (
                format!("CARGO_TARGET_{variable}_RUSTFLAGS"),
                format!("--sysroot={}", sysroot.display()),
            ),
        ],
    })
}

fn build_std(sysroot: &Path, linker: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    std::fs::create_dir(work.path().join("src"))?;
    std::fs::write(
        work.path().join("Cargo.toml"),
        "[package]\nname = \"stdsys\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [profile.release]\nopt-level = \"s\"\npanic = \"abort\"\ncodegen-units = 1\n",
    )?;
    std::fs::write(work.path().join("src/lib.rs"), "#![no_std]\n")?;
    let variable = TARGET.to_uppercase().replace('-', "_");
    let status = Command::new("cargo")
        .current_dir(work.path())
        .args([
            "build",
            "-q",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=std,panic_abort",
        ])
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", work.path().join("target"))
        .env(
            format!("CARGO_TARGET_{variable}_RUSTFLAGS"),
            "-Cembed-bitcode=yes",
        )
        .env(format!("CARGO_TARGET_{variable}_LINKER"), linker)
        .status()
        .context("cargo is missing")?;
    if !status.success() {
        bail!("the guests' standard library could not be built");
    }
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    std::fs::create_dir_all(&libraries)?;
    for entry in std::fs::read_dir(work.path().join("target").join(TARGET).join("release/deps"))? {
        let file: PathBuf = entry?.path();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libstdsys") {
            std::fs::copy(&file, libraries.join(name))?;
        }
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{:?} failed", command.get_program());
    }
    Ok(String::from_utf8(output.stdout)?)
}
