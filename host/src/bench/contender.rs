//! The servers that are measured: each a process of its own on the servers' core, told by its first line where it
//! listens, ended when dropped. What it cost is read from the kernel's books.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::speech::Speech;

/// The cores the two sides run on; the same one where there is only one.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    pub server: usize,
    pub generator: usize,
}

impl Cores {
    /// The first two this process may use.
    pub fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("no core may be used")?;
        Ok(Self {
            server,
            generator: cores.next().unwrap_or(server),
        })
    }
}

/// Keeps this thread, and what it starts from now on, on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("cannot choose a core")
}

/// A running server.
#[derive(Debug)]
pub struct Contender {
    pub name: &'static str,
    pub speech: Speech,
    pub address: SocketAddr,
    /// Of Kith: where administrators connect.
    pub admin: Option<SocketAddr>,
    child: Child,
}

/// How Kith's server is started.
#[derive(Debug, Clone)]
pub struct KithServer<'a> {
    pub data: &'a Path,
    /// Empty for no plugins at all.
    pub plugins: &'a Path,
    pub bootstrap_token: &'a str,
    /// More of its environment.
    pub settings: &'a [(&'static str, String)],
}

impl Contender {
    pub fn echo(cores: Cores) -> Result<Self> {
        Self::start(
            "tcp echo",
            Speech::Echo,
            cores,
            own(&["bench", "--serve", "echo"])?,
        )
    }

    pub fn anchor(cores: Cores, folder: &Path) -> Result<Self> {
        let mut command = own(&["bench", "--serve", "anchor", "--dir"])?;
        command.arg(folder);
        Self::start("anchor", Speech::Anchor, cores, command)
    }

    pub fn kith(name: &'static str, cores: Cores, server: &KithServer<'_>) -> Result<Self> {
        let mut command = own(&["serve", "--listen", "127.0.0.1:0"])?;
        command
            .args(["--admin-listen", "127.0.0.1:0", "--data"])
            .arg(server.data)
            .arg("--plugins")
            .arg(server.plugins)
            .env("KITH_BOOTSTRAP_TOKEN", server.bootstrap_token)
            .env("KITH_LIMITS__RATE", "false")
            .env("KITH_LIMITS__CONNECTIONS_PER_ADDRESS", "0")
            // Thousands of users are made for the measurement; their passwords guard nothing.
            .env("KITH_AUTH__ARGON2_MEMORY_KIB", "8")
            .env("KITH_AUTH__ARGON2_PASSES", "1")
            .env("KITH_AUTH__ACCESS_TTL_S", "86400")
            // Whoever is silent, or never reads, is to stay for the whole measurement.
            .env("KITH_SESSION__HEARTBEAT_MS", "3600000")
            .env("KITH_SESSION__SLOW_MS", "3600000")
            .env("KITH_LOG", "warn")
            .envs(server.settings.iter().map(|(name, value)| (name, value)));
        Self::start(name, Speech::Kith, cores, command)
    }

    /// Starts on the servers' core and leaves this thread on the generator's.
    fn start(
        name: &'static str,
        speech: Speech,
        cores: Cores,
        mut command: Command,
    ) -> Result<Self> {
        pin(cores.server)?;
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        pin(cores.generator)?;
        let mut child = child.with_context(|| format!("cannot start {name}"))?;
        let errors = child.stderr.take().context("no stderr")?;
        let mut lines = BufReader::new(errors).lines();
        let mut said = Vec::new();
        let addresses = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("{name} did not start:\n{}", said.join("\n"));
            };
            let addresses = addresses(&line);
            said.push(line);
            if !addresses.is_empty() {
                break addresses;
            }
        };
        // What it has to say later is passed on, so that it never waits for a reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{name}: {line}");
            }
        });
        Ok(Self {
            name,
            speech,
            address: addresses[0],
            admin: addresses.get(1).copied(),
            child,
        })
    }

    /// CPU time of all its threads so far, of ended ones too.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.child.id())
    }

    /// Proportional set size, bytes: memory shared with others counts by its part.
    pub fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path)?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = pss.and_then(|pss| pss.trim().strip_suffix(" kB"));
        let kib: u64 = kib.context("no Pss in smaps_rollup")?.trim().parse()?;
        Ok(kib * 1024)
    }

    /// Waits until its memory falls no more: buffers are given back some time after their last use.
    pub fn settled_memory(&self) -> Result<u64> {
        const TRIES: usize = 60;
        let mut least = self.memory()?;
        let mut steady = 0;
        for _ in 0..TRIES {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.memory()?;
            steady = if now + now / 200 < least {
                0
            } else {
                steady + 1
            };
            least = least.min(now);
            if steady == 5 {
                break;
            }
        }
        Ok(least)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This same program, with other arguments.
fn own(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// The addresses in a line such as `kith: clients http://127.0.0.1:7700  administration http://…`.
fn addresses(line: &str) -> Vec<SocketAddr> {
    line.split_whitespace()
        .filter_map(|word| word.trim_start_matches("http://").parse().ok())
        .collect()
}

/// To a hundredth of a second: what of a process is over is counted, which the sum of its living threads would lose.
fn cpu_of(process: u32) -> Result<Duration> {
    /// What the kernel tells programs times in, whatever its own tick is.
    const HUNDREDTH_MS: u64 = 10;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name before it may hold anything, spaces too.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
        bail!("no CPU times in the process's stat");
    };
    Ok(Duration::from_millis((user + system) * HUNDREDTH_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_cost_is_counted_when_the_thread_is_gone() {
        let own = std::process::id();
        let before = cpu_of(own).expect("the process's times");
        let enough = before + Duration::from_millis(100);
        let spinning = move || while cpu_of(own).is_ok_and(|cpu| cpu < enough) {};
        std::thread::spawn(spinning).join().expect("it ends");
        assert!(cpu_of(own).expect("the process's times") >= enough);
    }
}
