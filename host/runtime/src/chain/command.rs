//! Commands: the one binding that has a command's name is asked. Its answer is checked before it counts; none is
//! carried out here.

use super::effects::{self, check_code, shortened};
use super::fingerprint::Fingerprint;
use super::strategy::ReadContent;
use super::verdict_without_answer;
use crate::bindings::command::{self as wit, Invocation, Usage};
use crate::generation::Generation;
use crate::hook::Scope;
use crate::instance::{Exports, Instance};
use crate::ruling::{CommandOutcome, CommandRuling, EffectKind, Outcome, Reason, Trail, Verdict};
use crate::shadow::{Asked, Said};
use crate::share::Site;
use crate::version::Fault;

const NAME_CHARS_MAX: usize = 32;
const NAMES_MAX: usize = 100;
const SUMMARY_CHARS_MAX: usize = 200;

impl Generation {
    /// Asks the plugin that has bound a command's name; `Pass` where none has. Blocks while the guest computes, at most
    /// two hard stops, twice where there is a fallback.
    pub fn command(
        &self,
        scope: Scope,
        invocation: &Invocation<'_>,
        read: &ReadContent<'_>,
    ) -> CommandRuling {
        let mut ruling = CommandRuling {
            outcome: CommandOutcome::Pass,
            effects: Vec::new(),
            records: Vec::new(),
            trail: Trail::default(),
        };
        let site = Site {
            scope,
            conversation: invocation.conversation,
        };
        let Some(place) = self.command_binding(site, invocation.name) else {
            return ruling;
        };
        let answer = self.consult(
            place,
            invocation.at_ms,
            (&mut ruling.records, &mut ruling.trail),
            |instance, exports| ask(instance, exports, invocation, read),
        );
        let binding = &self.bindings()[usize::from(place)];
        if let Some(shadow) = self.shadow_of(binding) {
            let said = match &answer {
                Ok(((answer, _), _)) => said(answer),
                Err(no_answer) => no_answer.said(),
            };
            shadow.offer(&binding.version, said, || Asked::command(invocation));
        }
        let by = binding.plugin.clone();
        match answer {
            Ok(((answer, kinds), took)) => {
                let fingerprint = fingerprint(&answer);
                let (outcome, done) = outcome(by, answer.outcome);
                ruling
                    .records
                    .push(self.note(place, done, took, fingerprint));
                ruling.outcome = outcome;
                if done != Outcome::Rejected {
                    let effects = effects::take(binding, answer.effects, kinds);
                    ruling.effects.extend(effects);
                }
            }
            Err(no_answer) => {
                ruling.outcome = match verdict_without_answer(binding, no_answer) {
                    None | Some(Verdict::Pass) => CommandOutcome::Pass,
                    Some(Verdict::Reject { by, reason }) => CommandOutcome::Reject { by, reason },
                    // What is never stored cannot be held.
                    Some(
                        Verdict::Hold { by, reason, .. }
                        | Verdict::Drop { by, reason }
                        | Verdict::Unavailable { by, reason },
                    ) => CommandOutcome::Unavailable { by, reason },
                };
            }
        }
        ruling
    }
}

/// A checked answer, with what its effects are.
type Checked = (wit::Answer, Vec<EffectKind>);

/// Asks one instance, and checks what it answers.
pub(crate) fn ask(
    instance: &mut Instance,
    exports: &Exports,
    invocation: &Invocation<'_>,
    read: &ReadContent<'_>,
) -> Result<Checked, Fault> {
    let (store, guest) = instance.command(exports)?;
    let answer = guest.call_run(store, invocation.clone())?;
    check(answer, read).map_err(Fault::BadOutput)
}

/// Everything of an answer that counts, for a comparison.
pub(crate) fn said(answer: &wit::Answer) -> Said {
    let said = match &answer.outcome {
        wit::Outcome::Done => Said::new(Outcome::Passed).with("answer", "done".to_owned()),
        wit::Outcome::Pass => Said::new(Outcome::Passed).with("answer", "pass".to_owned()),
        wit::Outcome::Reply(content) => Said::new(Outcome::Passed)
            .with("answer", "reply".to_owned())
            .with_json("content", content),
        wit::Outcome::Send(content) => Said::new(Outcome::Replaced)
            .with("answer", "send".to_owned())
            .with_json("content", content),
        wit::Outcome::Reject(why) => Said::new(Outcome::Rejected).with("reason", why.code.clone()),
    };
    said.with("effects", effects::said(&answer.effects))
}

fn check(
    answer: wit::Answer,
    read: &ReadContent<'_>,
) -> Result<(wit::Answer, Vec<EffectKind>), String> {
    match &answer.outcome {
        wit::Outcome::Done | wit::Outcome::Pass => {}
        wit::Outcome::Reply(content) | wit::Outcome::Send(content) => {
            read(content)?;
        }
        wit::Outcome::Reject(reason) => check_code(&reason.code)?,
    }
    let kinds = effects::check(&answer.effects)?;
    Ok((answer, kinds))
}

fn outcome(by: String, outcome: wit::Outcome) -> (CommandOutcome, Outcome) {
    match outcome {
        wit::Outcome::Done => (CommandOutcome::Done, Outcome::Passed),
        wit::Outcome::Reply(content) => (CommandOutcome::Reply(content), Outcome::Passed),
        wit::Outcome::Send(content) => (CommandOutcome::Send(content), Outcome::Replaced),
        wit::Outcome::Pass => (CommandOutcome::Pass, Outcome::Passed),
        wit::Outcome::Reject(reason) => {
            let reason = Reason {
                code: reason.code,
                text: reason.text,
            };
            (CommandOutcome::Reject { by, reason }, Outcome::Rejected)
        }
    }
}

/// Of everything it says; 0 for a pass and nothing besides.
fn fingerprint(answer: &wit::Answer) -> u32 {
    let so_far = match &answer.outcome {
        wit::Outcome::Pass if answer.effects.is_empty() => return 0,
        wit::Outcome::Done => Fingerprint::of("done"),
        wit::Outcome::Reply(content) => Fingerprint::of("reply").text(content),
        wit::Outcome::Send(content) => Fingerprint::of("send").text(content),
        wit::Outcome::Pass => Fingerprint::of("pass"),
        wit::Outcome::Reject(reason) => Fingerprint::of("reject").reason(reason),
    };
    so_far.effects(&answer.effects).end()
}

/// What is wrong with the names of commands, if anything.
pub(crate) fn check_names(named: &[Usage]) -> Result<(), String> {
    if named.len() > NAMES_MAX {
        return Err(format!(
            "there are {}; at most {NAMES_MAX} are taken",
            named.len()
        ));
    }
    for (index, usage) in named.iter().enumerate() {
        let name = usage.name.as_str();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let well_formed = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(plain);
        if !well_formed || name.starts_with('-') {
            return Err(format!(
                "{:?} is not lower-case letters, digits and `-`, 1 to {NAME_CHARS_MAX} of them",
                shortened(name)
            ));
        }
        if named[..index].iter().any(|other| other.name == name) {
            return Err(format!("{name} is named twice"));
        }
        if usage.summary.chars().count() > SUMMARY_CHARS_MAX {
            return Err(format!(
                "what {name} does is told in more than {SUMMARY_CHARS_MAX} characters"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(name: &str) -> Usage {
        Usage {
            name: name.to_owned(),
            summary: String::new(),
        }
    }

    #[test]
    fn names_are_plain_short_and_each_there_once() {
        assert_eq!(check_names(&[usage("roll"), usage("8-ball")]), Ok(()));
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for wrong in ["", "-a", "Roll", "a b", "/a", long.as_str()] {
            assert!(check_names(&[usage(wrong)]).is_err(), "{wrong:?}");
        }
        assert_eq!(
            check_names(&[usage("a"), usage("b"), usage("a")]),
            Err("a is named twice".to_owned())
        );
    }
}
