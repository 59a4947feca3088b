//! `cargo xtask deploy`: checks what is in `deploy/` with the tools made for each kind of file: the image file, the compose
//! file, the front door, Prometheus's rules and dashboards' queries, Kubernetes manifests. Starts no server and opens no
//! port; what a tool could not check is said at the end. That settings are Kith's and names of metrics exist is tested
//! beside the host (`host/tests/deploy.rs`).

mod dashboards;
mod door;
mod tools;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::child;
use crate::layout::Layout;
use crate::machine;
use tools::Tools;

/// Kinds of files that no Kubernetes knows: they are the tools' own.
const NOT_MANIFESTS: [&str; 1] = ["kustomization.yaml"];

/// The whole task: gets what it needs first.
pub fn run() -> Result<()> {
    machine::deployment_packages()?;
    check(&Layout::find(false)?)
}

/// Gets the tools that come from a registry.
pub fn get_tools() -> Result<()> {
    Tools::get().map(drop)
}

/// Every check; all that fail are named at once.
pub fn check(layout: &Layout) -> Result<()> {
    let tools = Tools::get()?;
    let checks = Checks {
        deploy: layout.root.join("deploy"),
        scratch: scratch(layout)?,
        tools,
    };
    let mut unchecked = Vec::new();
    let outcomes = [
        ("image", checks.image(&mut unchecked)),
        ("compose", checks.compose(&mut unchecked)),
        ("front door", door::check(&checks.deploy, &checks.scratch)),
        ("alerts", checks.alerts(&mut unchecked)),
        (
            "dashboards",
            dashboards::check(&checks.tools, &checks.deploy, &checks.scratch),
        ),
        ("Kubernetes", checks.kubernetes(&mut unchecked)),
    ];
    for what in unchecked {
        println!("      not checked: {what}");
    }
    let failed = outcomes.into_iter().filter_map(|(part, outcome)| {
        let error = outcome.err()?;
        Some(format!("{part}: {error:#}"))
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

struct Checks {
    deploy: PathBuf,
    /// A folder of this run's own.
    scratch: PathBuf,
    tools: Tools,
}

impl Checks {
    fn image(&self, unchecked: &mut Vec<String>) -> Result<()> {
        let mut hadolint = self.tools.command("hadolint");
        child::run(hadolint.arg(self.deploy.join("image/Dockerfile")))?;
        unchecked.push("that the image builds, which takes an engine".to_owned());
        Ok(())
    }

    /// Against the specification's schema; by the program itself where it is.
    fn compose(&self, unchecked: &mut Vec<String>) -> Result<()> {
        let folder = self.deploy.join("compose");
        let file = folder.join("compose.yaml");
        let mut schema = self.tools.command("check-jsonschema");
        schema.args(["--builtin-schema", "vendor.compose-spec"]);
        child::run(schema.arg(&file))?;
        if child::answer(child::command("docker").args(["compose", "version"])).is_none() {
            unchecked.push(
                "the compose file by `docker compose config`, which is not here: by its schema alone"
                    .to_owned(),
            );
            return Ok(());
        }
        let example = folder.join("env.example");
        let settings = std::fs::read_to_string(&example)
            .with_context(|| format!("cannot read {}", example.display()))?;
        let filled = self.scratch.join("env");
        std::fs::write(&filled, fill(&settings))?;
        for profile in ["replica-set", "sharded"] {
            let mut compose = child::command("docker");
            compose.args(["compose", "--profile", profile, "--env-file"]);
            compose.arg(&filled).arg("-f").arg(&file);
            child::run(compose.args(["config", "--quiet"]))?;
        }
        Ok(())
    }

    fn alerts(&self, unchecked: &mut Vec<String>) -> Result<()> {
        let folder = self.deploy.join("prometheus");
        for file in ["alerts.yml", "prometheus.yml"] {
            let kind = if file == "alerts.yml" {
                "rules"
            } else {
                "config"
            };
            child::run(
                self.tools
                    .promtool()
                    .args(["check", kind])
                    .arg(folder.join(file)),
            )?;
        }
        let tests = folder.join("alerts_test.yml");
        child::run(self.tools.promtool().args(["test", "rules"]).arg(tests))?;
        let discovering = folder.join("kubernetes.yml");
        let whole = self
            .tools
            .promtool()
            .args(["check", "config"])
            .arg(&discovering)
            .output()?;
        if whole.status.success() {
            return Ok(());
        }
        // Debian's is built without it.
        let told = String::from_utf8_lossy(&whole.stderr).into_owned();
        if !told.contains("kubernetes_sd_configs not found") {
            bail!("{}: {}", discovering.display(), told.trim());
        }
        unchecked.push(
            "how Prometheus finds nodes in Kubernetes, which this promtool knows nothing of: the rest of that file"
                .to_owned(),
        );
        let text = std::fs::read_to_string(&discovering)?;
        let rest = self.scratch.join("kubernetes.yml");
        std::fs::write(&rest, without_discovery(&text))?;
        std::fs::copy(folder.join("alerts.yml"), self.scratch.join("alerts.yml"))?;
        child::run(self.tools.promtool().args(["check", "config"]).arg(rest))
    }

    fn kubernetes(&self, unchecked: &mut Vec<String>) -> Result<()> {
        let mut manifests = yaml_files(&self.deploy.join("kubernetes"))?;
        manifests.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !NOT_MANIFESTS.contains(&name.as_ref())
        });
        // So that a folder that was moved is no success.
        if manifests.is_empty() {
            bail!("there are no manifests");
        }
        let mut validate = self.tools.command("kubernetes-validate");
        child::run(validate.args(["--strict", "--quiet"]).args(&manifests))?;
        println!("      {} files", manifests.len());
        unchecked.push("that a cluster takes the manifests, which takes a cluster".to_owned());
        Ok(())
    }
}

fn scratch(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.target.join("deployment");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = folder.read_dir();
    let listed = listed.with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = listed.map(|item| item.map(|item| item.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    paths.sort();
    Ok(paths)
}

/// What the example leaves to be filled in, filled in.
fn fill(settings: &str) -> String {
    let line = |line: &str| match line.strip_suffix('=') {
        Some(name) if !name.starts_with('#') => format!("{name}=filled\n"),
        _ => format!("{line}\n"),
    };
    settings.lines().map(line).collect()
}

/// The block that finds targets replaced by one target.
fn without_discovery(text: &str) -> String {
    let mut kept = String::new();
    let mut inside = None;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        if inside.is_some_and(|block| depth > block) {
            continue;
        }
        inside = None;
        if line.trim() == "kubernetes_sd_configs:" {
            inside = Some(depth);
            let blank = " ".repeat(depth);
            kept.push_str(&format!(
                "{blank}static_configs: [{{targets: [node:7701]}}]\n"
            ));
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_filled_in_is() {
        assert_eq!(fill("A=\n# B=\nC=x\n"), "A=filled\n# B=\nC=x\n");
    }

    #[test]
    fn only_the_discovery_is_left_out() {
        let text =
            "  - job_name: a\n    kubernetes_sd_configs:\n      - role: pod\n    relabel: b\n";
        assert_eq!(
            without_discovery(text),
            "  - job_name: a\n    static_configs: [{targets: [node:7701]}]\n    relabel: b\n"
        );
    }
}
