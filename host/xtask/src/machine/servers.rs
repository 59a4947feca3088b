//! Real search servers that tests start: their jars, by Maven, in the user's cache. Got once; what is there is not asked
//! for again. The recipes, and what starts the servers, stand beside the tests (`host/tests/search/servers.rs`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::child;

/// Folders of recipes, below the repository's top.
const RECIPES: [&str; 2] = [
    "host/tests/search/servers/elasticsearch",
    "host/tests/search/servers/opensearch",
];
/// The servers of these versions run on 17, and need what 24 has no more.
const JAVA: std::ops::Range<u32> = 17..24;

/// Makes sure the jars are there.
pub fn get(root: &Path) -> Result<()> {
    java()?;
    let cache = cache().context("HOME is not set: there is no cache for the search servers")?;
    for recipe in RECIPES {
        let recipe = root.join(recipe);
        let name = name(&recipe)?;
        let jars = cache.join(&name);
        if jars.is_dir() {
            println!("      {name} is there");
            continue;
        }
        println!("      getting {name}, some 50 MB of jars");
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make {}", cache.display()))?;
        // Beside it first: a folder of that name is complete.
        let part = cache.join(format!("{name}.part"));
        if part.exists() {
            std::fs::remove_dir_all(&part)?;
        }
        let copied = child::run(
            child::command("mvn")
                .args(["-q", "-B", "-f"])
                .arg(recipe.join("pom.xml"))
                .arg("dependency:copy-dependencies")
                .arg(format!("-DoutputDirectory={}", part.display())),
        );
        copied.with_context(|| format!("Maven could not get {name}"))?;
        std::fs::rename(&part, &jars)?;
    }
    Ok(())
}

/// The user's cache of such servers, as the tests look for it.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    Some(cache?.join("kith/servers"))
}

/// `elasticsearch-7.10.2.0`: the recipe's folder and the version it asks for.
fn name(recipe: &Path) -> Result<String> {
    let pom = recipe.join("pom.xml");
    let text =
        std::fs::read_to_string(&pom).with_context(|| format!("cannot read {}", pom.display()))?;
    let version =
        asked_version(&text).with_context(|| format!("no version in {}", pom.display()))?;
    let folder = recipe.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{folder}-{version}"))
}

fn asked_version(pom: &str) -> Option<&str> {
    let (_, rest) = pom.rsplit_once("<version>")?;
    Some(rest.split_once("</version>")?.0)
}

fn java() -> Result<()> {
    let told = child::command("java")
        .arg("-version")
        .output()
        .context("`java` does not start")?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let first = told.lines().next().unwrap_or_default();
    println!("      {first}");
    match major(first) {
        Some(version) if JAVA.contains(&version) => Ok(()),
        _ => bail!(
            "the search servers of the tests run on Java {} to {}: `apt-get install --no-install-recommends openjdk-17-jre-headless`, \
             and put it first on the PATH",
            JAVA.start,
            JAVA.end - 1
        ),
    }
}

/// 17 of `openjdk version "17.0.15" 2025-04-15`.
fn major(told: &str) -> Option<u32> {
    let version = told.split('"').nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_are_told_apart() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(major("java version \"1.8.0_202\""), Some(1));
        assert_eq!(major("command not found"), None);
    }

    #[test]
    fn recipes_say_which_version_they_want() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for recipe in RECIPES {
            let name = name(&root.join(recipe)).expect("a version");
            assert!(name.ends_with(".0") && name.contains("search-"), "{name}");
        }
    }
}
