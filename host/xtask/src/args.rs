//! The command line of xtask: which task and its flags.
//! Pure: reads only what it is given, so that the commands in our documents are checked with the same parser.

use std::path::PathBuf;

pub const USAGE: &str = "\
usage: cargo dev    [--release] [--data DIR] [--listen ADDRESS] [--admin-listen ADDRESS]
       cargo verify [--long]
       cargo xtask build [--release]

  dev     set up, build, run the server on the embedded store, swap plugins as their sources change
  verify  set up and run every check; --long adds the tests that are too long for every change
  build   leave the program in target/PROFILE/kith and the plugins in target/PROFILE/plugins/";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    Help,
    Build { release: bool },
    Dev(DevOptions),
    Verify { long: bool },
}

/// How `cargo dev` runs the server.
#[derive(Debug, PartialEq, Eq)]
pub struct DevOptions {
    pub release: bool,
    /// Where the server keeps its data; `TARGET/dev-data` when not given.
    pub data: Option<PathBuf>,
    /// Address of the clients' listener.
    pub listen: String,
    /// Address of the administrators' listener.
    pub admin_listen: String,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            release: false,
            data: None,
            listen: "127.0.0.1:7700".to_owned(),
            admin_listen: "127.0.0.1:7701".to_owned(),
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
        "dev" => parse_dev(words),
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
        if !matches!(flag.as_str(), "--data" | "--listen" | "--admin-listen") {
            return Err(format!("unknown argument `{flag}`"));
        }
        let value = inline
            .or_else(|| words.next())
            .ok_or_else(|| format!("`{flag}` needs a value"))?;
        match flag.as_str() {
            "--data" => options.data = Some(value.into()),
            "--listen" => options.listen = value,
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
        let Ok(Task::Dev(options)) = parsed("dev --data here --listen=127.0.0.1:1 --release")
        else {
            panic!("dev was refused");
        };
        assert_eq!(options.data, Some("here".into()));
        assert_eq!(options.listen, "127.0.0.1:1");
        assert_eq!(options.admin_listen, "127.0.0.1:7701");
        assert!(options.release);
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
