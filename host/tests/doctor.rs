//! `kith doctor` as an administrator runs it: on set-ups that work, also beside a running server, and on broken ones,
//! each told in one line of its own.

use std::path::Path;

use kith::config::{BusEngine, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::conformance::bus::servers::{Kind as Redis, Servers};
use crate::crash::process::{ServerProcess, program};
use crate::media::stores::Bucket;
use crate::search::servers::{Kind, fresh_prefix, shared};

/// Exit status, standard output, standard error.
type Told = (Option<i32>, String, String);

async fn doctor(data: &Path, settings: &[(&str, &str)], flags: &[&str]) -> Told {
    let run = tokio::process::Command::new(program())
        .arg("doctor")
        .arg("--data")
        .arg(data)
        .args(flags)
        .envs(settings.iter().copied())
        .output();
    let output = run.await.expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), printed, said)
}

/// One line on stderr, with these words in it.
fn is_ill((status, printed, said): &Told, words: &[&str]) {
    assert_eq!(*status, Some(1), "{printed}{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// An address where nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// An address where every request gets the same answer, or none when it is empty.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(1..) = socket.read(&mut bytes).await {
                    if !answer.is_empty() && socket.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

fn searching(url: &str) -> [(&'static str, String); 2] {
    [
        ("KITH_SEARCH__ENGINE", "elasticsearch".to_owned()),
        ("KITH_SEARCH__URL", url.to_owned()),
    ]
}

async fn doctor_of_search(data: &Path, url: &str, prefix: &str) -> Told {
    let settings = searching(url);
    let mut settings: Vec<_> = settings.iter().map(|(name, url)| (*name, &**url)).collect();
    settings.push(("KITH_SEARCH__PREFIX", prefix));
    doctor(data, &settings, &[]).await
}

#[tokio::test]
async fn a_set_up_that_works_is_told_part_by_part() {
    let lease = shared(Kind::OpenSearch).await;
    let server = ServerProcess::searching_at(&lease.server.url(), &fresh_prefix()).await;
    let (status, printed, said) = server.run(&["doctor"]).await;
    assert_eq!((status, &*said), (Some(0), ""), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("store: embedded"), "{printed}");
    assert!(lines[0].ends_with("a server uses it"), "{printed}");
    assert!(lines[1].starts_with("bus: local"), "{printed}");
    assert!(lines[2].starts_with("media: local"), "{printed}");
    assert!(lines[3].starts_with("search: opensearch 2."), "{printed}");

    let bucket = Bucket::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (status, printed, _) = doctor(
        &folder.path().join("none"),
        &bucket.environment(),
        &["--json"],
    )
    .await;
    let parts: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(status, Some(0), "{parts}");
    let media = json!({"ok": true, "about": "s3, s3://pictures/kith"});
    assert_eq!(parts["media"], media);
    assert_eq!(bucket.objects("kith/kept"), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_list_in_the_environment_is_with_commas_or_as_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let trusting = async |keys: &str| {
        let settings = [("KITH_PLUGINS__TRUSTED_KEYS", keys)];
        doctor(&folder.path().join("none"), &settings, &[]).await
    };
    for keys in [key, &format!("{key},{key}"), &format!("[\"{key}\"]"), "[]"] {
        let (status, _, said) = trusting(keys).await;
        assert_eq!((status, &*said), (Some(0), ""), "{keys}");
    }
    let told = trusting(&format!("[{key}]")).await;
    is_ill(&told, &["KITH_PLUGINS__TRUSTED_KEYS: "]);
}

#[tokio::test]
async fn what_is_wrong_with_search_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let told = doctor(data, &[("KITH_SEARCH__ENGINE", "elasticsearch")], &[]).await;
    is_ill(&told, &["search.url"]);

    let url = nowhere().await;
    let told = doctor_of_search(data, &url, "kith").await;
    is_ill(&told, &["search: cannot reach", &url, "refused"]);

    let told = doctor_of_search(data, &answering("").await, "kith").await;
    is_ill(&told, &["search: ", "did not answer within 3s"]);

    let stranger = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let told = doctor_of_search(data, &answering(stranger).await, "kith").await;
    is_ill(&told, &["search: ", "no JSON"]);

    let locked = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 12\r\n\r\nUnauthorized";
    let url = answering(locked).await.replace("//", "//kith:secret@");
    let told = doctor_of_search(data, &url, "kith").await;
    is_ill(&told, &["search: ", "does not let us: Unauthorized"]);
    assert!(!told.2.contains("secret"), "{}", told.2);

    let lease = shared(Kind::Elasticsearch).await;
    let prefix = fresh_prefix();
    let foreign = format!("{}/{prefix}-messages", lease.server.url());
    let made = reqwest::Client::new().put(foreign).send().await;
    assert!(made.expect("an answer").status().is_success());
    let told = doctor_of_search(data, &lease.server.url(), &prefix).await;
    is_ill(&told, &["search: ", "search.prefix"]);
}

#[tokio::test]
async fn what_is_wrong_with_media_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = Bucket::start().await;
    let good = bucket.environment();
    let with = |name: &str, value: &str| {
        let mut settings: Vec<(String, String)> = good
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        settings.push((name.to_owned(), value.to_owned()));
        settings
    };
    for (name, value, words) in [
        ("KITH_MEDIA__SECRET_KEY", "wrong", ["cannot write", "403"]),
        ("KITH_MEDIA__URL", "s3://nobody", ["no such", "bucket"]),
        (
            "KITH_MEDIA__ENDPOINT",
            &nowhere().await,
            ["cannot write", "unavailable"],
        ),
    ] {
        let settings = with(name, value);
        let settings: Vec<_> = settings.iter().map(|(n, v)| (&**n, &**v)).collect();
        let told = doctor(folder.path(), &settings, &[]).await;
        is_ill(&told, &["media: ", words[0], words[1]]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_store_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    is_ill(&doctor(&file, &[], &[]).await, &["store: cannot write in"]);

    let mut server = ServerProcess::start().await;
    server.user("ann").await;
    server.stop().await;
    let data = server.data();
    let (status, printed, _) = doctor(&data, &[], &[]).await;
    assert_eq!(status, Some(0), "{printed}");
    assert!(!printed.contains("a server uses it"), "{printed}");
    let accounts = data.join("accounts.sqlite");
    let whole = std::fs::read(&accounts).expect("the accounts");
    let mut broken = whole.clone();
    broken[4096..8192].fill(7);
    std::fs::write(&accounts, broken).expect("written");
    is_ill(&doctor(&data, &[], &[]).await, &["store: ", "accounts"]);
    std::fs::write(&accounts, whole).expect("written");
    assert_eq!(doctor(&data, &[], &[]).await.0, Some(0));
}

/// What the doctor says about a bus: its word, or what is wrong.
async fn bus_of(url: &str) -> Result<String, String> {
    let mut config = Config::default();
    let folder = tempfile::tempdir().expect("a folder");
    config.server.data = folder.path().join("none").display().to_string();
    config.bus.engine = BusEngine::Redis;
    config.bus.url = url.to_owned();
    let findings = kith::app::doctor::examine(&config).await;
    let bus = findings.into_iter().find(|finding| finding.part == "bus");
    let found = bus.expect("it is tried").found;
    found.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn the_bus_is_tried_as_the_server_would_use_it() {
    for kind in [Redis::Single, Redis::Sentinel, Redis::Cluster] {
        let servers = Servers::start(kind).await;
        let found = bus_of(&servers.url()).await.expect("it is well");
        assert!(found.starts_with("redis 7."), "{kind:?}: {found}");
        assert!(found.contains("127.0.0.1:"), "{found}");
    }
    let nobody = nowhere().await.replace("http://", "redis://ann:secret@");
    let ill = bus_of(&nobody).await.expect_err("nobody answers");
    assert!(ill.contains("cannot be reached"), "{ill}");
    assert!(!ill.contains("secret"), "{ill}");
    let servers = Servers::start(Redis::Single).await;
    let url = servers.url().replace("redis://", "redis://nobody:secret@");
    let ill = bus_of(&url).await.expect_err("there is no such user");
    assert!(ill.contains("the bus refuses"), "{ill}");
    assert!(!ill.contains("secret"), "{ill}");
    let folder = tempfile::tempdir().expect("a folder");
    let told = doctor(folder.path(), &[("KITH_BUS__ENGINE", "redis")], &[]).await;
    is_ill(&told, &["store.engine"]);
}
