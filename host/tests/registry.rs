//! The registry of plugins as authors and administrators use it, by the command line: signatures, layouts, registries,
//! pruning. `registry/` has what each is about; here is what they share.

mod archives;
mod damaged;
mod layouts;
mod pruning;
mod pulling;
mod remote;
mod signing;

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::crash::process::program;
use crate::support::{BOOTSTRAP, TestServer, plugins_folder};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// What a command that did its work printed.
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// As `done`, read as JSON.
    pub fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Why a command was refused, in one sentence of its own.
    pub fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{self:?}");
        assert!(self.err.starts_with("kith: "), "{self:?}");
        self.err
    }
}

/// Runs `kith plugin` against a server.
pub async fn plugin(server: &TestServer, arguments: &[&str]) -> Ended {
    plugin_with(server, arguments, &[]).await
}

/// As `plugin`, with more in the environment.
pub async fn plugin_with(
    server: &TestServer,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Ended {
    let admin = format!("http://{}", server.app().admin_address);
    let mut command = Command::new(program());
    command.arg("plugin").args(arguments);
    command.env("KITH_ADMIN_URL", admin);
    command.env("KITH_ADMIN_TOKEN", BOOTSTRAP);
    for name in ["USER", "PASSWORD", "TOKEN"] {
        command.env_remove(format!("KITH_REGISTRY_{name}"));
    }
    command.envs(environment.iter().copied());
    let output = command.kill_on_drop(true).output().await;
    let output = output.expect("the program runs");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A first-party component.
pub fn component(name: &str) -> Vec<u8> {
    let file = plugins_folder().join(format!("{name}.wasm"));
    std::fs::read(file).expect("the plugin")
}

/// The same plugin and version as another binary: one more custom section.
pub fn rebuilt(component: &[u8]) -> Vec<u8> {
    [component, b"\0\x06\x04mark!"].concat()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Every version the server has, as `name version state`.
pub async fn versions(server: &TestServer) -> Vec<String> {
    let listed = plugin(server, &["list", "--json"]).await.json();
    let rows = listed.as_array().expect("a list").iter();
    rows.map(|row| {
        let field = |name: &str| row[name].as_str().expect("a text").to_owned();
        [field("name"), field("version"), field("state")].join(" ")
    })
    .collect()
}

/// What the audit log has of something done with a version, as `name@digest`.
pub fn audited(server: &TestServer, action: &str) -> Vec<String> {
    let tables = rusqlite::Connection::open(server.data().join("accounts.sqlite"));
    let tables = tables.expect("the tables");
    let select = "SELECT subject, detail FROM audit WHERE action = ?1 ORDER BY rowid";
    let mut select = tables.prepare(select).expect("a query");
    let lines = select.query_map([action], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    });
    let lines = lines.expect("lines").map(|line| {
        let (subject, detail) = line.expect("a line");
        assert!(!subject.contains('@'), "{subject}");
        let detail: Value = serde_json::from_str(&detail).expect("JSON");
        assert!(detail["version"].is_string(), "{detail}");
        format!("{subject}@{}", detail["digest"].as_str().expect("a digest"))
    });
    lines.collect()
}
