//! The command line of xtask: which task and its flags.
//! Pure: reads only what it is given, so that the commands in our documents are checked with the same parser.

use std::path::PathBuf;

pub const USAGE: &str = "\
usage: cargo dev    [--release] [--data DIR] [--listen ADDRESS] [--admin-listen ADDRESS]
                    [--nodes N] [--ports FIRST]
       cargo verify [--long]
       cargo xtask build [--release]
       cargo xtask deploy
       cargo xtask simulate [--seeds N] [--seed N] [--debug]

  dev     set up, build, run the server on the embedded store, swap plugins as their sources change;
          with --nodes, so many nodes on Redis, MongoDB and Elasticsearch behind one address; all but the two
          listeners take ports from 7710 on, or from FIRST on
  verify  set up and run every check; --long adds the tests that are too long for every change, and 20,000 seeds of the
          simulation
  build   leave the program in target/PROFILE/kith and the plugins in target/PROFILE/plugins/
  deploy  check the files in deploy/ with the tools made for each kind; it is a part of verify
  simulate  several nodes in one thread, with all that may befall them: 20,000 seeds, or as many as are asked for, or
          one, with its story; an optimised build, unless --debug";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    Help,
    Build { release: bool },
    Deploy,
    Dev(DevOptions),
    Verify { long: bool },
    Simulate(SimulateOptions),
}

/// Which seeds are simulated.
#[derive(Debug, PartialEq, Eq)]
pub struct SimulateOptions {
    pub seeds: u64,
    /// One alone, and its story is told.
    pub seed: Option<u64>,
    /// With the build of the tests; few seeds are done sooner so.
    pub debug: bool,
}

impl Default for SimulateOptions {
    fn default() -> Self {
        Self {
            seeds: 20_000,
            seed: None,
            debug: false,
        }
    }
}

/// How `cargo dev` runs the server.
#[derive(Debug, PartialEq, Eq)]
pub struct DevOptions {
    pub release: bool,
    /// Where the server keeps its data; `TARGET/dev-data` when not given.
    pub data: Option<PathBuf>,
    /// Address of the clients' listener.
    pub listen: String,
    /// Address of the administrators' listener; of several nodes the first one's.
    pub admin_listen: String,
    /// More than one run on servers they share.
    pub nodes: u16,
    /// The first of the ports of several nodes and their servers.
    pub ports: u16,
}

/// Nodes on one machine.
const NODES: std::ops::RangeInclusive<u16> = 1..=9;
/// Where the ports of several nodes and their servers may begin; they take 30.
const PORTS: std::ops::RangeInclusive<u16> = 1_024..=u16::MAX - 30;

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            release: false,
            data: None,
            listen: "127.0.0.1:7700".to_owned(),
            admin_listen: "127.0.0.1:7701".to_owned(),
            nodes: 1,
            ports: 7710,
        }
    }
}

/// Reads the words after the program's name. The error is one sentence for a person.
pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Task, String> {
    let mut words = words.into_iter();
    let task = words.next().unwrap_or_else(|| "help".to_owned());
    match task.as_str() {
        "help" | "--help" | "-h" => Ok(Task::Help),
        "build" => {
            let release = only_switch(words, "--release")?;
            Ok(Task::Build { release })
        }
        "verify" => {
            let long = only_switch(words, "--long")?;
            Ok(Task::Verify { long })
        }
        "deploy" => match words.next() {
            None => Ok(Task::Deploy),
            Some(word) => Err(format!("unknown argument `{word}`")),
        },
        "dev" => parse_dev(words),
        "simulate" => parse_simulate(words),
        other => Err(format!("unknown task `{other}`")),
    }
}

fn only_switch(words: impl Iterator<Item = String>, known: &str) -> Result<bool, String> {
    let mut given = false;
    for word in words {
        if word != known {
            return Err(format!("unknown argument `{word}`"));
        }
        given = true;
    }
    Ok(given)
}

fn parse_simulate(mut words: impl Iterator<Item = String>) -> Result<Task, String> {
    let mut options = SimulateOptions::default();
    while let Some(word) = words.next() {
        if word == "--debug" {
            options.debug = true;
            continue;
        }
        if !["--seeds", "--seed"].contains(&word.as_str()) {
            return Err(format!("unknown argument `{word}`"));
        }
        let value = words
            .next()
            .ok_or_else(|| format!("`{word}` needs a value"))?;
        let number = value
            .parse()
            .map_err(|_| format!("`{word}` is a number, not `{value}`"))?;
        match word.as_str() {
            "--seeds" => options.seeds = number,
            _ => options.seed = Some(number),
        }
    }
    Ok(Task::Simulate(options))
}

fn parse_dev(mut words: impl Iterator<Item = String>) -> Result<Task, String> {
    let mut options = DevOptions::default();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        if flag == "--release" && inline.is_none() {
            options.release = true;
            continue;
        }
        let known = ["--data", "--listen", "--admin-listen", "--nodes", "--ports"];
        if !known.contains(&flag.as_str()) {
            return Err(format!("unknown argument `{flag}`"));
        }
        let value = inline
            .or_else(|| words.next())
            .ok_or_else(|| format!("`{flag}` needs a value"))?;
        match flag.as_str() {
            "--data" => options.data = Some(value.into()),
            "--listen" => options.listen = value,
            "--nodes" => {
                let nodes = value.parse().ok().filter(|nodes| NODES.contains(nodes));
                options.nodes = nodes.ok_or("`--nodes` is 1 to 9")?;
            }
            "--ports" => {
                let first = value.parse().ok().filter(|first| PORTS.contains(first));
                options.ports = first.ok_or("`--ports` is 1024 to 65505")?;
            }
            _ => options.admin_listen = value,
        }
    }
    Ok(Task::Dev(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn tasks_take_their_flags_in_both_spellings() {
        assert_eq!(parsed("build --release"), Ok(Task::Build { release: true }));
        assert_eq!(parsed("verify"), Ok(Task::Verify { long: false }));
        assert_eq!(parsed("deploy"), Ok(Task::Deploy));
        let Ok(Task::Dev(options)) = parsed("dev --data here --listen=127.0.0.1:1 --release")
        else {
            panic!("dev was refused");
        };
        assert_eq!(options.data, Some("here".into()));
        assert_eq!(options.listen, "127.0.0.1:1");
        assert_eq!(options.admin_listen, "127.0.0.1:7701");
        assert!(options.release);
        assert_eq!(options.nodes, 1);
        let Ok(Task::Dev(options)) = parsed("dev --nodes 3") else {
            panic!("dev was refused");
        };
        assert_eq!(options.nodes, 3);
        assert_eq!(options.ports, 7710);
        for wrong in [
            "--nodes 0",
            "--nodes 10",
            "--nodes three",
            "--ports 80",
            "--ports 65506",
        ] {
            assert!(parsed(&format!("dev {wrong}")).is_err(), "{wrong}");
        }
        let Ok(Task::Dev(options)) = parsed("dev --nodes 3 --ports 9000") else {
            panic!("dev was refused");
        };
        assert_eq!(options.ports, 9000);
    }

    #[test]
    fn seeds_are_numbers() {
        assert_eq!(
            parsed("simulate"),
            Ok(Task::Simulate(SimulateOptions::default()))
        );
        let one = SimulateOptions {
            seed: Some(7),
            debug: true,
            ..SimulateOptions::default()
        };
        assert_eq!(parsed("simulate --seed 7 --debug"), Ok(Task::Simulate(one)));
        assert_eq!(
            parsed("simulate --seeds many"),
            Err("`--seeds` is a number, not `many`".to_owned())
        );
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(
            parsed("verify --fast"),
            Err("unknown argument `--fast`".to_owned())
        );
        assert_eq!(
            parsed("dev --data"),
            Err("`--data` needs a value".to_owned())
        );
        assert_eq!(parsed("ship"), Err("unknown task `ship`".to_owned()));
    }
}
