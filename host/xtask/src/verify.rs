//! `cargo verify`: all the set-up and every check, each stage with its minutes, one closing line with the totals.
//! Goes on after a failed stage where the next does not depend on it; lets nothing be skipped. Counting test results is
//! `verify/totals.rs`, checking the commands in our documents `verify/documents.rs`, walking
//! the README `verify/first_steps.rs`.

mod documents;
mod first_steps;
mod totals;

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::SimulateOptions;
use crate::build;
use crate::child;
use crate::deploy;
use crate::layout::Layout;
use crate::machine;
use crate::progress::Steps;
use crate::simulate;
use totals::Totals;

/// Stages that need the built program, in order.
const ON_THE_BUILD: [&str; 4] = [
    "tests",
    "documentation tests",
    "documented commands",
    "first steps",
];

/// Longest without a word from the tests: of those for every change the slowest takes some three minutes.
const SILENT_MOST: Duration = Duration::from_mins(10);
/// The same of a long run, in which a test swaps plugins for ten minutes and seeds are simulated by the thousand.
const SILENT_MOST_LONG: Duration = Duration::from_mins(30);

/// The stage that only a long run has.
const MANY_SEEDS: &str = "simulation of many seeds";

/// Runs everything; `long` adds the tests that are too long for every change, and the simulation of many seeds.
pub fn run(long: bool) -> ExitCode {
    let mut totals = Totals::default();
    let mut steps = Steps::of(6 + ON_THE_BUILD.len() + usize::from(long));
    let passed = match Layout::find(false) {
        Ok(layout) => {
            stages(&layout, long, &mut steps, &mut totals);
            steps.all_passed()
        }
        Err(error) => {
            eprintln!("failed: {error:#}");
            false
        }
    };
    if !passed {
        totals.failed = totals.failed.max(1);
    }
    println!("\n{}", steps.table());
    if passed {
        println!("everything passed");
    } else {
        println!("NOT everything passed; the stages marked above say why");
    }
    println!("{totals}");
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What a stage returns is in the table already, so most results are only looked at for what depends on them.
fn stages(layout: &Layout, long: bool, steps: &mut Steps, totals: &mut Totals) {
    let set_up = steps.take("set-up", || {
        machine::tool_chain()?;
        machine::check_packages()?;
        deploy::get_tools()?;
        machine::servers::get(&layout.root)
    });
    let _ = steps.take("formatting", || {
        child::run(cargo(layout).args(["fmt", "--all", "--check"]))
    });
    let _ = steps.take("lints", || {
        child::run(cargo(layout).args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    let _ = steps.take("deployment", || deploy::check(layout));
    let built = steps.take("build", || {
        // Together with the tests, so that shared dependencies get one set of features and are compiled once.
        child::run(cargo(layout).args(["test", "--no-run"]).args(TESTS))?;
        build::host(layout)
    });
    let plugins = match &built {
        Ok(()) => steps.take("plugins", || build::plugins(layout)).is_ok(),
        Err(_) => {
            steps.pass_over("plugins", "the build failed");
            false
        }
    };
    if set_up.is_err() || !plugins {
        for stage in ON_THE_BUILD {
            steps.pass_over(stage, "it needs the set-up and the build");
        }
        if long {
            steps.pass_over(MANY_SEEDS, "it comes after the tests");
        }
        return;
    }
    tests(layout, long, steps, totals);
    if long {
        // It needs neither the built program nor plugins, and its build is one of its own: last.
        let many = SimulateOptions::default();
        let _ = steps.take(MANY_SEEDS, || {
            counted(&mut simulate::command(layout, &many), long, totals)
        });
    }
    if totals.passed == 0 {
        println!("no test ran");
        totals.failed += 1;
    }
}

/// The stages that need the built program.
fn tests(layout: &Layout, long: bool, steps: &mut Steps, totals: &mut Totals) {
    let [tests, documentation, commands, first_steps] = ON_THE_BUILD;
    let _ = steps.take(tests, || {
        let mut test = cargo(layout);
        test.args(["test", "--no-fail-fast"]).args(TESTS);
        counted(with_artifacts(&mut test, layout, long), long, totals)
    });
    let _ = steps.take(documentation, || {
        let mut test = cargo(layout);
        test.args(["test", "--workspace", "--doc", "--no-fail-fast", "--locked"]);
        counted(with_artifacts(&mut test, layout, long), long, totals)
    });
    let _ = steps.take(commands, || documents::check(layout));
    let _ = steps.take(first_steps, || first_steps::walk(layout));
}

/// Which tests: all but those in documentation, which cargo cannot run in the same go.
const TESTS: [&str; 5] = ["--workspace", "--lib", "--bins", "--tests", "--locked"];

fn cargo(layout: &Layout) -> Command {
    let mut cargo = child::cargo();
    cargo
        .current_dir(&layout.root)
        .env("CARGO_TARGET_DIR", &layout.target);
    cargo
}

/// Tells the tests where the built program and plugins are.
fn with_artifacts<'a>(test: &'a mut Command, layout: &Layout, long: bool) -> &'a mut Command {
    test.env("KITH_BIN", layout.kith())
        .env("KITH_PLUGINS_DIR", layout.components());
    if long {
        test.env("KITH_LONG", "1");
    }
    test
}

/// Keeps which tests run for long, by what the test program says of them.
fn note_slow(slow: &mut Vec<String>, line: &str) {
    let Some(rest) = line.strip_prefix("test ") else {
        return;
    };
    if let Some((name, _)) = rest.split_once(" has been running for over") {
        slow.push(name.to_owned());
    } else if let Some((name, _)) = rest.split_once(" ... ") {
        slow.retain(|other| other != name);
    }
}

fn counted(test: &mut Command, long: bool, totals: &mut Totals) -> Result<()> {
    let silent_most = if long { SILENT_MOST_LONG } else { SILENT_MOST };
    let mut own = Totals::default();
    let mut slow = Vec::new();
    let outcome = child::run_watched(test, silent_most, |line| {
        own.see(line);
        note_slow(&mut slow, line);
    });
    if outcome.is_err() && !slow.is_empty() {
        println!("      not at an end: {}", slow.join(", "));
    }
    if outcome.is_err() && own.failed == 0 {
        // A test program that crashes prints no result line.
        own.failed = 1;
    }
    totals.add(&own);
    outcome?;
    if own.ignored > 0 {
        bail!("{} tests were ignored; nothing may be skipped", own.ignored);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_did_not_end_are_known() {
        let mut slow = Vec::new();
        for line in [
            "test a::b has been running for over 60 seconds",
            "test c has been running for over 60 seconds",
            "test d ... ok",
            "test a::b ... FAILED",
        ] {
            note_slow(&mut slow, line);
        }
        assert_eq!(slow, ["c"]);
    }
}
