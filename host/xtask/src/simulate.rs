//! `cargo xtask simulate`: the simulation of several nodes, for many seeds or for one. What it does is in `host/SIMULATION.md`;
//! here is only how it is run.

use std::process::Command;

use anyhow::Result;

use crate::args::SimulateOptions;
use crate::child;
use crate::layout::Layout;

pub fn run(options: &SimulateOptions) -> Result<()> {
    let layout = Layout::find(!options.debug)?;
    child::run(&mut command(&layout, options))
}

/// The test program, with what it is told.
pub fn command(layout: &Layout, options: &SimulateOptions) -> Command {
    let mut cargo = child::cargo();
    cargo
        .current_dir(&layout.root)
        .env("CARGO_TARGET_DIR", &layout.target)
        .env("KITH_SIM_SEEDS", options.seeds.to_string())
        .args(["test", "-p", "kith", "--test", "simulation", "--locked"]);
    if !options.debug {
        cargo.arg("--release");
    }
    cargo.args(["--", "--nocapture"]);
    if let Some(seed) = options.seed {
        cargo
            .env("KITH_SIM_SEED", seed.to_string())
            .arg("no_seed_breaks");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_seeds_are_run_optimised() {
        let layout = Layout {
            root: ".".into(),
            target: "target".into(),
            release: false,
        };
        let command = command(&layout, &SimulateOptions::default());
        let mut told = command.get_envs();
        let seeds = told.find(|(name, _)| *name == "KITH_SIM_SEEDS");
        let seeds = seeds.and_then(|(_, value)| value);
        assert_eq!(seeds.and_then(|value| value.to_str()), Some("20000"));
        assert!(command.get_args().any(|arg| arg == "--release"));
    }
}
