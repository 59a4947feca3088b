//! What a message costs in counts: allocations and bytes allocated by the server, with the first plugins on. Counts do not
//! depend on the machine, so they may not grow unseen. A binary of its own, because it counts for the whole process.
//! With `KITH_HEAP` set to a file's name, what a test counts is also written there by call site, for dhat's viewer.

mod connections;

mod frames;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kith::app::{App, Launch};
use kith::bench::link::Link;
use kith::bench::people::{User, connect, introduce};
use kith::bench::speech::{Address, Heard, Speech, text};
use kith::client::{Device, Rest};
use kith::config::{Config, SearchEngine};

#[global_allocator]
static COUNTING: dhat::Alloc = dhat::Alloc;

const MESSAGES: u64 = 500;
/// What was counted when this was last changed on purpose, and a tenth.
const ALLOCATIONS_MOST: f64 = 78.0;
const BYTES_MOST: f64 = 14_200.0;

/// Counting is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts from here on until it is dropped.
fn count() -> dhat::Profiler {
    match std::env::var("KITH_HEAP") {
        Ok(file) => dhat::Profiler::builder()
            .file_name(file)
            .trim_backtraces(Some(64))
            .build(),
        Err(_) => dhat::Profiler::builder().testing().build(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The server's own tasks are all that allocates between two counts: the clients reuse their buffers.
#[test]
fn a_message_allocates_no_more_than_it_did() {
    let _alone = alone();
    let runtime = runtime();
    let data = tempfile::tempdir().expect("a folder");
    let app = runtime.block_on(start(&data));
    let users = runtime.block_on(users(app.address, 2));
    let mut one = connect(app.address, &users[0]).expect("connects");
    let mut other = connect(app.address, &users[1]).expect("connects");
    let conversation = introduce(&mut one, &mut other, &users[1].id).expect("talks");
    let to = Address {
        conversation,
        ..Address::default()
    };
    let frames: Vec<Vec<u8>> = (1..=2 * MESSAGES)
        .map(|number| {
            let mut frame = Vec::new();
            let said = text(number, 200, kith::bench::people::FILLER);
            Speech::Kith.message(&to, 7, number, &said, &mut frame);
            frame
        })
        .collect();
    let (warm, counted) = frames.split_at(MESSAGES as usize);
    talk(&mut one, &mut other, warm);
    let profiler = count();
    talk(&mut one, &mut other, counted);
    let stats = dhat::HeapStats::get();
    drop(profiler);
    let allocations = stats.total_blocks as f64 / MESSAGES as f64;
    let bytes = stats.total_bytes as f64 / MESSAGES as f64;
    println!("{allocations:.1} allocations and {bytes:.0} bytes per message");
    assert!(
        allocations <= ALLOCATIONS_MOST,
        "{allocations:.1} allocations per message"
    );
    assert!(
        bytes <= BYTES_MOST,
        "{bytes:.0} bytes allocated per message"
    );
    runtime.block_on(app.drain());
}

/// Each message is acknowledged and delivered before the next.
fn talk(one: &mut Link, other: &mut Link, frames: &[Vec<u8>]) {
    for frame in frames {
        one.queue(frame);
        one.flush().expect("writes");
        until(one, |heard| matches!(heard, Heard::Ack(_)));
        until(other, |heard| matches!(heard, Heard::Delivery(_)));
    }
}

fn until(link: &mut Link, wanted: impl Fn(&Heard) -> bool) {
    let mut found = false;
    while !found {
        link.receive_some(|payload| {
            let heard = Speech::Kith.hear(payload);
            assert!(!matches!(heard, Heard::Refused(_)), "{heard:?}");
            found |= wanted(&heard);
        })
        .expect("reads");
    }
}

async fn start(data: &tempfile::TempDir) -> App {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plugins = std::env::var("KITH_PLUGINS_DIR").unwrap_or_else(|_| {
        let test = std::env::current_exe().expect("the test's own path");
        let profile = test.ancestors().nth(2).expect("the profile's folder");
        profile.join("plugins").display().to_string()
    });
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.server.data = data.path().display().to_string();
    config.server.plugins = plugins;
    config.auth.argon2_memory_kib = 8;
    config.limits.rate = false;
    // What follows a commit at its own pace allocates beside the messages, not on their path.
    config.search.engine = SearchEngine::None;
    let launch = Launch {
        bootstrap_token: None,
        clock: None,
    };
    let app = App::start(&config, launch)
        .await
        .expect("the server starts");
    let plugins = app.rollout.list().await.expect("a list");
    let serving = plugins.iter().filter(|row| row["state"] == "active");
    assert_eq!(
        serving.count(),
        4,
        "every plugin of the message's path serves"
    );
    app
}

async fn users(address: SocketAddr, count: usize) -> Vec<User> {
    let rest = Rest::new(&format!("http://{address}")).expect("a client");
    let device = Device::new("bench", "bot", "costs");
    let mut users = Vec::new();
    for number in 0..count {
        let name = &format!("user{number}");
        let user = rest
            .register(name, "password-1", None)
            .await
            .expect("registers");
        let tokens = rest
            .sign_in(name, "password-1", &device)
            .await
            .expect("signs in");
        users.push(User {
            id: user["id"].as_str().expect("an id").to_owned(),
            token: tokens.access_token,
        });
    }
    users
}
