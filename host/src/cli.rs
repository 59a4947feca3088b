//! The command line: what `kith` understands. Each command is a file; this one only names them.
//!
//! Exit status: 0 done, 1 refused (the reason on stderr), 2 wrong usage.

pub mod admin;
pub mod api;
pub mod plugin;
pub mod print;
pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Instant messaging whose behaviour is WebAssembly.
#[derive(Debug, Parser)]
#[command(
    name = "kith",
    version,
    about,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(serve::Args),
    /// Make, ship and switch plugins.
    #[command(subcommand, arg_required_else_help = true)]
    Plugin(plugin::Command),
    /// Administrate a server: words, held messages, users, tokens.
    #[command(subcommand, arg_required_else_help = true)]
    Admin(admin::Command),
}

/// Runs a command; what it is refused with goes to stderr.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Plugin(command) => plugin::run(command),
        Command::Admin(command) => admin::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kith: {error:#}");
            ExitCode::from(1)
        }
    }
}
