//! The command line: what `kith` understands. Each command is a file; this one only names them.
//!
//! Exit status: 0 done, 1 refused (the reason on stderr), 2 wrong usage.

pub mod admin;
pub mod api;
pub mod audit;
pub mod doctor;
pub mod health;
pub mod migrate;
pub mod moving;
pub mod plugin;
pub mod print;
pub mod reindex;
pub mod serve;
pub mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, chat};

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
    /// Administrate a server: words, held messages, users, bans, tokens.
    #[command(subcommand, arg_required_else_help = true)]
    Admin(admin::Command),
    /// Try the configuration and every outside server; says what is wrong.
    Doctor(doctor::Args),
    /// Ask a server whether it serves.
    Health(health::Args),
    /// Talk through a server, from a terminal.
    Chat(chat::Args),
    /// Measure what a message and a connection cost.
    Bench(bench::Args),
}

/// Runs a command; what it is refused with goes to stderr.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(args).map(succeeded),
        Command::Plugin(command) => plugin::run(command).map(succeeded),
        Command::Admin(command) => admin::run(command).map(succeeded),
        Command::Doctor(args) => doctor::run(args),
        Command::Health(args) => api::block_on(health::run(args)),
        Command::Chat(args) => talk(args),
        Command::Bench(args) => bench::run(args).map(succeeded),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kith: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn succeeded((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn talk(args: chat::Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(chat::run(args))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_and_flag_has_a_name_of_its_own() {
        super::Cli::command().debug_assert();
    }
}
