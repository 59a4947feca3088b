//! Servers that tests start, in the user's cache: the jars of real search servers, by Maven, and a stand-in for MongoDB where
//! there is no real one, by pip. Got once; what is there is not asked for again. What starts them stands beside the tests
//! (`host/tests/search/servers.rs`, `host/tests/mongo/server.rs`).

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
/// What speaks MongoDB's protocol in tests, as its registry calls it and as its folder is called.
const STAND_IN: (&str, &str) = ("SecantusDB==0.7.0b3", "secantusdb-0.7.0b3");

/// Makes sure they are there.
pub fn get(root: &Path) -> Result<()> {
    let cache = cache().context("HOME is not set: there is no cache for the tests' servers")?;
    mongodb(&cache)?;
    java()?;
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

/// A real server is named by `KITH_TEST_MONGODB` or stands on the PATH; else the stand-in is got.
fn mongodb(cache: &Path) -> Result<()> {
    // Tests that kill their server need one to start, beside one that is named by its URL.
    let named = std::env::var("KITH_TEST_MONGODB").unwrap_or_default();
    if !named.is_empty() && !named.starts_with("mongodb") {
        println!("      MongoDB is what KITH_TEST_MONGODB names");
        return Ok(());
    }
    if child::command("mongod").arg("--version").output().is_ok() {
        println!("      MongoDB is on the PATH");
        return Ok(());
    }
    let (package, name) = STAND_IN;
    let programs = cache.join(name);
    if programs.is_dir() {
        println!("      {name} is there");
        return Ok(());
    }
    println!("      getting {name}, which stands in for MongoDB");
    std::fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    // Beside it first: a folder of that name is complete.
    let part = cache.join(format!("{name}.part"));
    if part.exists() {
        std::fs::remove_dir_all(&part)?;
    }
    child::run(child::command("python3").args(["-m", "venv"]).arg(&part))
        .context("`python3 -m venv` failed: `apt-get install python3-venv`")?;
    let pip = ["-m", "pip", "install", "--quiet", package];
    child::run(child::command(part.join("bin/python3")).args(pip))
        .with_context(|| format!("pip could not get {package}"))?;
    std::fs::rename(&part, &programs)?;
    Ok(())
}

/// What `cargo dev --nodes N` starts as MongoDB.
pub enum Mongodb {
    /// A `mongod`.
    Real(PathBuf),
    /// The folder of what stands in for one.
    StandIn(PathBuf),
}

/// Once it was got. A URL in `KITH_TEST_MONGODB` is somebody's server, and not for trying things out.
pub fn program_of_mongodb() -> Result<Mongodb> {
    let named = std::env::var("KITH_TEST_MONGODB").unwrap_or_default();
    if !named.is_empty() && !named.starts_with("mongodb") {
        return Ok(Mongodb::Real(named.into()));
    }
    if child::on_path("mongod") {
        return Ok(Mongodb::Real("mongod".into()));
    }
    let folder = cache().context("HOME is not set")?.join(STAND_IN.1);
    match folder.is_dir() {
        true => Ok(Mongodb::StandIn(folder)),
        false => bail!("neither `mongod` nor {} is there", folder.display()),
    }
}

/// The recipe and the jars of Elasticsearch, once they were got.
pub fn elasticsearch(root: &Path) -> Result<(PathBuf, PathBuf)> {
    let recipe = root.join(RECIPES[0]);
    let jars = cache().context("HOME is not set")?.join(name(&recipe)?);
    Ok((recipe, jars))
}

/// The user's cache of such servers, as the tests look for it.
pub fn cache() -> Option<PathBuf> {
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
