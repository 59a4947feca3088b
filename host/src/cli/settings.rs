//! The configuration of commands that work on what a server keeps, read as the server reads it: flags over environment
//! over file.

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

/// Flags of a command that works on the stores themselves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file, as for `serve`.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The data folder, as for `serve` [default: data]
    #[arg(long)]
    data: Option<String>,
}

impl Args {
    pub fn config(&self) -> Result<Config, ConfigError> {
        load(self.config.as_deref(), self.data.as_deref())
    }
}

/// Reads a file and the environment; a data folder that is given is over both.
pub fn load(file: Option<&Path>, data: Option<&str>) -> Result<Config, ConfigError> {
    let mut config = Config::load(file, environment())?;
    if let Some(data) = data {
        data.clone_into(&mut config.server.data);
    }
    Ok(config)
}

/// What of the environment is text; a name or a value that is none can be no setting.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text)
}
