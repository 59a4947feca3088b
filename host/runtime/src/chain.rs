//! The chain: asks the bindings of a pinned generation one after another and turns what they answer, or that they do
//! not, into one ruling. First reject or drop stops; a hold stays, and the rest are still asked; a failure policy that
//! makes a command unavailable stops as well. It acts on nothing.

pub(crate) mod command;
mod effects;
pub(crate) mod filter;
mod fingerprint;
pub(crate) mod mask;
pub(crate) mod rule;
pub(crate) mod strategy;

use std::time::Duration;

use crate::generation::{Binding, Generation};
use crate::hook::Policy;
use crate::instance::{Exports, Instance};
use crate::ruling::{HoldCause, HookFailure, HookRecord, Outcome, Read, Reason, Trail, Verdict};
use crate::shadow::Said;
use crate::version::{CallRules, Fault, Seen, Version};

/// That a hook gave no answer, and what its binding says then.
struct NoAnswer {
    policy: Policy,
    cause: HoldCause,
    why: String,
}

impl Generation {
    /// Asks a binding, its fallback where the policy says so. Failures are recorded here, answers by the caller.
    fn consult<T>(
        &self,
        place: u16,
        at_ms: u64,
        (records, trail): (&mut Vec<HookRecord>, &mut Trail),
        mut ask: impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
    ) -> Result<(T, Duration), NoAnswer> {
        let binding = &self.bindings()[usize::from(place)];
        let no_answer = match &binding.loaded {
            Ok(version) => match ask_version(version, (place, binding), at_ms, trail, &mut ask) {
                Ok(answer) => return Ok(answer),
                Err((why, took)) => {
                    records.push(self.note(place, Outcome::Failed, took, 0));
                    NoAnswer {
                        policy: binding.on_failed,
                        cause: HoldCause::Failed,
                        why,
                    }
                }
            },
            Err(why) => {
                records.push(self.note(place, Outcome::Absent, Duration::ZERO, 0));
                NoAnswer {
                    policy: binding.on_absent,
                    cause: HoldCause::Absent,
                    why: why.clone(),
                }
            }
        };
        if no_answer.policy != Policy::Fallback {
            return Err(no_answer);
        }
        if let Some(fallback) = &binding.fallback {
            match ask_version(fallback, (place, binding), at_ms, trail, &mut ask) {
                Ok(answer) => return Ok(answer),
                Err((_, took)) => records.push(self.note(place, Outcome::Failed, took, 0)),
            }
        }
        Err(NoAnswer {
            policy: binding.hook.default_policy(),
            ..no_answer
        })
    }

    /// What a binding came to, counted.
    fn note(&self, place: u16, outcome: Outcome, took: Duration, decision: u32) -> HookRecord {
        let binding = &self.bindings()[usize::from(place)];
        binding.tally.came_to(outcome);
        if let Ok(version) = &binding.loaded {
            version.measures[binding.hook as usize].add(outcome, took);
        }
        HookRecord {
            binding: place,
            outcome,
            duration_us: u32::try_from(took.as_micros()).unwrap_or(u32::MAX),
            decision,
        }
    }
}

impl NoAnswer {
    /// For a comparison with what a shadow says.
    fn said(&self) -> Said {
        match self.cause {
            HoldCause::Absent => Said::nothing(Outcome::Absent),
            HoldCause::Failed | HoldCause::Verdict => Said::nothing(Outcome::Failed),
        }
    }
}

pub(crate) fn ask_version<T>(
    version: &Version,
    (place, binding): (u16, &Binding),
    at_ms: u64,
    trail: &mut Trail,
    ask: &mut impl FnMut(&mut Instance, &Exports) -> Result<T, Fault>,
) -> Result<(T, Duration), (String, Duration)> {
    let budget = match binding.budget_us {
        0 => version.loader.settings.soft_budget,
        budget => Duration::from_micros(u64::from(budget)),
    };
    let rules = CallRules {
        isolation: binding.isolation,
        budget,
        now_ms: at_ms,
        namespace: &binding.namespace,
        tally: &binding.tally,
    };
    let mut seen = Seen::new();
    let (answer, took) = version.call(binding.hook, rules, &mut seen, ask);
    match answer {
        Ok(answer) => {
            let reads = seen.into_iter().map(|(key, value)| Read {
                binding: place,
                key,
                value,
            });
            trail.reads.extend(reads);
            Ok((answer, took))
        }
        Err(failure) => {
            trail.failures.push(HookFailure {
                binding: place,
                digest: version.inspection.digest.clone(),
                failure: failure.clone(),
                reads: seen,
            });
            tracing::debug!(plugin = binding.plugin, hook = binding.hook.as_str(), %failure, "a hook failed");
            Err((failure.to_string(), took))
        }
    }
}

/// What a missing answer means for the chain: `None` goes on.
fn verdict_without_answer(binding: &Binding, no_answer: NoAnswer) -> Option<Verdict> {
    let by = binding.plugin.clone();
    let code = if no_answer.cause == HoldCause::Absent {
        "absent"
    } else {
        "failed"
    };
    let reason = Reason {
        code: code.to_owned(),
        text: no_answer.why,
    };
    match no_answer.policy {
        Policy::Pass => None,
        Policy::Reject => Some(Verdict::Reject { by, reason }),
        Policy::Hold => Some(Verdict::Hold {
            by,
            reason,
            cause: no_answer.cause,
        }),
        Policy::Unavailable | Policy::Fallback => Some(Verdict::Unavailable { by, reason }),
    }
}

/// Puts a later verdict to an earlier one; true when the chain ends here.
fn settle(verdict: &mut Verdict, next: Verdict) -> bool {
    match (&verdict, &next) {
        (_, Verdict::Pass) | (Verdict::Hold { .. }, Verdict::Hold { .. }) => false,
        _ => {
            let goes_on = matches!(next, Verdict::Hold { .. });
            *verdict = next;
            !goes_on
        }
    }
}
