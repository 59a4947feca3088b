//! Very many plugins that are hardly ever called: what an idle one costs at start and in memory, and what its first call
//! waits for. Each test starts the built program, so that nothing else is measured; the figures are printed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::crash::process::{Launch, ServerProcess};
use crate::support::{TestSocket, TestUser};

/// What stands for the number in the guest's binary.
const MARK: &[u8] = b"q00000";
/// Versions called for the first time in a test.
const FIRST_CALLS: usize = 100;
/// CPU time of a start that one more plugin may take.
const START_OF_AN_IDLE_ONE: Duration = Duration::from_micros(200);
/// Preparing so many for the first time takes as long as it takes.
const FIRST_START: Duration = Duration::from_secs(3600);

/// The one component that is patched, built once a run.
fn component() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/dormant");
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dormant.wasm");
        kith::guest::build(&folder, Some(&out), None, &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    })
}

/// The component of a number: another binary, another plugin, another command.
fn numbered(number: usize) -> Vec<u8> {
    let mut bytes = component().to_vec();
    let name = format!("q{number:05}");
    let places: Vec<usize> = bytes
        .windows(MARK.len())
        .enumerate()
        .filter_map(|(at, found)| (found == MARK).then_some(at))
        .collect();
    assert!(!places.is_empty(), "the mark is in the binary");
    for at in places {
        bytes[at..at + MARK.len()].copy_from_slice(name.as_bytes());
    }
    bytes
}

/// So many components in a folder.
fn many(count: usize) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 1..=count {
        let file = folder.path().join(format!("{number:05}.wasm"));
        std::fs::write(file, numbered(number)).expect("written");
    }
    folder
}

/// A server with so many plugins active, none of which was called since it started again.
struct Crowd {
    server: ServerProcess,
    socket: TestSocket,
    ann: TestUser,
    bob: TestUser,
    /// From the start of the process until it serves, the least of three times: CPU time, and by the wall clock.
    started: (Duration, Duration),
    count: usize,
    sent: usize,
    _components: TempDir,
}

impl Crowd {
    async fn of(count: usize, environment: Vec<(&'static str, String)>) -> Self {
        let components = tokio::task::spawn_blocking(move || many(count));
        let components = components.await.expect("the components");
        let launch = Launch {
            plugins: components.path().to_owned(),
            environment,
            patience: FIRST_START,
            ..Launch::searching("none")
        };
        let mut server = ServerProcess::with(launch).await;
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let mut starts = Vec::new();
        for _ in 0..3 {
            server.stop().await;
            let began = Instant::now();
            server.restart().await;
            starts.push((cpu(server.pid()), began.elapsed()));
        }
        starts.sort_unstable();
        let socket = server.session(&ann).await;
        Self {
            server,
            socket,
            ann,
            bob,
            started: starts[0],
            count,
            sent: 0,
            _components: components,
        }
    }

    /// Types the command of a number; how long the answer took.
    async fn call(&mut self, number: usize) -> Duration {
        self.sent += 1;
        let (id, text) = (format!("n{}", self.sent), format!("/q{number:05}"));
        let began = Instant::now();
        let answer = self.socket.send_text(&self.bob.id, &id, &text).await;
        let took = began.elapsed();
        let said = &answer["ok"]["reply"]["text"];
        assert_eq!(said, &format!("dormant-q{number:05}"), "{answer}");
        took
    }

    async fn metric(&self, name: &str) -> f64 {
        let metrics = self.server.metrics().await;
        *metrics
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {metrics:?}"))
    }

    fn anonymous(&self) -> usize {
        anonymous(self.server.pid())
    }
}

/// User and system time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, after) = stat.rsplit_once(')').expect("its name");
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |field: &str| field.parse::<u64>().expect("ticks");
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis(10 * (ticks(fields[11]) + ticks(fields[12])))
}

/// Anonymous memory of a process, bytes.
fn anonymous(pid: u32) -> usize {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its memory");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("a number") * 1024
}

fn maps(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    maps.lines().count()
}

fn percentile(sorted: &[Duration], of_100: usize) -> Duration {
    sorted[(sorted.len() * of_100 / 100).min(sorted.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_costs_neither_time_at_start_nor_memory() {
    // What was freed is given back at once: what the allocator keeps for later is of no plugin.
    let frugal = || vec![("MIMALLOC_PURGE_DELAY", "0".to_owned())];
    let mut few = Crowd::of(100, frugal()).await;
    let (few_started, few_bytes) = (few.started, few.anonymous());
    assert_eq!(few.metric("kith_plugins_resident").await, 0.0);
    tell_first_calls(&mut few).await;
    drop(few);
    let mut crowd = Crowd::of(1_000, frugal()).await;
    assert_eq!(
        crowd.metric("kith_plugins_resident").await,
        0.0,
        "nothing that nobody called is in memory"
    );
    let bytes = crowd.anonymous();
    let each = bytes.saturating_sub(few_bytes) / 900;
    println!(
        "start with 100 active plugins: {few_started:?} (CPU, wall); with 1,000: {:?}; \
         {few_bytes} and {bytes} bytes, {each} an idle plugin",
        crowd.started
    );
    // A part of what is counted is the allocator's: pages that are not quite empty.
    assert!(each < 48 << 10, "an idle plugin takes {each} bytes");
    // The stored plan is read, and that is all: some 60 us each as tests are built, where loading or compiling one takes
    // milliseconds. Even CPU time grows with what else a machine does: 110 us at three times what its cores can do.
    let most = few_started.0 + 900 * START_OF_AN_IDLE_ONE;
    assert!(
        crowd.started.0 < most,
        "{few_started:?}, {:?}",
        crowd.started
    );
    tell_first_calls(&mut crowd).await;
    let resident = crowd.metric("kith_plugins_resident").await;
    assert_eq!(
        resident, FIRST_CALLS as f64,
        "what was called, and nothing else"
    );
}

/// Prints what the first and the second call of a cold plugin take among so many.
async fn tell_first_calls(crowd: &mut Crowd) {
    let (first, second) = first_calls(crowd).await;
    println!(
        "first call of a cold plugin among {}: p50 {:?}, p99 {:?}; the second: p50 {:?}, p99 {:?}",
        crowd.count,
        percentile(&first, 50),
        percentile(&first, 99),
        percentile(&second, 50),
        percentile(&second, 99)
    );
}

/// The first and the second call of a hundred plugins, each sorted. No compiler runs for them.
async fn first_calls(crowd: &mut Crowd) -> (Vec<Duration>, Vec<Duration>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    // Apart from each other where there are more of them.
    let apart = (crowd.count / FIRST_CALLS).min(7);
    for place in 0..FIRST_CALLS {
        let number = 1 + place * apart;
        first.push(crowd.call(number).await);
        second.push(crowd.call(number).await);
    }
    let compiled = crowd.metric("kith_plugins_compiled_total").await;
    assert_eq!(compiled, 0.0, "what was prepared before is not compiled");
    first.sort_unstable();
    second.sort_unstable();
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_called_any_more_leaves_the_memory_and_comes_back() {
    let idle = vec![("KITH_PLUGINS__IDLE_MS", "300".to_owned())];
    let mut crowd = Crowd::of(20, idle).await;
    for number in 1..=20 {
        crowd.call(number).await;
    }
    let deadline = Instant::now() + crate::support::PATIENCE;
    while crowd.metric("kith_plugins_resident").await > 0.0 {
        assert!(Instant::now() < deadline, "they stay");
    }
    assert_eq!(crowd.metric("kith_plugins_instances").await, 0.0);
    assert_eq!(crowd.metric("kith_plugins_memory_bytes").await, 0.0);
    for number in 1..=20 {
        crowd.call(number).await;
    }
    assert_eq!(crowd.metric("kith_plugins_compiled_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_plugins_are_called_than_fit_into_memory() {
    let bounds = vec![
        ("KITH_PLUGINS__RESIDENT", "8".to_owned()),
        ("KITH_PLUGINS__MEMORY_BUDGET_MIB", "1".to_owned()),
    ];
    let mut crowd = Crowd::of(40, bounds).await;
    for round in 0..3 {
        for number in 1..=40 {
            crowd.call(number).await;
        }
        let resident = crowd.metric("kith_plugins_resident").await;
        assert!(resident <= 8.0, "{resident} in round {round}");
        let bytes = crowd.metric("kith_plugins_memory_bytes").await;
        assert!(bytes <= f64::from(1 << 20), "{bytes}");
    }
}

/// Ten thousand active plugins, two hundred of them called by two people at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_plugins_of_which_two_hundred_are_busy_run_on_one_node() {
    if std::env::var_os("KITH_LONG").is_none() {
        return;
    }
    let mut crowd = Crowd::of(10_000, Vec::new()).await;
    let (started, idle_bytes) = (crowd.started, crowd.anonymous());
    assert_eq!(crowd.metric("kith_plugins_resident").await, 0.0);
    let (first, second) = first_calls(&mut crowd).await;
    let mut other = crowd.server.session(&crowd.bob).await;
    let ann = crowd.ann.id.clone();
    let also = tokio::spawn(async move {
        for turn in 0..2_000_usize {
            let (id, number) = (format!("b{turn}"), 1 + (turn * 50) % 10_000);
            let answer = other.send_text(&ann, &id, &format!("/q{number:05}")).await;
            let said = &answer["ok"]["reply"]["text"];
            assert_eq!(said, &format!("dormant-q{number:05}"), "{answer}");
        }
    });
    let mut busy = Vec::new();
    for turn in 0..2_000 {
        busy.push(crowd.call(1 + (turn * 50) % 10_000).await);
    }
    also.await.expect("the other was answered");
    busy.sort_unstable();
    let (pid, bytes) = (crowd.server.pid(), crowd.anonymous());
    println!(
        "10,000 active plugins: start {started:?} (CPU, wall), {idle_bytes} bytes when idle; first call p50 {:?}, \
         p99 {:?}, second p50 {:?}; 200 busy: p50 {:?}, p99 {:?}, {bytes} bytes, {} maps, {} resident",
        percentile(&first, 50),
        percentile(&first, 99),
        percentile(&second, 50),
        percentile(&busy, 50),
        percentile(&busy, 99),
        maps(pid),
        crowd.metric("kith_plugins_resident").await,
    );
    assert!(maps(pid) < 65_530 / 2, "{} maps", maps(pid));
}
