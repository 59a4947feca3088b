//! Administrators' rules: asked in order until one does not abstain. What a ruling and its actions mean is checked here
//! and carried out by the host.

use super::effects::{check_code, shortened};
use super::{record, verdict_without_answer};
use crate::bindings::admin_rule::{self as wit, Occasion};
use crate::generation::Generation;
use crate::hook::{Hook, Scope};
use crate::ruling::{Outcome, Reason, Rule, RuleAct, RuleAction, RuleRuling, Verdict};
use crate::version::Fault;

const ACTIONS_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 500;
const SUBJECT_CHARS_MAX: usize = 128;
/// Longest time something is done for: ten years.
const FOR_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1000;

impl Generation {
    /// Whether any rule would be asked.
    pub fn has_rules(&self) -> bool {
        !self.chain(Hook::AdminRule, Scope::Outside).is_empty()
    }

    /// Asks the rules about an occasion. Where nothing is asked for (`decides` is false) a rule that fails abstains.
    /// Blocks while the guests compute, at most two hard stops for each.
    pub fn rule(&self, occasion: &Occasion<'_>, decides: bool) -> RuleRuling {
        let mut ruling = RuleRuling {
            rule: Rule::Abstain,
            actions: Vec::new(),
            records: Vec::new(),
        };
        for &place in self.chain(Hook::AdminRule, Scope::Outside) {
            let answer = self.consult(
                place,
                occasion.at_ms,
                &mut ruling.records,
                |instance, exports| {
                    let (store, guest) = instance.rule(exports)?;
                    let judgement = guest.call_judge(store, occasion.clone())?;
                    check(judgement).map_err(Fault::BadOutput)
                },
            );
            let binding = &self.bindings()[usize::from(place)];
            match answer {
                Ok(((said, acts), took)) => {
                    let outcome = match &said {
                        wit::Ruling::Abstain | wit::Ruling::Allow => Outcome::Passed,
                        wit::Ruling::Deny(_) => Outcome::Rejected,
                        wit::Ruling::RequireApproval(_) => Outcome::Held,
                    };
                    ruling.records.push(record(place, outcome, took));
                    let by = &binding.plugin;
                    let acts = acts.into_iter().map(|act| RuleAction {
                        by: by.clone(),
                        ..act
                    });
                    ruling.actions.extend(acts);
                    ruling.rule = rule(by, said);
                }
                Err(no_answer) if decides => {
                    ruling.rule = match verdict_without_answer(binding, no_answer) {
                        None | Some(Verdict::Pass) => Rule::Abstain,
                        Some(Verdict::Reject { by, reason } | Verdict::Drop { by, reason }) => {
                            Rule::Deny { by, reason }
                        }
                        Some(Verdict::Hold { by, reason, .. }) => {
                            Rule::RequireApproval { by, reason }
                        }
                        Some(Verdict::Unavailable { by, reason }) => {
                            Rule::Unavailable { by, reason }
                        }
                    };
                }
                Err(_) => {}
            }
            if ruling.rule != Rule::Abstain {
                break;
            }
        }
        ruling
    }
}

fn rule(by: &str, said: wit::Ruling) -> Rule {
    let by = by.to_owned();
    let reason = |reason: wit::Reason| Reason {
        code: reason.code,
        text: reason.text,
    };
    match said {
        wit::Ruling::Abstain => Rule::Abstain,
        wit::Ruling::Allow => Rule::Allow,
        wit::Ruling::Deny(why) => Rule::Deny {
            by,
            reason: reason(why),
        },
        wit::Ruling::RequireApproval(why) => Rule::RequireApproval {
            by,
            reason: reason(why),
        },
    }
}

fn check(judgement: wit::Judgement) -> Result<(wit::Ruling, Vec<RuleAction>), String> {
    match &judgement.ruling {
        wit::Ruling::Abstain | wit::Ruling::Allow => {}
        wit::Ruling::Deny(reason) | wit::Ruling::RequireApproval(reason) => {
            check_code(&reason.code)?;
        }
    }
    if judgement.actions.len() > ACTIONS_MAX {
        return Err(format!(
            "{} actions; at most {ACTIONS_MAX} are taken",
            judgement.actions.len()
        ));
    }
    let actions = judgement.actions.into_iter().map(action);
    Ok((judgement.ruling, actions.collect::<Result<_, _>>()?))
}

fn action(said: wit::Action) -> Result<RuleAction, String> {
    let Some(act) = RuleAct::from_name(&said.kind) else {
        return Err(format!("there is no action {:?}", shortened(&said.kind)));
    };
    if matches!(act, RuleAct::Label | RuleAct::Unlabel) {
        check_code(&said.text)?;
    }
    if act == RuleAct::Notify && said.text.trim().is_empty() {
        return Err("a notice says nothing".to_owned());
    }
    if matches!(act, RuleAct::KvPut | RuleAct::KvDelete) && said.subject.is_empty() {
        return Err("an action of the plugin's own keys names none".to_owned());
    }
    if said.text.chars().count() > TEXT_CHARS_MAX {
        return Err(format!(
            "an action's text has at most {TEXT_CHARS_MAX} characters"
        ));
    }
    if said.subject.chars().count() > SUBJECT_CHARS_MAX {
        return Err(format!(
            "an action's subject has at most {SUBJECT_CHARS_MAX} characters"
        ));
    }
    if said.for_ms > FOR_MS_MAX {
        return Err("an action is for at most ten years, or for ever (0)".to_owned());
    }
    Ok(RuleAction {
        by: String::new(),
        act,
        subject: said.subject,
        for_ms: said.for_ms,
        text: said.text,
    })
}
