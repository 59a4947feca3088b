//! `kith bench`: what a message and a connection cost. It starts the servers itself, on loopback and on one core, drives
//! them from another, and ends. The anchor beside it makes every figure a ratio to the least a durable message can cost.

mod anchor;
mod contender;
mod echo;
pub mod link;
mod load;
mod memory;
mod nodes;
pub mod people;
mod plugins;
mod report;
mod rounds;
pub mod speech;
mod stalled;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use contender::{Contender, Cores, KithServer};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Mode::W1)]
    pub mode: Mode,
    /// Messages a second over all pairs, with `rate` and `stalled`.
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Connections [default: 200, with w16 and nodes 40, with idle 10000, with stalled 1000]
    #[arg(long)]
    pub connections: Option<usize>,
    /// Measure the bare relay beside it, and what every figure is in its terms.
    #[arg(long)]
    pub anchor: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Rounds, interleaved between the contenders; the medians count.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of a round that count; one more before them does not.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Bytes of a text.
    #[arg(long, default_value_t = 200)]
    pub text_bytes: usize,
    /// Words the filter watches for.
    #[arg(long, default_value_t = 100_000)]
    pub words: usize,
    /// Where the plugins are [default: `plugins` beside the program]
    #[arg(long)]
    pub plugins: Option<PathBuf>,
    /// A folder on the disk to be measured; what is written there is deleted [default: the system's temporary folder]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where MongoDB is, with `nodes`; the databases made there stay [such as mongodb://127.0.0.1:27017]
    #[arg(long)]
    pub store_url: Option<String>,
    /// Where Redis is, with `nodes` [such as redis://127.0.0.1:6379]
    #[arg(long)]
    pub bus_url: Option<String>,
    /// Serve as one of the yardsticks; the measurement starts these itself.
    #[arg(long, hide = true)]
    pub serve: Option<Yardstick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One message of each pair under way.
    W1,
    /// Sixteen of each pair.
    W16,
    /// A fixed number a second, whatever the answers.
    Rate,
    /// Memory of connections that say nothing, and that have said something.
    Idle,
    /// Receivers that never read, beside others that talk at the rate.
    Stalled,
    /// What the plugins in the folder cost by themselves, without a server.
    Plugins,
    /// Three nodes against one on the same servers: CPU and round trips of a message, sixteen of each pair under way.
    Nodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Yardstick {
    Anchor,
    Echo,
}

/// What every mode needs.
struct Bench {
    args: Args,
    cores: Cores,
    folder: tempfile::TempDir,
    plugins: PathBuf,
    token: String,
}

/// Measures and prints.
pub fn run(args: Args) -> Result<()> {
    match args.serve {
        Some(Yardstick::Anchor) => {
            let folder = args.dir.context("--dir is missing")?;
            return anchor::serve(&folder);
        }
        Some(Yardstick::Echo) => return echo::serve(),
        None => {}
    }
    let bench = Bench::prepare(args)?;
    match bench.args.mode {
        Mode::W1 | Mode::W16 | Mode::Rate => rounds::run(&bench),
        Mode::Idle => memory::idle(&bench),
        Mode::Stalled => stalled::run(&bench),
        Mode::Plugins => plugins::run(&bench),
        Mode::Nodes => nodes::run(&bench),
    }
}

impl Bench {
    fn prepare(args: Args) -> Result<Self> {
        if args.rounds == 0 || !(args.seconds > 0.0 && args.seconds <= 600.0) {
            bail!("it takes at least one round, of 600 s at most");
        }
        if args.rate.is_nan() || args.rate <= 0.0 {
            bail!("the rate must be above 0");
        }
        if !(40..=8_000).contains(&args.text_bytes) {
            bail!("a text has 40 to 8000 bytes");
        }
        if cfg!(debug_assertions) {
            eprintln!(
                "kith bench: this is a debug build; its figures mean little (cargo build --release)"
            );
        }
        let plugins = match &args.plugins {
            Some(folder) => folder.clone(),
            None => std::env::current_exe()?.with_file_name("plugins"),
        };
        if !has_components(&plugins) {
            bail!(
                "no plugins in {}: build them with `kith plugin build DIR --out FILE`, or name their folder with --plugins",
                plugins.display()
            );
        }
        allow_many_files()?;
        let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        refuse_memory_disks(&parent)?;
        let folder = tempfile::Builder::new()
            .prefix("kith-bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot write in {}", parent.display()))?;
        Ok(Self {
            args,
            cores: Cores::choose()?,
            folder,
            plugins,
            token: format!("{:032x}", rand::random::<u128>()),
        })
    }

    /// How many pairs talk.
    fn pairs(&self) -> usize {
        let default = match self.args.mode {
            Mode::W16 | Mode::Nodes => 40,
            _ => 200,
        };
        (self.args.connections.unwrap_or(default) / 2).max(1)
    }

    /// Kith with its plugins and the words in force.
    fn kith(&self) -> Result<Contender> {
        self.kith_named("kith", "with")
    }

    fn kith_named(&self, name: &'static str, data: &str) -> Result<Contender> {
        let kith = self.start_kith(name, data, &self.plugins)?;
        let took = people::watch_for(&kith, &self.token, self.args.words)?;
        self.progress(&format!(
            "{} words in force after {:.1} s",
            self.args.words,
            took.as_secs_f64()
        ));
        Ok(kith)
    }

    fn kith_without_plugins(&self) -> Result<Contender> {
        let none = self.folder.path().join("no-plugins");
        std::fs::create_dir_all(&none)?;
        self.start_kith("kith, no plugins", "without", &none)
    }

    fn start_kith(&self, name: &'static str, data: &str, plugins: &Path) -> Result<Contender> {
        let server = KithServer {
            data: &self.folder.path().join(data),
            plugins,
            bootstrap_token: &self.token,
            settings: &[],
        };
        Contender::kith(name, self.cores, &server)
    }

    fn progress(&self, text: &str) {
        eprintln!("kith bench: {text}");
    }
}

fn has_components(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|end| end == "wasm"))
        .count()
        > 0
}

/// Thousands of sockets in one process: as many as the system lets it have.
fn allow_many_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the number of open files")
}

/// A file system in memory takes no time to sync.
fn refuse_memory_disks(folder: &Path) -> Result<()> {
    /// `TMPFS_MAGIC` of the kernel's `magic.h`.
    const TMPFS: i64 = 0x0102_1994;
    let found =
        rustix::fs::statfs(folder).with_context(|| format!("no folder {}", folder.display()))?;
    if found.f_type == TMPFS {
        bail!(
            "{} is kept in memory, where a sync costs nothing: name a folder on a disk with --dir",
            folder.display()
        );
    }
    Ok(())
}
