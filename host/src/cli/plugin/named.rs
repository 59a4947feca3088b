//! What names a version on the command line: NAME@VERSION or NAME@sha256:…. Anything else is wrong usage, told before any
//! server is asked.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::CommandFactory;
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;

/// A plugin's name and what stands behind the `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub version: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('@');
        let named = parts.filter(|(name, version)| {
            !name.is_empty() && !version.is_empty() && !version.contains('@')
        });
        let (name, version) = named.ok_or_else(|| {
            format!("{text} is not NAME@VERSION or NAME@sha256:…; `kith plugin list` shows what is there")
        })?;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A file that is there, or what may name a version; a name alone may be that of a file that is missing.
pub fn file_or_version(text: &str) -> Result<String, String> {
    if text.contains('@') && !Path::new(text).is_file() {
        text.parse::<Named>()?;
    }
    Ok(text.to_owned())
}

/// The hooks a plugin can be bound to.
pub fn hooks() -> PossibleValuesParser {
    kith_runtime::Hook::ALL
        .map(kith_runtime::Hook::as_str)
        .into()
}

/// Ends the program as wrong usage does that the parser finds by itself.
pub fn wrong_usage(why: &str) -> ! {
    let mut command = crate::cli::Cli::command();
    command.error(ErrorKind::ValueValidation, why).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_a_name_and_one_at() {
        let read = |text: &str| text.parse::<Named>().map(|named| named.to_string());
        for good in ["words@1.0.0", "words@sha256:12"] {
            assert_eq!(read(good).as_deref(), Ok(good));
        }
        for wrong in ["", "words", "@1.0.0", "words@", "words@1@2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
