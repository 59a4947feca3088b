//! Repository automation behind the cargo aliases `cargo dev`, `cargo verify` and `cargo xtask`.
//! Owns the order of the steps and what they say; it knows the program only through its command line, so it never links
//! the host and compiles in seconds.

mod args;
mod build;
mod child;
mod deploy;
mod dev;
mod layout;
mod machine;
mod progress;
mod simulate;
mod verify;

use std::process::ExitCode;

use args::Task;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = match task {
        Task::Help => {
            println!("{}", args::USAGE);
            Ok(())
        }
        Task::Build { release } => build::run(release),
        Task::Deploy => deploy::run(),
        Task::Dev(options) => dev::run(&options),
        Task::Simulate(options) => simulate::run(&options),
        Task::Verify { long } => return verify::run(long),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
