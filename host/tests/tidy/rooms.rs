//! Import directions: which part may not know which, as `ARCHITECTURE.md` promises under "Rooms that are kept apart".
//! It reads the paths a file names, in `use` and in code, and knows nothing of what they mean.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::repository::{File, Repository};
use super::rust;

/// A part of the tree and what its code may not name. `places` are beginnings of paths of files.
struct Room {
    places: &'static [&'static str],
    never: &'static [&'static str],
    because: &'static str,
}

/// Crates that are storage, or the way to a store.
const ENGINES: [&str; 8] = [
    "elasticsearch",
    "fjall",
    "mongodb",
    "redis",
    "rusqlite",
    "rusty_s3",
    "s3s",
    "tantivy",
];

const ROOMS: &[Room] = &[
    Room {
        places: &["host/src/gateway"],
        never: &[
            "elasticsearch",
            "fjall",
            "mongodb",
            "redis",
            "rusqlite",
            "tantivy",
            "wasmtime",
        ],
        because: "the gateway knows no storage and no engine",
    },
    Room {
        places: &["host/src/journey"],
        never: &[
            "axum",
            "hyper",
            "hyper_util",
            "tokio_tungstenite",
            "tungstenite",
            "tokio::net",
            "std::net",
            "wasmtime",
            "elasticsearch",
            "fjall",
            "mongodb",
            "redis",
            "rusqlite",
            "crate::gateway",
        ],
        because: "the journey knows no sockets, no WebAssembly and no database",
    },
    Room {
        places: &["host/src/store"],
        never: &[
            "axum",
            "hyper",
            "tokio_tungstenite",
            "wasmtime",
            "crate::gateway",
        ],
        because: "stores know neither who asks nor what decides",
    },
    Room {
        places: &["host/src/store/log"],
        never: &["fjall", "mongodb", "redis", "rusqlite", "tokio"],
        because: "what a change does is the same whichever engine keeps it",
    },
    Room {
        places: &["host/src/bus"],
        never: &[
            "axum",
            "hyper",
            "fjall",
            "rusqlite",
            "crate::gateway",
            "crate::journey",
            "crate::plugins",
            "crate::store",
        ],
        because: "the bus knows no store, and nobody who says something",
    },
    Room {
        places: &["host/src/oci"],
        never: &[
            "axum",
            "hyper",
            "wasmtime",
            "fjall",
            "rusqlite",
            "crate::cli",
            "crate::gateway",
            "crate::plugins",
            "crate::store",
        ],
        because: "OCI artifacts know no server of Kith and no store",
    },
    Room {
        places: &["host/src/media"],
        never: &[
            "axum",
            "hyper",
            "wasmtime",
            "fjall",
            "rusqlite",
            "crate::gateway",
        ],
        because: "media know no HTTP server and no database",
    },
    Room {
        places: &[
            "host/src/content",
            "host/src/conversation",
            "host/src/entry",
            "host/src/ids",
            "host/src/refusal",
        ],
        never: &[
            "tokio",
            "axum",
            "std::fs",
            "std::net",
            "fjall",
            "rusqlite",
            "crate::gateway",
            "crate::store",
        ],
        because: "domain types have no I/O and no async",
    },
    Room {
        places: &["host/runtime/"],
        never: &[
            "kith",
            "axum",
            "hyper",
            "tokio_tungstenite",
            "fjall",
            "rusqlite",
        ],
        because: "the plugin runtime knows the contract's types and nothing else of Kith",
    },
    Room {
        places: &["sdk/rust/", "plugins/"],
        never: &["kith", "kith_runtime", "wasmtime", "tokio"],
        because: "plugins know the contract alone, and nothing there waits",
    },
];

/// The only file that names concrete adapters, with the files below it.
const COMPOSITION_ROOT: &str = "host/src/app.rs";

/// A connection that the adapters of one engine share: files whose names go on from its own may name it.
const CONNECTIONS: [(&str, &str); 1] = [("store", "mongo")];

fn composes(file: &str) -> bool {
    file == COMPOSITION_ROOT || file.starts_with("host/src/app/")
}

pub fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = BTreeMap::new();
    for file in repository.rust() {
        let paths = rust::paths(&rust::code(&file.text));
        for room in ROOMS {
            let inside = room.places.iter().any(|place| stands_in(file, place));
            if inside {
                enter(room, file, &paths, &mut findings);
            }
        }
        named.insert(file.path.as_str(), paths);
    }
    adapters(&named, &mut findings);
    findings
}

/// `host/src/store` holds `host/src/store.rs` and `host/src/store/…`, but not `host/src/storefront.rs`.
fn stands_in(file: &File, place: &str) -> bool {
    file.path
        .strip_prefix(place)
        .is_some_and(|rest| place.ends_with('/') || rest.starts_with('/') || rest == ".rs")
}

fn enter(room: &Room, file: &File, paths: &[(usize, String)], findings: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for (line, path) in paths {
        for never in room.never {
            if begins_with(path, never) && told.insert((*line, *never)) {
                let text = format!("names {never}, but {}", room.because);
                findings.push(Finding::new(&file.path, *line, text));
            }
        }
    }
}

fn begins_with(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What names an engine below a seam's folder is an adapter: only itself and the composition root may name it.
fn adapters(named: &BTreeMap<&str, Vec<(usize, String)>>, findings: &mut Vec<Finding>) {
    let mut adapters: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (file, paths) in named {
        let Some(inner) = file.strip_prefix("host/src/") else {
            continue;
        };
        let Some((line, path)) = paths
            .iter()
            .find(|(_, path)| ENGINES.iter().any(|engine| begins_with(path, engine)))
        else {
            continue;
        };
        let mut parts = inner.split('/');
        match (parts.next(), parts.next()) {
            (Some(seam), Some(adapter)) => {
                adapters.insert((seam, adapter.trim_end_matches(".rs")));
            }
            _ if composes(file) => {}
            _ => findings.push(Finding::new(
                file,
                *line,
                format!("names {path}: engines are used below the folder of their seam only"),
            )),
        }
    }
    for (file, paths) in named {
        let Some(inner) = file.strip_prefix("host/src/") else {
            continue;
        };
        for (seam, adapter) in &adapters {
            let own = format!("{seam}/{adapter}");
            let inside = inner
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
            if inside || composes(file) {
                continue;
            }
            let connects =
                CONNECTIONS.contains(&(seam, adapter)) && inner.starts_with(&format!("{own}_"));
            if connects {
                continue;
            }
            let whole = format!("crate::{seam}::{adapter}");
            let sibling = format!("super::{adapter}");
            let beside = inner.starts_with(&format!("{seam}/"));
            for (line, path) in paths {
                if begins_with(path, &whole) || beside && begins_with(path, &sibling) {
                    let text = format!("names the adapter {path}; only {COMPOSITION_ROOT} may");
                    findings.push(Finding::new(file, *line, text));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(path, text)| File::made_up(path, text))
            .collect();
        check(&Repository::of(files))
            .iter()
            .map(|finding| format!("{}:{}", finding.path, finding.line))
            .collect()
    }

    #[test]
    fn a_wrong_import_is_found_in_every_spelling() {
        for text in [
            "use fjall::Database;",
            "use fjall;",
            "fn f() { let d = fjall::Database::open(); }",
            "use tokio::{sync::mpsc, net::TcpStream};",
            "use crate::{entry, gateway::Gateway};",
        ] {
            let found = findings(&[("host/src/journey/admit.rs", text)]);
            assert!(
                found.contains(&"host/src/journey/admit.rs:1".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_only_sounds_alike_is_not_found() {
        let fine =
            "use kith_runtime::x; use tokio::sync::mpsc; // fjall::Database\nuse my_fjall::A;";
        assert!(findings(&[("host/src/journey.rs", fine)]).is_empty());
        assert!(findings(&[("host/runtime/src/lib.rs", "use kith_plugin::A;")]).is_empty());
        assert!(findings(&[("host/src/journeyman.rs", "use axum::A;")]).is_empty());
    }

    #[test]
    fn only_the_composition_root_names_adapters() {
        let log = ("host/src/store/diary.rs", "use fjall::Database;");
        let tables = ("host/src/store/tables.rs", "use rusqlite::Connection;");
        let app = (
            COMPOSITION_ROOT,
            "use crate::store::{diary::Log, tables::Tables};",
        );
        let inner = (
            "host/src/store/diary/write.rs",
            "use crate::store::diary::Log;",
        );
        assert!(findings(&[log, tables, app, inner]).is_empty());
        let sibling = (
            "host/src/store/tables.rs",
            "use rusqlite::X;\nuse super::diary::Log;",
        );
        assert_eq!(
            findings(&[log, sibling, app]),
            ["host/src/store/tables.rs:2"]
        );
        let connection = ("host/src/store/mongo.rs", "use mongodb::Client;");
        let text = "use crate::store::mongo::Mongo;\nuse mongodb::bson;";
        let of_it = ("host/src/store/mongo_log/docs.rs", text);
        assert!(findings(&[connection, of_it]).is_empty());
        let stranger = (
            "host/src/store/tables.rs",
            "use crate::store::mongo::Mongo;",
        );
        assert_eq!(
            findings(&[connection, stranger]),
            ["host/src/store/tables.rs:1"]
        );
        let outsider = ("host/src/delivery.rs", "use crate::store::diary::Log;");
        assert_eq!(findings(&[log, outsider]), ["host/src/delivery.rs:1"]);
        let loose = ("host/src/delivery.rs", "use fjall::Database;");
        assert_eq!(findings(&[loose]), ["host/src/delivery.rs:1"]);
    }
}
