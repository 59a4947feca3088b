//! What the machine must have: the tool chain, and the Debian packages some checks need.
//! Installs only with apt as root and `rustup target add`; otherwise it names what is missing and the command that gets it.

pub mod servers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::child;

/// The target guests are compiled for.
const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// A program some check runs, and the Debian packages that bring it.
struct Need {
    program: &'static str,
    packages: &'static [&'static str],
    reason: &'static str,
}

/// What `cargo verify` needs beyond the tool chain: the one list of Debian packages.
const FOR_CHECKS: &[Need] = &[
    Need {
        program: "strace",
        packages: &["strace"],
        reason: "the durability tests record system calls with it",
    },
    Need {
        program: "redis-server",
        packages: &["redis-server", "redis-tools"],
        reason: "the tests of the bus between nodes start it, alone and as a Cluster",
    },
    Need {
        program: "redis-sentinel",
        packages: &["redis-sentinel"],
        reason: "the tests of the bus between nodes have a master watched by it",
    },
    Need {
        program: "java",
        packages: &["openjdk-17-jre-headless"],
        reason: "the search tests run Elasticsearch and OpenSearch with it",
    },
    Need {
        program: "mvn",
        packages: &["maven"],
        reason: "the jars of Elasticsearch and OpenSearch come with it",
    },
    Need {
        program: "python3",
        packages: &["python3", "python3-venv"],
        reason: "what stands in for MongoDB in tests runs with it",
    },
];

/// What the plugins that are not in Rust are built with.
const FOR_PLUGINS: &[Need] = &[
    Need {
        program: "node",
        packages: &["nodejs"],
        reason: "plugins in JavaScript are built with it",
    },
    Need {
        program: "npm",
        packages: &["npm"],
        reason: "it gets the tools for plugins in JavaScript",
    },
    Need {
        program: "python3",
        packages: &["python3", "python3-pip"],
        reason: "plugins in Python are built with it",
    },
];

/// What checks the files in `deploy/`, beside what comes from a registry.
const FOR_DEPLOYMENT: &[Need] = &[
    Need {
        program: "openssl",
        packages: &["openssl"],
        reason: "the front door's configuration is read with a certificate",
    },
    Need {
        program: "python3",
        packages: &["python3", "python3-venv"],
        reason: "the checks of the image file, the compose file and the manifests run with it",
    },
];

/// What stands before several nodes, under `cargo dev --nodes N` and in `deploy/`.
const FOR_NODES: &[Need] = &[Need {
    program: "nginx",
    packages: &["nginx-light"],
    reason: "it is the door before several nodes, and the tests go through it",
}];

const C_COMPILER: Need = Need {
    program: "cc",
    packages: &["gcc", "libc6-dev"],
    reason: "SQLite is compiled from C, and Rust links with it",
};

/// Checks compiler, C compiler and guest target; gets the target when it can.
pub fn tool_chain() -> Result<()> {
    let rustc = child::answer(child::command("rustc").arg("--version"))
        .context("no rustc on the PATH; install the stable tool chain with rustup")?;
    println!("      {rustc}");
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    if version(&rustc) < version(wanted) {
        bail!("rustc {wanted} or newer is needed; `rustup update stable` gets it");
    }
    if std::env::var_os("CC").is_none() {
        ensure(&[C_COMPILER])?;
    }
    guest_target()
}

/// Installs or names the Debian packages the checks need.
pub fn check_packages() -> Result<()> {
    ensure(FOR_CHECKS)?;
    ensure(FOR_PLUGINS)?;
    deployment_packages()
}

/// Installs or names what the checks of `deploy/` need.
pub fn deployment_packages() -> Result<()> {
    ensure(FOR_NODES)?;
    ensure(FOR_DEPLOYMENT)
}

/// Installs or names what `cargo dev --nodes N` needs, and gets the servers.
pub fn nodes(root: &Path) -> Result<()> {
    ensure(FOR_CHECKS)?;
    ensure(FOR_NODES)?;
    servers::get(root)
}

/// The program a plugin that is not in Rust cannot be built without, where it is missing.
pub fn missing_for(plugin: &Path) -> Option<&'static str> {
    let needed = |manifest: &str, program| plugin.join(manifest).is_file().then_some(program);
    let program = needed("package.json", "node").or_else(|| needed("pyproject.toml", "python3"))?;
    (!child::on_path(program)).then_some(program)
}

fn guest_target() -> Result<()> {
    let sysroot = child::answer(child::command("rustc").args(["--print", "sysroot"]))
        .context("rustc does not tell its sysroot")?;
    let standard_library: PathBuf = [&sysroot, "lib", "rustlib", GUEST_TARGET, "lib"]
        .iter()
        .collect();
    if standard_library.is_dir() {
        println!("      {GUEST_TARGET} is there");
        return Ok(());
    }
    let added = child::run(child::command("rustup").args(["target", "add", GUEST_TARGET]));
    if let Err(error) = added {
        println!(
            "      {error:#}; `kith plugin build` falls back to Debian's rustc-web for {GUEST_TARGET}"
        );
    }
    Ok(())
}

/// Makes sure each program is on the PATH; all that is missing is named in one error.
fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .filter(|need| !child::on_path(need.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("      {} is missing: {}", need.program, need.reason);
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages.iter().copied())
        .collect();
    let install = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !is_root() || !child::on_path("apt-get") {
        bail!("install what is missing: `sudo {install}` (or this system's own way)");
    }
    apt(&["update"]).and_then(|()| {
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(&packages);
        apt(&arguments)
    })?;
    if let Some(need) = missing.iter().find(|need| !child::on_path(need.program)) {
        bail!(
            "`{install}` succeeded, yet `{}` is not on the PATH",
            need.program
        );
    }
    Ok(())
}

/// Unpacks a Debian package into a folder, without installing it: what installing would start stays away.
pub fn unpack(package: &str, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let download = || {
        let mut download = child::command("apt-get");
        download.args(["-qq", "download", package]);
        child::run(download.current_dir(folder))
    };
    if download().is_err() {
        apt(&["update"])?;
        download()?;
    }
    let listed: Vec<_> = folder.read_dir()?.collect::<Result<_, _>>()?;
    let archive = listed
        .into_iter()
        .map(|item| item.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let archive = archive.with_context(|| format!("`apt-get download {package}` left nothing"))?;
    child::run(child::command("dpkg").arg("-x").arg(&archive).arg(folder))?;
    std::fs::remove_file(archive)?;
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    child::run(
        child::command("apt-get")
            .arg("-qq")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|own| own.uid() == 0)
}

/// The first dotted number in `text` as (major, minor).
fn version(text: &str) -> (u32, u32) {
    text.split_whitespace()
        .find_map(|word| {
            let mut parts = word.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let installed = version("rustc 1.100.0 (59807616e 2026-04-14)");
        assert_eq!(installed, (1, 100));
        assert!(installed > version("1.95"));
        assert!(version("rustc 1.94.2-nightly") < version("1.95"));
    }

    #[test]
    fn what_is_on_the_path_needs_no_installation() {
        let shell = Need {
            program: "sh",
            packages: &["no-such-package"],
            reason: "never shown",
        };
        assert!(ensure(&[shell]).is_ok());
    }
}
