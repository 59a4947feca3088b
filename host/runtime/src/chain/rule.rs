//! Administrators' rules: asked in order until one does not abstain. What a ruling and its actions mean is checked here
//! and carried out by the host.

use super::effects::{check_code, shortened};
use super::fingerprint::Fingerprint;
use super::verdict_without_answer;
use crate::bindings::admin_rule::{self as wit, Occasion};
use crate::generation::{Binding, Generation};
use crate::hook::{Hook, Scope};
use crate::instance::{Exports, Instance};
use crate::ruling::{Outcome, Reason, Rule, RuleAct, RuleAction, RuleRuling, Trail, Verdict};
use crate::shadow::{Asked, Said};
use crate::share::Site;
use crate::version::Fault;

const ACTIONS_MAX: usize = 16;
const TEXT_CHARS_MAX: usize = 500;
const SUBJECT_CHARS_MAX: usize = 128;
/// Longest time something is done for: ten years.
const FOR_MS_MAX: u64 = 10 * 366 * 24 * 60 * 60 * 1000;

impl Generation {
    /// Whether any rule would be asked.
    pub fn has_rules(&self) -> bool {
        !self.chain(Hook::AdminRule, Scope::Outside).is_empty() || self.has_shadows(Hook::AdminRule)
    }

    /// Asks the rules about an occasion. Where nothing is asked for (`decides` is false) a rule that fails abstains.
    /// Blocks while the guests compute, at most two hard stops for each.
    pub fn rule(&self, occasion: &Occasion<'_>, decides: bool) -> RuleRuling {
        self.rule_by(occasion, decides, None)
    }

    /// Tells an occasion to the rule of one plugin alone.
    pub fn rule_of(&self, plugin: &str, occasion: &Occasion<'_>) -> RuleRuling {
        self.rule_by(occasion, false, Some(plugin))
    }

    fn rule_by(&self, occasion: &Occasion<'_>, decides: bool, only: Option<&str>) -> RuleRuling {
        let mut ruling = RuleRuling {
            rule: Rule::Abstain,
            actions: Vec::new(),
            records: Vec::new(),
            trail: Trail::default(),
        };
        let site = site(occasion);
        for place in self.asked(Hook::AdminRule, site) {
            let own = &self.bindings()[usize::from(place)].plugin;
            if only.is_some_and(|only| only != own) {
                continue;
            }
            let answer = self.consult(
                place,
                occasion.at_ms,
                (&mut ruling.records, &mut ruling.trail),
                |instance, exports| ask(instance, exports, occasion),
            );
            let binding = &self.bindings()[usize::from(place)];
            if let Some(shadow) = self.shadow_of(binding) {
                let said = match &answer {
                    Ok((checked, _)) => said(checked),
                    Err(no_answer) => no_answer.said(),
                };
                shadow.offer(&binding.version, said, || Asked::rule(occasion));
            }
            match answer {
                Ok(((said, acts), took)) => {
                    let outcome = outcome(&said);
                    let fingerprint = fingerprint(&said, &acts);
                    let note = self.note(place, outcome, took, fingerprint);
                    ruling.records.push(note);
                    let acts = acts.into_iter().map(|act| owned(binding, act));
                    ruling.actions.extend(acts);
                    ruling.rule = rule(&binding.plugin, said);
                }
                Err(no_answer) if decides => {
                    ruling.rule = without_answer(verdict_without_answer(binding, no_answer));
                }
                Err(_) => {}
            }
            if ruling.rule != Rule::Abstain {
                return ruling;
            }
        }
        if self.has_shadows(Hook::AdminRule) {
            for shadow in self.alone(Hook::AdminRule, site) {
                let nothing = said(&(wit::Ruling::Abstain, Vec::new()));
                shadow.offer("", nothing, || Asked::rule(occasion));
            }
        }
        ruling
    }
}

/// An action with whose it is.
fn owned(binding: &Binding, action: RuleAction) -> RuleAction {
    let by = match action.act {
        // Its values are where its state is.
        RuleAct::KvPut | RuleAct::KvDelete => binding.namespace.to_string(),
        _ => binding.plugin.clone(),
    };
    let quota = binding.grants.kv_bytes();
    RuleAction {
        by,
        quota,
        ..action
    }
}

/// What a hook's policy means for what a rule was asked.
fn without_answer(verdict: Option<Verdict>) -> Rule {
    match verdict {
        None | Some(Verdict::Pass) => Rule::Abstain,
        Some(Verdict::Reject { by, reason } | Verdict::Drop { by, reason }) => {
            Rule::Deny { by, reason }
        }
        Some(Verdict::Hold { by, reason, .. }) => Rule::RequireApproval { by, reason },
        Some(Verdict::Unavailable { by, reason }) => Rule::Unavailable { by, reason },
    }
}

/// By which conversation a share is drawn: the occasion's own, or else whom it is about.
fn site<'a>(occasion: &Occasion<'a>) -> Site<'a> {
    let all = [occasion.conversation, occasion.user, occasion.username];
    let known = all.into_iter().find(|known| !known.is_empty());
    Site {
        scope: Scope::Outside,
        conversation: known.unwrap_or_default(),
    }
}

/// A checked ruling and its actions.
type Checked = (wit::Ruling, Vec<RuleAction>);

/// Asks one instance, and checks what it rules.
pub(crate) fn ask(
    instance: &mut Instance,
    exports: &Exports,
    occasion: &Occasion<'_>,
) -> Result<Checked, Fault> {
    let (store, guest) = instance.rule(exports)?;
    let judgement = guest.call_judge(store, occasion.clone())?;
    check(judgement).map_err(Fault::BadOutput)
}

/// Everything of a ruling that counts, for a comparison.
pub(crate) fn said((ruling, actions): &Checked) -> Said {
    let (what, reason) = match ruling {
        wit::Ruling::Abstain => ("abstain", String::new()),
        wit::Ruling::Allow => ("allow", String::new()),
        wit::Ruling::Deny(why) => ("deny", why.code.clone()),
        wit::Ruling::RequireApproval(why) => ("require-approval", why.code.clone()),
    };
    Said::new(outcome(ruling))
        .with("ruling", what.to_owned())
        .with("reason", reason)
        .with("actions", format!("{actions:?}"))
}

fn outcome(ruling: &wit::Ruling) -> Outcome {
    match ruling {
        wit::Ruling::Abstain | wit::Ruling::Allow => Outcome::Passed,
        wit::Ruling::Deny(_) => Outcome::Rejected,
        wit::Ruling::RequireApproval(_) => Outcome::Held,
    }
}

/// Of everything it says; 0 for an abstention without actions.
fn fingerprint(said: &wit::Ruling, acts: &[RuleAction]) -> u32 {
    let so_far = match said {
        wit::Ruling::Abstain if acts.is_empty() => return 0,
        wit::Ruling::Abstain => Fingerprint::of("abstain"),
        wit::Ruling::Allow => Fingerprint::of("allow"),
        wit::Ruling::Deny(reason) => Fingerprint::of("deny").reason(reason),
        wit::Ruling::RequireApproval(reason) => Fingerprint::of("require-approval").reason(reason),
    };
    let all = acts.iter().fold(so_far, |so_far, act| {
        so_far
            .text(act.act.as_str())
            .text(&act.subject)
            .number(act.for_ms)
            .text(&act.text)
    });
    all.end()
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
        quota: 0,
        for_ms: said.for_ms,
        text: said.text,
    })
}
