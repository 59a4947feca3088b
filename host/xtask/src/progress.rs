//! Says which step runs, how long each took, and sums them up in a table.
//! It runs what it is given and changes nothing about the outcome.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

/// A known number of steps, announced one by one as `[3/7] building the host …`.
pub struct Steps {
    total: usize,
    taken: Vec<Taken>,
}

struct Taken {
    title: String,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed,
    NotRun,
}

impl Steps {
    /// `total` is how many steps will be taken or passed over.
    pub fn of(total: usize) -> Self {
        Self {
            total,
            taken: Vec::with_capacity(total),
        }
    }

    /// Runs one step and hands its result on.
    pub fn take<T>(&mut self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("[{}/{}] {title} …", self.taken.len() + 1, self.total);
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let outcome = match &result {
            Ok(_) => {
                println!("      done in {}", seconds(took));
                Outcome::Passed
            }
            Err(error) => {
                println!("      FAILED after {}: {error:#}", seconds(took));
                Outcome::Failed
            }
        };
        self.taken.push(Taken {
            title: title.to_owned(),
            took,
            outcome,
        });
        result
    }

    /// Notes a step that cannot run because of an earlier one.
    pub fn pass_over(&mut self, title: &str, because: &str) {
        println!(
            "[{}/{}] {title}: NOT RUN, {because}",
            self.taken.len() + 1,
            self.total
        );
        self.taken.push(Taken {
            title: title.to_owned(),
            took: Duration::ZERO,
            outcome: Outcome::NotRun,
        });
    }

    /// True when every step passed.
    pub fn all_passed(&self) -> bool {
        self.taken.len() == self.total
            && self
                .taken
                .iter()
                .all(|step| matches!(step.outcome, Outcome::Passed))
    }

    /// One line for each step with its minutes, and the sum.
    pub fn table(&self) -> String {
        let mut table = String::from("stage                          minutes\n");
        let mut sum = Duration::ZERO;
        for step in &self.taken {
            sum += step.took;
            let word = match step.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed => "FAILED",
                Outcome::NotRun => "NOT RUN",
            };
            row(&mut table, &step.title, step.took, word);
        }
        row(&mut table, "all", sum, "");
        table
    }
}

fn row(table: &mut String, title: &str, took: Duration, word: &str) {
    let minutes = took.as_secs_f64() / 60.0;
    let line = format!("{title:<30} {minutes:>7.2}  {word}");
    // Writing to a string cannot fail.
    let _ = writeln!(table, "{}", line.trim_end());
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_or_did_not_run_spoils_the_whole() {
        let mut steps = Steps::of(3);
        steps.take("first", || Ok(())).expect("it returns Ok");
        assert!(!steps.all_passed(), "two are still to come");
        let failed = steps.take("second", || -> Result<()> { anyhow::bail!("no luck") });
        assert!(failed.is_err());
        steps.pass_over("third", "the second failed");
        assert!(!steps.all_passed());
        let table = steps.table();
        let words: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split_once("0.00"))
            .map(|(_, word)| word.trim())
            .collect();
        assert_eq!(words, ["passed", "FAILED", "NOT RUN", ""]);
    }
}
