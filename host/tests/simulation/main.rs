//! The simulation: several nodes over one store and one bus, with whatever may befall them, in one thread and on a clock that
//! stands still between two events. A seed repeats a run to the letter. What it is and how to use it: `host/SIMULATION.md`.

mod about;
mod accounts;
mod bus;
mod chance;
mod checks;
mod client;
mod defects;
mod engine;
mod hearing;
mod index;
mod known;
mod log;
mod nobody;
mod node;
mod plugins;
mod seam;
mod seats;
mod store;
mod tables;
mod truth;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use defects::Defect;
use world::{Ran, run};

/// Seeds of a run of the tests.
const SEEDS: u64 = 500;
/// Lines of a story that are shown.
const SHOWN: usize = 60;
/// Runs at the same time; each is one thread's.
const AT_ONCE: usize = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A seed runs twice; both runs are the same to the letter.
fn twice(seed: u64) -> Result<Ran, String> {
    let (first, second) = (run(seed, None), run(seed, None));
    if first == second {
        return Ok(first);
    }
    let pairs = first.story.iter().zip(&second.story);
    let at = pairs.take_while(|(one, other)| one == other).count();
    let line = |ran: &Ran| ran.story.get(at).cloned().unwrap_or_default();
    Err(format!(
        "seed {seed} is not the same twice, from line {at} on:\n  {}\n  {}",
        line(&first),
        line(&second)
    ))
}

/// The end of a story.
fn told(seed: u64, ran: &Ran) -> String {
    let begin = ran.story.len().saturating_sub(SHOWN);
    format!(
        "seed {seed}: {}\n{}\nagain: KITH_SIM_SEED={seed}",
        ran.wrong.as_deref().unwrap_or("nothing is wrong"),
        ran.story[begin..].join("\n")
    )
}

#[test]
fn no_seed_breaks_an_invariant_and_each_repeats_itself() {
    if let Some(seed) = number("KITH_SIM_SEED") {
        let ran = twice(seed).unwrap_or_else(|why| panic!("{why}"));
        println!("{}", ran.story.join("\n"));
        assert!(ran.wrong.is_none(), "{}", told(seed, &ran));
        return;
    }
    let seeds = number("KITH_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.len() > 2 {
                return failed;
            }
            match twice(seed) {
                Ok(ran) if ran.wrong.is_none() => {}
                Ok(ran) => failed.push(told(seed, &ran)),
                Err(why) => failed.push(why),
            }
        }
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|one| one.join().expect("it ran"));
        joined.flatten().collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    println!("{seeds} seeds, each twice: nothing is wrong");
}

#[test]
fn every_planted_defect_is_found() {
    let (mut table, mut missed) = (Vec::new(), Vec::new());
    for defect in Defect::ALL {
        let found = (0..SEEDS).find_map(|seed| {
            let ran = run(seed, Some(defect));
            Some((seed, ran.wrong.clone()?, ran))
        });
        match found {
            Some((seed, wrong, ran)) => {
                let again = run(seed, Some(defect));
                assert!(ran == again, "seed {seed} is not the same twice: {wrong}");
                let without = run(seed, None).wrong;
                assert_eq!(without, None, "seed {seed} fails without a defect");
                table.push(format!("| {} | {seed} | {wrong} |", defect.name()));
            }
            None => missed.push(defect.name()),
        }
    }
    println!(
        "| planted | found by seed | as |\n|---|---|---|\n{}",
        table.join("\n")
    );
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
