//! The strategies' part of the chain: a command to a ruling. Every decision is checked before it counts; none is
//! carried out here.

use serde_json::Value;

use super::effects::{self, check_code, shortened};
use super::fingerprint::Fingerprint;
use super::{settle, verdict_without_answer};
use crate::bindings::message_strategy::{self as wit, Command};
use crate::generation::{Binding, Generation};
use crate::hook::{Hook, Scope};
use crate::instance::{Exports, Instance};
use crate::ruling::{EffectKind, HoldCause, Outcome, Reason, StrategyRuling, Trail, Verdict};
use crate::shadow::{Asked, Said};
use crate::share::Site;
use crate::version::Fault;

/// What the next hook is shown of a replaced content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenContent {
    pub content_type: String,
    pub text: String,
}

/// Checks a replaced content and says what the next hook sees of it; an error makes the answer a bad one.
pub type ReadContent<'a> = dyn Fn(&str) -> Result<SeenContent, String> + 'a;

impl Generation {
    /// Asks the strategies about a command. Blocks while the guests compute, at most two hard stops for each.
    pub fn strategy(
        &self,
        scope: Scope,
        command: &Command<'_>,
        read: &ReadContent<'_>,
    ) -> StrategyRuling {
        let site = Site {
            scope,
            conversation: command.conversation,
        };
        let mut ruling = StrategyRuling {
            verdict: Verdict::Pass,
            content: None,
            audience: None,
            silent: false,
            recall_window_ms: None,
            effects: Vec::new(),
            records: Vec::with_capacity(self.chain(Hook::MessageStrategy, scope).len()),
            trail: Trail::default(),
        };
        let mut seen: Option<SeenContent> = None;
        for place in self.asked(Hook::MessageStrategy, site) {
            let binding = &self.bindings()[usize::from(place)];
            let shown = shown(command, seen.as_ref(), binding.recent());
            let answer = self.consult(
                place,
                command.at_ms,
                (&mut ruling.records, &mut ruling.trail),
                |instance, exports| ask(instance, exports, &shown, read),
            );
            if let Some(shadow) = self.shadow_of(binding) {
                let said = match &answer {
                    Ok((checked, _)) => checked.said(),
                    Err(no_answer) => no_answer.said(),
                };
                // A shadow may want to see more than what serves.
                let own = self::shown(command, seen.as_ref(), shadow.binding.recent());
                shadow.offer(&binding.version, said, || Asked::strategy(&own));
            }
            let next = match answer {
                Ok((decision, took)) => {
                    let fingerprint = fingerprint(&decision);
                    let (verdict, outcome) = take(&mut ruling, &mut seen, binding, decision);
                    let note = self.note(place, outcome, took, fingerprint);
                    ruling.records.push(note);
                    verdict
                }
                Err(no_answer) => {
                    verdict_without_answer(binding, no_answer).unwrap_or(Verdict::Pass)
                }
            };
            if settle(&mut ruling.verdict, next) {
                return ruling;
            }
        }
        if self.has_shadows(Hook::MessageStrategy) {
            for shadow in self.alone(Hook::MessageStrategy, site) {
                let own = shown(command, seen.as_ref(), shadow.binding.recent());
                shadow.offer("", Said::nothing(Outcome::Passed), || Asked::strategy(&own));
            }
        }
        ruling
    }
}

/// A command as one hook is shown it: with what was replaced before it, and as many of the newest entries as it wants.
fn shown<'a>(command: &Command<'a>, seen: Option<&'a SeenContent>, recent: u32) -> Command<'a> {
    let from = command.recent.len().saturating_sub(recent as usize);
    let mut shown = Command {
        recent: &command.recent[from..],
        ..command.clone()
    };
    if let Some(seen) = seen {
        (shown.content_type, shown.text) = (&seen.content_type, &seen.text);
    }
    shown
}

/// Asks one instance, and checks what it decides.
pub(crate) fn ask(
    instance: &mut Instance,
    exports: &Exports,
    shown: &Command<'_>,
    read: &ReadContent<'_>,
) -> Result<Checked, Fault> {
    let (store, guest) = instance.strategy(exports)?;
    let decision = guest.call_decide(store, shown.clone())?;
    check(decision, read).map_err(Fault::BadOutput)
}

/// A decision that was checked.
pub(crate) struct Checked {
    decision: wit::Decision,
    silent: bool,
    kinds: Vec<EffectKind>,
    replaced: Option<SeenContent>,
}

impl Checked {
    /// Everything of it that counts, for a comparison.
    pub fn said(&self) -> Said {
        let decision = &self.decision;
        let (outcome, verdict) = match &decision.verdict {
            wit::Verdict::Pass => (Outcome::Passed, String::new()),
            wit::Verdict::Replace(_) => (Outcome::Replaced, String::new()),
            wit::Verdict::Reject(why) => (Outcome::Rejected, why.code.clone()),
            wit::Verdict::Hold(why) => (Outcome::Held, why.code.clone()),
            wit::Verdict::Drop(why) => (Outcome::Dropped, why.code.clone()),
        };
        let mut said = Said::new(outcome).with("reason", verdict);
        if let wit::Verdict::Replace(content) = &decision.verdict {
            said = said.with_json("content", content);
        }
        let mut audience = decision.audience.clone();
        if let Some(users) = &mut audience {
            users.sort_unstable();
        }
        said.with("audience", format!("{audience:?}"))
            .with("notify", format!("{}", self.silent))
            .with("recall-window", format!("{:?}", decision.recall_window_ms))
            .with("effects", effects::said(&decision.effects))
    }
}

fn check(decision: wit::Decision, read: &ReadContent<'_>) -> Result<Checked, String> {
    let silent = match decision.notify.as_str() {
        "" | "push" => false,
        "silent" => true,
        other => return Err(format!("notify is {:?}", shortened(other))),
    };
    let replaced = match &decision.verdict {
        wit::Verdict::Pass => None,
        wit::Verdict::Replace(content) => Some(read(content)?),
        wit::Verdict::Reject(reason) | wit::Verdict::Hold(reason) | wit::Verdict::Drop(reason) => {
            check_code(&reason.code)?;
            None
        }
    };
    let kinds = effects::check(&decision.effects)?;
    Ok(Checked {
        decision,
        silent,
        kinds,
        replaced,
    })
}

/// Of everything it says; 0 for a pass and nothing besides.
fn fingerprint(checked: &Checked) -> u32 {
    let decision = &checked.decision;
    let plain = matches!(decision.verdict, wit::Verdict::Pass)
        && decision.audience.is_none()
        && !checked.silent
        && decision.recall_window_ms.is_none()
        && decision.effects.is_empty();
    if plain {
        return 0;
    }
    let mut so_far = match &decision.verdict {
        wit::Verdict::Pass => Fingerprint::of("pass"),
        wit::Verdict::Replace(content) => Fingerprint::of("replace").text(content),
        wit::Verdict::Reject(reason) => Fingerprint::of("reject").reason(reason),
        wit::Verdict::Hold(reason) => Fingerprint::of("hold").reason(reason),
        wit::Verdict::Drop(reason) => Fingerprint::of("drop").reason(reason),
    };
    if let Some(users) = &decision.audience {
        so_far = so_far.number(users.len() as u64);
        so_far = users.iter().fold(so_far, |so_far, user| so_far.text(user));
    }
    so_far
        .number(u64::from(checked.silent))
        .number(decision.recall_window_ms.map_or(u64::MAX, |window| window))
        .effects(&decision.effects)
        .end()
}

/// Puts a decision into the ruling.
fn take(
    ruling: &mut StrategyRuling,
    seen: &mut Option<SeenContent>,
    binding: &Binding,
    checked: Checked,
) -> (Verdict, Outcome) {
    let Checked {
        decision,
        silent,
        kinds,
        replaced,
    } = checked;
    ruling.silent |= silent;
    if decision.audience.is_some() {
        ruling.audience = decision.audience;
    }
    if decision.recall_window_ms.is_some() {
        ruling.recall_window_ms = decision.recall_window_ms;
    }
    let effects = effects::take(binding, decision.effects, kinds);
    ruling.effects.extend(effects);
    let by = || binding.plugin.clone();
    let reason = |reason: wit::Reason| Reason {
        code: reason.code,
        text: reason.text,
    };
    match decision.verdict {
        wit::Verdict::Pass => (Verdict::Pass, Outcome::Passed),
        wit::Verdict::Replace(content) => {
            ruling.content = Some(content);
            *seen = replaced;
            (Verdict::Pass, Outcome::Replaced)
        }
        wit::Verdict::Reject(why) => (
            Verdict::Reject {
                by: by(),
                reason: reason(why),
            },
            Outcome::Rejected,
        ),
        wit::Verdict::Hold(why) => (
            Verdict::Hold {
                by: by(),
                reason: reason(why),
                cause: HoldCause::Verdict,
            },
            Outcome::Held,
        ),
        wit::Verdict::Drop(why) => (
            Verdict::Drop {
                by: by(),
                reason: reason(why),
            },
            Outcome::Dropped,
        ),
    }
}

/// Reads a content that is a JSON object with `type` and, where it has one, `text`; for hosts without rules of
/// their own.
pub fn read_plain_content(content: &str) -> Result<SeenContent, String> {
    let value: Value =
        serde_json::from_str(content).map_err(|_| "the new content is not JSON".to_owned())?;
    let Value::Object(fields) = value else {
        return Err("the new content is not a JSON object".to_owned());
    };
    let field = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(SeenContent {
        content_type: field("type"),
        text: field("text"),
    })
}
